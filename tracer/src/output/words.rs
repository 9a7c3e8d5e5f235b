//! PURE: what a table says in words: losses, namespaces, lengths of time, and paths that nobody knows.

use super::{columns::cell::unknown, escape::escape, flags::errno_name};
use crate::{
    operation::{Doubt, Gap, Namespace, NamespaceChange, PathGap, Throttled},
    pods::{cgroup_path::Owner, named::Named},
};

/// Namespaces that a loss names at most.
const MAX_NAMESPACES: usize = 8;

/// What was lost.
pub fn loss(gap: &Gap) -> String {
    if let Some(doubt) = gap.doubt {
        let why = match doubt {
            Doubt::Count => "the kernel counts other mounts",
            Doubt::Attributes => "attributes were set of a tree while somebody moved mounts of it",
        };
        let named: Vec<String> = gap.namespaces.iter().flatten().map(|one| one.inum.to_string()).collect();
        return format!("{why} in mount namespace {}: its table is read again", named.join(", "));
    }
    let records = gap
        .dropped
        .iter()
        .map(|dropped| format!("{} of {} ({})", count(dropped.records, "record"), dropped.hook, dropped.reason));
    let runs = (gap.missed > 0).then(|| format!("{} of a probe", count(gap.missed, "run")));
    let lost: Vec<String> = records.chain(runs).collect();
    format!("lost {}; {}", lost.join(", "), whereabouts(gap.namespaces.as_deref()))
}

/// What was only counted.
pub fn throttled(throttled: &Throttled) -> String {
    let Throttled { cgroup_id, syscall, errno, calls, .. } = throttled;
    let calls = count(*calls, &format!("more {} call", syscall.name()));
    format!("{calls}: {}, in cgroup {cgroup_id}", errno_name(*errno))
}

/// The namespaces that lost facts were about.
fn whereabouts(namespaces: Option<&[Namespace]>) -> String {
    match namespaces {
        None => "they may be about any mount namespace".to_owned(),
        Some([]) => "no mount table changed with them".to_owned(),
        Some(all) => {
            let named: Vec<String> = all.iter().take(MAX_NAMESPACES).map(|one| one.inum.to_string()).collect();
            let more = all.len().saturating_sub(MAX_NAMESPACES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("they are about mount namespace {}{more}", named.join(", "))
        }
    }
}

/// What a namespace was made of, or took along.
pub fn namespace(change: &NamespaceChange) -> String {
    let mounts = count(u64::from(change.mounts), "mount");
    match change.copied_from {
        Some(origin) => format!("{mounts} from {}", origin.inum),
        None => mounts,
    }
}

/// Somebody, and what that is called.
pub type Called<'a> = Option<(&'a Owner, Option<&'a Named>)>;

/// The pod of somebody: its name, or else its uid.
pub fn pod(whose: Called<'_>) -> String {
    let Some((Owner { pod: Some(pod), .. }, named)) = whose else { return unknown() };
    named.map_or_else(|| pod.uid.to_string(), |named| escape(named.pod.as_bytes()))
}

/// The namespace of Kubernetes in which that pod is.
pub fn pod_namespace(whose: Called<'_>) -> String {
    let named = whose.and_then(|(_, named)| named);
    named.map_or_else(unknown, |named| escape(named.namespace.as_bytes()))
}

/// The container of somebody: its name, or else the beginning of its id. A pod's sandbox has no name of its own.
pub fn container(whose: Called<'_>) -> String {
    let Some((Owner { container: Some(container), .. }, named)) = whose else { return unknown() };
    match named.map(|named| named.container.as_ref()) {
        Some(Some(name)) => escape(name.as_bytes()),
        Some(None) => "(sandbox)".to_owned(),
        None => container.id.short().to_owned(),
    }
}

/// In place of a path.
pub fn no_path(gap: PathGap) -> String {
    format!("({})", gap.name().replace('_', " "))
}

/// A length of time to two or three digits, in the unit that fits.
pub fn duration(ns: u64) -> String {
    let (unit, name) = match ns {
        0..1_000 => return format!("{ns}ns"),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (whole, tenths) = (ns / unit, ns % unit * 10 / unit);
    if whole < 10 { format!("{whole}.{tenths}{name}") } else { format!("{whole}{name}") }
}

fn count(number: u64, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Dropped;

    #[test]
    fn a_loss_says_what_how_many_and_where() {
        let dropped = |records, reason| Dropped { hook: "graft_tree", reason, records };
        let namespace = |inum| Namespace { inum, id: 0 };
        let gap = Gap {
            dropped: vec![dropped(12, "ring_full"), dropped(1, "throttled")],
            missed: 3,
            namespaces: Some(vec![namespace(7), namespace(8)]),
            doubt: None,
        };
        assert_eq!(
            loss(&gap),
            "lost 12 records of graft_tree (ring_full), 1 record of graft_tree (throttled), 3 runs of a probe; \
             they are about mount namespace 7, 8"
        );
        let many = Gap { namespaces: Some((0..10).map(namespace).collect()), ..gap.clone() };
        assert!(loss(&many).ends_with("6, 7 and 2 more"), "{}", loss(&many));
        let doubted = |doubt| loss(&Gap { namespaces: Some(vec![namespace(7)]), doubt: Some(doubt), ..Gap::default() });
        assert_eq!(
            doubted(Doubt::Count),
            "the kernel counts other mounts in mount namespace 7: its table is read again"
        );
        assert!(
            doubted(Doubt::Attributes)
                .starts_with("attributes were set of a tree while somebody moved mounts of it in")
        );
        let anywhere = Gap { missed: 1, ..Gap::default() };
        assert_eq!(loss(&anywhere), "lost 1 run of a probe; they may be about any mount namespace");
    }

    #[test]
    fn lengths_of_time_keep_their_size() {
        for (ns, expected) in [
            (0, "0ns"),
            (999, "999ns"),
            (9_099, "9.0us"),
            (62_454_000, "62ms"),
            (1_999_999_999, "1.9s"),
            (75_000_000_000, "75s"),
        ] {
            assert_eq!(duration(ns), expected);
        }
    }
}
