//! What waits for an answer comes in its place, with the answer.

use super::*;
use crate::device::Dev;
use crate::host::{Disk, disk::uevent::DiskEvent};
use crate::operation::{Effect as Change, EffectKind, Mount, PathGap, Whereabouts, tests::mount};
use crate::pods::owners::Role;

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

/// They are told to who asks for them alone, also where no table is kept.
#[test]
fn disks_that_came_are_told_when_they_are_asked_for() {
    let mut engine = Engine::default();
    let disk = Disk { dev: Dev { major: 8, minor: 0 }, name: "sda".to_owned(), diskseq: Some(3) };
    engine.step(Input::Disks(DiskNews::List { seqnum: 1, disks: vec![disk.clone()] }), 7);
    engine.step(Input::Disks(DiskNews::Event(DiskEvent { seqnum: 2, disk, gone: false })), 8);
    let told = engine.answer(Question::Disks).disks.unwrap();
    assert_eq!((told.disks.len(), told.disks[0].name.as_str(), told.born.0), (1, "sda", 1));
    assert_eq!(engine.answer(Question::Tables).disks, None);
}

const VOLUME: &str = "/kubelet/pods/0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d/volumes/kubernetes.io~csi/pvc-1/mount";

/// What a mount at this path is, in a namespace that is nobody's, or a container's.
fn volume_at(path: &str, in_container: bool) -> (Option<Role>, Option<String>) {
    let mut engine = Engine::default().with_kubelet_dir(b"/kubelet".to_vec());
    let whole = Mount { path: Ok(path.as_bytes().to_vec()), ..mount(6) };
    let namespace = whole.namespace.unwrap();
    let cgroup = in_container.then(|| format!("/docker/{}", "a".repeat(64)));
    engine.step(Input::Inhabited(vec![Inhabitant { inum: namespace.inum, id: namespace.id, cgroup, since: 1 }]), 1);
    let change = Change { kind: EffectKind::Attach, propagated: None, section: None, mount: whole.clone() };
    let shown = emitted(&mut engine, Operation { effects: Some(vec![change]), ..Operation::bare(Op::Mount, 7) });
    let [Effect::Emit { operation, .. }] = &shown[..] else { panic!("{shown:?}") };
    let volume = operation.volume_of(&whole).map(|volume| volume.path.volume.clone());
    (operation.home_of(&whole).map(|home| home.role), volume)
}

#[test]
fn what_the_kubelet_mounts_for_a_pod_is_the_pods() {
    assert_eq!(volume_at(VOLUME, false), (Some(Role::Volume), Some("pvc-1".to_owned())));
    assert_eq!(volume_at(&format!("{VOLUME}/deeper"), false), (None, None));
    assert_eq!(volume_at(&VOLUME.replace("/kubelet", "/other"), false), (None, None));
    assert_eq!(volume_at(VOLUME, true), (Some(Role::Container), None), "a container may choose such a path");
}
