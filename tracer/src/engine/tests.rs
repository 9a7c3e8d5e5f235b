//! What waits for an answer comes in its place, with the answer.

use super::*;
use crate::operation::{Effect as Change, EffectKind, Mount, PathGap, Whereabouts, tests::mount};

fn operation(kind: EffectKind, gap: Option<PathGap>) -> Operation {
    let path = gap.map_or_else(|| Ok(b"/a".to_vec()), Err);
    let change = Change { kind, propagated: Some(false), section: None, mount: Mount { path, ..mount(6) } };
    Operation { effects: Some(vec![change]), ..Operation::bare(Op::Mount, 7) }
}

fn emitted(engine: &mut Engine, operation: Operation) -> Vec<Effect> {
    engine.emit(vec![Assembled::Operation(Box::new(operation))], 7)
}

#[test]
fn where_a_path_was_cut_the_kernel_is_asked_once() {
    let mut engine = Engine::default();
    let whole = mount(6);
    let place = Whereabouts { namespace: whole.namespace.unwrap().id, mount: whole.id_unique.unwrap() };
    let asked = emitted(&mut engine, operation(EffectKind::Attach, Some(PathGap::TooDeep)));
    assert!(matches!(&asked[..], [Effect::Ask(asks)] if asks == &[Ask::Mount(place)]), "{asked:?}");
    let shown = engine.step(Input::Answered(vec![Some(b"/far".to_vec())]), 8);
    let [Effect::Emit { seq: 1, operation }] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!(operation.later.get(&place.mount).map(Vec::as_slice), Some(b"/far".as_slice()));
    // Nobody waits any more.
    assert!(engine.step(Input::Answered(vec![None]), 9).is_empty());
}

#[test]
fn an_answer_may_be_none() {
    let mut engine = Engine::default();
    emitted(&mut engine, operation(EffectKind::Attach, Some(PathGap::Moved)));
    let shown = engine.step(Input::Answered(vec![None]), 8);
    assert!(matches!(&shown[..], [Effect::Emit { operation, .. }] if operation.later.is_empty()), "{shown:?}");
}

#[test]
fn nobody_is_asked_about_what_is_gone_or_known_or_nowhere() {
    let cut = Some(PathGap::TooDeep);
    for (kind, gap) in [
        (EffectKind::Detach, cut),
        (EffectKind::Attach, None),
        (EffectKind::Attach, Some(PathGap::Unreachable)),
        (EffectKind::Attach, Some(PathGap::NotWalked)),
    ] {
        let shown = emitted(&mut Engine::default(), operation(kind, gap));
        assert!(matches!(&shown[..], [Effect::Emit { .. }]), "{kind:?} {gap:?}: {shown:?}");
    }
}
