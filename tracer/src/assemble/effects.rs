//! PURE: what sections changed, mount by mount, and what of it was asked for.

use std::{
    collections::{HashMap, HashSet},
    iter,
};

use crate::operation::{Bare, BareMounts, Cause, Effect, EffectKind, Mount, MountKey, Role, Section, SectionFact};

/// The effects of sections: direct ones first, and of these the mount that was asked for.
pub(super) fn of(sections: &[Section], unmounted: Option<u32>) -> Vec<Effect> {
    let mut effects: Vec<Effect> = sections.iter().flat_map(section_effects).collect();
    if let Some(root) = unmounted {
        mark_detached(&mut effects, sections, root);
    }
    // An unmount's list begins with the leaves on some kernels and with the root on others.
    effects.sort_by_key(|effect| (effect.propagated == Some(true), unmounted != Some(effect.mount.id)));
    effects
}

/// What entered a namespace is propagated when it is a copy, or stands below one that entered with it: the root of a
/// tree comes before its branches.
fn section_effects(section: &Section) -> Vec<Effect> {
    let mut copies: HashSet<MountKey> = section
        .facts
        .iter()
        .filter_map(|fact| match fact {
            SectionFact::Copy(key) => Some(*key),
            _ => None,
        })
        .collect();
    if let Some(asked_for) = asked_for(section) {
        copies.remove(&asked_for);
    }
    let alone = matches!(section.cause, Some(Cause::Rmdir | Cause::LastClose));
    let mut entered: HashMap<u32, bool> = HashMap::new();
    let mut effects = Vec::new();
    for fact in &section.facts {
        let SectionFact::Mount(role, mount) = fact else { continue };
        let (kind, propagated) = match role {
            Role::Attach => {
                let below = entered.get(&mount.parent_id).copied().unwrap_or(false);
                let propagated = below || copies.contains(&mount.key());
                entered.insert(mount.id, propagated);
                (EffectKind::Attach, Some(propagated))
            }
            Role::Move => (EffectKind::Move, Some(false)),
            Role::Change => (EffectKind::Change, Some(false)),
            // What goes with its place or its last descriptor goes by itself, wherever else it is too.
            Role::Detach => (EffectKind::Detach, alone.then_some(false)),
        };
        effects.push(Effect { kind, propagated, section: Some(section.number), mount: (**mount).clone() });
    }
    effects
}

/// The root of the tree that was asked for enters first, unless one that is there already is moved; what stands on one that enters only
/// gives way. Where the kernel's compiler puts no copy of `mnt_set_mountpoint` into its callers (arm64), that root is told like the
/// copies that propagation made.
fn asked_for(section: &Section) -> Option<MountKey> {
    let with = |wanted: Role| {
        section.facts.iter().filter_map(move |fact| match fact {
            SectionFact::Mount(role, mount) if *role == wanted => Some(mount),
            _ => None,
        })
    };
    let gives_way = |moved: &Mount| with(Role::Attach).any(|entered| entered.id == moved.parent_id);
    let moves = with(Role::Move).any(|moved| !gives_way(moved));
    with(Role::Attach).next().filter(|_| !moves).map(|mount| mount.key())
}

/// Of the mounts that an unmount took along, those of the tree that was asked for are direct, the others propagated.
fn mark_detached(effects: &mut [Effect], sections: &[Section], root: u32) {
    let listed = effects.iter().map(|effect| (effect.mount.id, effect.mount.parent_id));
    let parents: HashMap<u32, u32> = listed.chain(unlisted_parents(sections)).collect();
    for effect in effects.iter_mut().filter(|effect| effect.kind == EffectKind::Detach) {
        effect.propagated = Some(!is_below(effect.mount.id, root, &parents));
    }
}

/// Whether a mount is another one or stands on it, by way of those that go with it.
fn is_below(mount: u32, root: u32, parents: &HashMap<u32, u32>) -> bool {
    let parent = |id: &u32| parents.get(id).copied().filter(|parent| parent != id);
    // No tree is deeper than the number of its mounts.
    iter::successors(Some(mount), parent).take(parents.len() + 1).any(|id| id == root)
}

/// The mounts that go and have no names, and what they stand on.
fn unlisted_parents(sections: &[Section]) -> impl Iterator<Item = (u32, u32)> {
    bare(sections)
        .flat_map(|bare| match &bare.mounts {
            BareMounts::Gone(mounts) => &**mounts,
            BareMounts::There(..) => &[],
        })
        .map(|mount| (mount.key.id, mount.parent_id))
}

/// How many effects there are of mounts that have no names.
pub(super) fn unlisted(sections: &[Section]) -> u64 {
    let changed = bare(sections).filter(|bare| bare.mounts.role().is_some());
    changed.map(|bare| bare.mounts.count() as u64).sum()
}

fn bare(sections: &[Section]) -> impl Iterator<Item = &Bare> {
    sections.iter().flat_map(|section| &section.facts).filter_map(|fact| match fact {
        SectionFact::Bare(bare) => Some(bare),
        _ => None,
    })
}
