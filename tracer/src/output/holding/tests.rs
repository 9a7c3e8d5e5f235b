//! The answer of `who`, letter by letter, and its columns in the docs.

use std::collections::BTreeSet;

use super::*;
use crate::{
    holders::{
        How, Seen, holders,
        tests::{DISK, node, process},
    },
    output::columns::tests::missing,
    pods::cgroup_path::owner_of,
};

fn seen() -> Seen {
    let mut app = process(1003, &[(How::Writing, 210), (How::Writing, 210)]);
    let (pod, container) =
        ("0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d", "3f8a0c5d7e9b1a2c4d6e8f0a1b3c5d7e9f1a2b4c6d8e0f1a3b5c7d9e1f2a4b6c");
    app.task.owner = owner_of(&format!("/kubepods/burstable/pod{pod}/crio-{container}"));
    app.namespace = Some(3);
    app.references[0].path = b"/data/\x1b[31mred".to_vec();
    let cwd = process(812, &[(How::WorkingDirectory, 10), (How::Reading, 10)]);
    let users = vec![
        User::Loop { name: "loop3".to_owned(), file: (b"/vol/images/disk.img".to_vec(), Some(DISK)) },
        User::Swap { path: b"/vol/swap".to_vec(), dev: Some(DISK) },
    ];
    Seen { tables: node(), processes: vec![app, cwd], users }
}

fn shown(target: &Target, seen: &Seen, width: Option<usize>, wide: bool) -> String {
    let mount = seen.tables[0].mounts.iter().find(|listed| *target == Target::Mount(listed.mount.id));
    let asked = Asked { typed: "/vol/dir", target, mount: mount.map(|listed| (&seen.tables[0], listed)) };
    let look = Look { wide, ..Look::default() };
    lines(&asked, &holders(target, seen), &look, true, width).join("\n") + "\n"
}

#[test]
fn the_answer_is_this_one() {
    let (target, seen) = (Target::Mount(10), seen());
    let narrow = shown(&target, &seen, Some(80), false);
    assert_eq!(narrow, include_str!("80.txt"), "\n{narrow}");
    assert!(narrow.lines().skip(1).take(3).all(|line| line.chars().count() <= 80));
    let broad = shown(&target, &seen, Some(200), false);
    assert_eq!(broad, include_str!("200.txt"), "\n{broad}");
}

#[test]
fn what_is_not_held_is_said() {
    let seen = Seen { tables: node()[..1].to_vec(), ..Seen::default() };
    let free = shown(&Target::Mount(11), &seen, Some(80), false);
    assert!(free.ends_with("\nnothing that can be seen stands in the way of unmounting it\n"), "{free}");
    let devices = BTreeSet::from(["8:32".parse().unwrap()]);
    let free = shown(&Target::Devices { nodes: devices.clone(), superblocks: devices }, &seen, None, true);
    assert_eq!(free, "/vol/dir: block device 8:32\nnobody that can be seen uses the device\n");
}

#[test]
fn the_docs_have_a_row_for_each_column() {
    let missing = missing::<Holders>(include_str!("../../../../docs/who.md"));
    assert!(missing.is_empty(), "docs/who.md lacks\n{}", missing.join("\n"));
}
