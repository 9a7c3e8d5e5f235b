//! What users read: whole tables, letter by letter.

use super::*;
use crate::{
    device::Dev,
    operation::{
        Actor, CallEnd, CallId, Claimed, Dropped, EffectKind, Found, Gap, Mount, Namespace, NamespaceChange, Op,
        PathGap, Syscall, Throttled, Whose, tests::mount,
    },
    output::{
        columns::{COLUMNS, Column, find},
        cut,
        grid::Choice,
    },
    pods::{
        cgroup_path::owner_of,
        named::{Named, State},
        owners::{Home, Role},
        runtimes::ContainerId,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// Claimed by every call of these tests.
const CLAIMED: &[u8] = b"/srv/exports";
const VOLUME: &str = "/var/lib/kubelet/pods/0b7cf5a4-5a3b-4f1e-9d52-6c1d9a51f7aa/volumes/kubernetes.io~csi/pvc-1/mount";
const HOST: Namespace = Namespace { inum: 4_026_531_841, id: 1 };
const POD: Namespace = Namespace { inum: 4_026_532_444, id: 7 };

fn called(op: Op, syscall: Syscall, errno: u32, comm: &[u8]) -> Operation {
    let actor = Actor { pid: 4242, tid: 4243, comm: comm.to_vec(), uid: 0, cgroup_id: 123, namespace: Some(HOST) };
    let call = CallEnd {
        id: CallId { thread: 1, start_ns: 1_000 },
        syscall,
        errno,
        end_ns: 63_000,
        actor: actor.clone(),
        claimed: Claimed {
            source: Some(b"nas:/exports".to_vec()),
            target: Some(CLAIMED.to_vec()),
            fstype: Some(b"nfs4".to_vec()),
            flags: 1,
            ..Claimed::default()
        },
        target_id: 1,
        found: Found::None,
        sections: 0,
        target: None,
        superblock: None,
    };
    Operation { call: Some(call), actor: Some(actor), ..Operation::bare(op, 51_131_302_000_000) }
}

fn at(mount: Mount, path: &str, namespace: Namespace) -> Mount {
    Mount { path: Ok(path.as_bytes().to_vec()), namespace: Some(namespace), ..mount }
}

fn effect(kind: EffectKind, propagated: bool, mount: Mount) -> Effect {
    Effect { kind, propagated: Some(propagated), section: None, mount }
}

fn with(mut operation: Operation, effects: Vec<Effect>) -> Operation {
    operation.effects = Some(effects);
    operation
}

fn with_target(mut operation: Operation, target: Mount) -> Operation {
    if let Some(call) = &mut operation.call {
        call.target = Some(target);
    }
    operation
}

/// The calls that have no target claim a source at most.
fn without_claims(mut operation: Operation, source: Option<&[u8]>) -> Operation {
    if let Some(call) = &mut operation.call {
        call.claimed = Claimed { source: source.map(<[u8]>::to_vec), ..Claimed::default() };
    }
    operation
}

/// A volume is mounted and reaches a pod, on a mount of its own there.
fn volume() -> Operation {
    let copy = Mount { parent_id: 9, parent_id_unique: Some(9), master: Some(12), ..mount(812) };
    let below = Mount { parent_id: 812, parent_id_unique: Some(1812), ..mount(813) };
    let effects = vec![
        effect(EffectKind::Attach, false, at(Mount { shared: Some(12), ..mount(98) }, VOLUME, HOST)),
        effect(EffectKind::Attach, true, at(copy, "/data", POD)),
        effect(EffectKind::Attach, true, at(below, "/data/inner", POD)),
    ];
    with(called(Op::Bind, Syscall::Mount, 0, b"kubelet"), effects)
}

/// One operation of each kind of line.
/// A container of a pod unmounts something, the runtime calls it so, or says nothing of it.
fn containers_call(name: Option<&str>) -> Operation {
    let id = "3f8a0c5d7e9b1a2c4d6e8f0a1b3c5d7e9f1a2b4c6d8e0f1a3b5c7d9e1f2a4b6c";
    let owner = Arc::new(owner_of(&format!("/kubepods/pod0b7cf5a4-5a3b-4f1e-9d52-6c1d9a51f7aa/{id}")));
    let named = Named {
        id: ContainerId::parse(id).unwrap(),
        sandbox: ContainerId::parse(id).unwrap(),
        pod_uid: owner.pod.as_ref().map(|pod| pod.uid.clone()),
        namespace: "shop".to_owned(),
        pod: "web-0".to_owned(),
        container: name.map(str::to_owned),
        image: None,
        labels: BTreeMap::new(),
        attempt: 0,
        state: State::Running,
        runtime: "containerd".into(),
    };
    let home = Home { owner: Arc::clone(&owner), role: Role::Container };
    let runtimes = name.map(|_| Arc::new(named)).into_iter().collect();
    let namespaces = BTreeMap::from([(POD.inum, home)]);
    let whose = Whose { actor: Some(owner), namespaces, volumes: BTreeMap::new(), names: runtimes };
    let umount = called(Op::Umount, Syscall::Umount, 0, b"umount");
    Operation { whose, ..with(umount, vec![effect(EffectKind::Detach, false, at(mount(7), "/data", POD))]) }
}

fn examples() -> Vec<Operation> {
    let detach = |path| effect(EffectKind::Detach, false, at(mount(7), path, POD));
    let tmpfs = Mount {
        fstype: b"tmpfs".to_vec(),
        dev: Dev { major: 0, minor: 42 },
        source: Some(b"run".to_vec()),
        ..mount(5)
    };
    let detached = Mount { namespace: None, path: Err(PathGap::NotWalked), ..tmpfs.clone() };
    let change =
        NamespaceChange { namespace: POD, copied_from: Some(HOST), mounts: 34, made_by: Some(Syscall::Unshare) };
    let throttled =
        Throttled { cgroup_id: 6543, end_ns: 51_131_302_000_000, syscall: Syscall::Mount, errno: 1, calls: 20_417 };
    let lost = Gap {
        dropped: vec![Dropped { hook: "graft_tree", reason: "ring_full", records: 12 }],
        missed: 0,
        namespaces: Some(vec![POD]),
        doubt: None,
    };
    vec![
        volume(),
        containers_call(Some("ng\x1binx")),
        containers_call(None),
        called(Op::Mount, Syscall::Mount, 2, b"mount.nfs4"),
        with_target(called(Op::Mount, Syscall::Mount, 110, b"mount.nfs4"), at(mount(1), "/srv/found", HOST)),
        with_target(called(Op::Umount, Syscall::Umount, 16, b"umount"), at(tmpfs.clone(), "/run/busy", HOST)),
        with(
            called(Op::Umount, Syscall::Umount, 0, b"umount"),
            vec![effect(EffectKind::Detach, false, at(tmpfs.clone(), "/run/free", HOST))],
        ),
        Operation {
            complete: false,
            ..with_target(called(Op::Remount, Syscall::Mount, 0, b"systemd"), at(tmpfs.clone(), "/run", HOST))
        },
        with(
            called(Op::Setattr, Syscall::MountSetattr, 0, b"kube-controller"),
            vec![effect(EffectKind::Change, false, at(Mount { flags: 0x46, ..tmpfs.clone() }, "/run/secrets", HOST))],
        ),
        with(
            called(Op::Move, Syscall::MoveMount, 0, b"mount"),
            vec![
                effect(EffectKind::Move, false, at(tmpfs.clone(), "/run/new", HOST)),
                effect(EffectKind::Detach, true, at(tmpfs.clone(), "/run/old", POD)),
            ],
        ),
        without_claims(with_target(called(Op::Fsmount, Syscall::Fsmount, 0, b"mount"), detached.clone()), None),
        without_claims(with_target(called(Op::DetachedCopy, Syscall::OpenTree, 0, b"mount"), detached), Some(b"/srv")),
        Operation {
            namespace: Some(change),
            actor: called(Op::Mount, Syscall::Mount, 0, b"runc:[2:INIT]").actor,
            ..Operation::bare(Op::NamespaceCreated, 51_131_302_000_000)
        },
        Operation {
            namespace: Some(NamespaceChange { copied_from: None, mounts: 2, ..change }),
            effects: Some(vec![detach("/"), detach("/data")]),
            ..Operation::bare(Op::NamespaceDestroyed, 51_131_302_000_000)
        },
        Operation { gap: Some(lost), complete: false, ..Operation::bare(Op::Gap, 51_131_302_000_000) },
        Operation { throttled: Some(throttled), ..Operation::bare(Op::Throttled, 51_131_302_000_000) },
        with(
            called(Op::Mount, Syscall::Mount, 0, b"\x1b]0;evil\x07"),
            vec![effect(
                EffectKind::Attach,
                false,
                Mount {
                    source: Some(b"\x1b[2J".to_vec()),
                    fstype: b"fuse.\x9b".to_vec(),
                    path: Ok("/mnt/\u{202e}gnp.卷".as_bytes().to_vec()),
                    ..mount(6)
                },
            )],
        ),
        with(
            called(Op::Mount, Syscall::Mount, 0, b"mount"),
            vec![effect(EffectKind::Attach, false, Mount { path: Err(PathGap::TooDeep), ..mount(6) })],
        ),
        Operation {
            later: mount(6).id_unique.into_iter().map(|id| (id, b"/far/down/it/is".to_vec())).collect(),
            ..with(
                called(Op::Mount, Syscall::Mount, 0, b"mount"),
                vec![effect(EffectKind::Attach, false, Mount { path: Err(PathGap::TooDeep), ..mount(6) })],
            )
        },
    ]
}

fn printed(look: &Look<Operations>, width: Option<usize>, operations: &[Operation]) -> Vec<String> {
    let table = Table::new(look, width, Clock::new(0, 0));
    [table.head()].into_iter().chain(operations.iter().flat_map(|operation| table.lines(operation))).collect()
}

fn chosen_columns(names: &[&str]) -> Vec<&'static Column<Operations>> {
    names.iter().map(|name| find(name).unwrap()).collect()
}

#[test]
fn a_table_of_80_cells() {
    assert_eq!(printed(&Look::default(), Some(80), &examples()).join("\n") + "\n", include_str!("80.txt"));
}

#[test]
fn a_table_of_100_cells() {
    assert_eq!(printed(&Look::default(), Some(100), &examples()).join("\n") + "\n", include_str!("100.txt"));
}

#[test]
fn a_table_of_200_cells() {
    assert_eq!(printed(&Look::default(), Some(200), &examples()).join("\n") + "\n", include_str!("200.txt"));
}

#[test]
fn a_tree_in_colours() {
    let look = Look { tree: true, colour: true, ..Look::default() };
    let operations = [&examples()[..1], &examples()[3..7], &examples()[13..15]].concat();
    assert_eq!(printed(&look, Some(80), &operations).join("\n").replace('\x1b', "^[") + "\n", include_str!("tree.txt"));
}

#[test]
fn a_line_fits_but_for_a_loss() {
    let operations: Vec<Operation> = examples().into_iter().filter(|operation| operation.gap.is_none()).collect();
    for width in 80..220 {
        for line in printed(&Look::default(), Some(width), &operations) {
            assert!(cut::cells(&line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn nothing_is_cut_where_there_is_no_terminal_and_in_wide() {
    let wide = Look { wide: true, ..Look::default() };
    for lines in [printed(&Look::default(), None, &[volume()]), printed(&wide, Some(80), &[volume()])] {
        assert!(lines[1].ends_with(VOLUME), "{}", lines[1]);
    }
    assert!(printed(&wide, Some(80), &[])[0].contains("ATTRIBUTES"));
}

#[test]
fn columns_are_those_that_were_asked_for() {
    let only = Look { choice: Choice::Only(chosen_columns(&["path", "comm"])), ..Look::default() };
    let lines = printed(&only, Some(40), &[volume(), examples().swap_remove(3)]);
    assert_eq!(lines[0], "PATH                          COMM");
    assert_eq!(lines[1], "…ubernetes.io~csi/pvc-1/mount kubelet");
    assert_eq!(lines[4], "/srv/exports?                 mount.nfs4");
    let plus = Look { choice: Choice::Plus(chosen_columns(&["pid", "flags"])), ..Look::default() };
    let head = printed(&plus, Some(80), &[]);
    assert_eq!(head, ["TIME         OP          RESULT PID     COMM       MNTNS      FLAGS            PATH"]);
}

#[test]
fn no_cell_lets_a_control_character_through() {
    let every = Look { choice: Choice::Only(COLUMNS.iter().collect()), ..Look::default() };
    let mut hostile = examples();
    for operation in &mut hostile {
        if let Some(call) = &mut operation.call {
            let evil = || Some(b"\x1b[31m\n\xff".to_vec());
            call.claimed = Claimed { source: evil(), target: evil(), fstype: evil(), ..Claimed::default() };
        }
    }
    for line in printed(&every, None, &hostile) {
        assert!(!line.chars().any(char::is_control), "{line}");
    }
}

#[test]
fn a_long_list_is_cut_and_counted() {
    let many = vec![effect(EffectKind::Attach, false, mount(2)); MAX_LINES + 5];
    let lines = printed(&Look::default(), Some(80), &[with(called(Op::Bind, Syscall::Mount, 0, b"mount"), many)]);
    assert_eq!(lines.len(), 1 + MAX_LINES + 1);
    assert_eq!(lines.last().map(String::as_str), Some("  and 5 more effects; -o json lists 1000"));
}

#[test]
fn deep_lines_of_a_tree_leave_room_for_the_path() {
    let stands_on = |id: u32| Mount { parent_id: id - 1, parent_id_unique: Some(u64::from(id) + 999), ..mount(id) };
    let effects = (2..60).map(|id| effect(EffectKind::Attach, false, at(stands_on(id), "/a/deep/path", HOST)));
    let deep = with(called(Op::Bind, Syscall::Mount, 0, b"mount"), effects.collect());
    let lines = printed(&Look { tree: true, ..Look::default() }, Some(80), &[deep]);
    for line in &lines[1..] {
        assert!(line.ends_with("/a/deep/path") && cut::cells(line) <= 80, "{line}");
    }
}
