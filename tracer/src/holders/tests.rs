//! What stands in the way, in tables as the kernel writes them.

use proptest::prelude::*;

use super::*;
use crate::{mountinfo, operation::Namespace, pods::cgroup_path::Owner};

/// A table of the namespace with this number, read through the process with that number.
fn table(inum: u32, text: &str) -> MountTable {
    let namespace = Namespace { inum, id: 0 };
    let mounts = mountinfo::parse(text.as_bytes(), namespace).unwrap();
    MountTable { namespace, task: Some(task(inum * 10)), processes: Some(1), mounts }
}

fn task(pid: u32) -> Task {
    Task { pid, tid: pid, comm: b"x".to_vec(), owner: Owner::default(), named: None }
}

pub(crate) fn process(pid: u32, references: &[(How, u32)]) -> Process {
    let reference = |(how, mount): &(How, u32)| Reference {
        how: *how,
        mount: *mount,
        superblock: DISK,
        node: None,
        path: b"/p".to_vec(),
    };
    Process { task: task(pid), namespace: Some(1), references: references.iter().map(reference).collect() }
}

pub(crate) const DISK: Dev = Dev { major: 8, minor: 16 };

/// The host, a slave of it, a private copy of it, and one whose copy has a mount of its own below.
pub(crate) fn node() -> Vec<MountTable> {
    vec![
        table(
            1,
            "1 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
             10 1 8:16 / /vol rw shared:5 - ext4 /dev/sdb rw\n\
             11 10 0:50 / /vol/sub rw - tmpfs t rw\n\
             12 1 8:16 /dir /bound rw - ext4 /dev/sdb rw\n",
        ),
        table(
            2,
            "100 99 0:60 / / rw - overlay o rw\n\
             101 100 8:1 / /host rw master:1 - ext4 /dev/sda1 rw\n\
             110 101 8:16 / /host/vol rw master:5 - ext4 /dev/sdb rw\n",
        ),
        table(3, "201 200 8:1 / / rw - ext4 /dev/sda1 rw\n210 201 8:16 / /vol rw - ext4 /dev/sdb rw\n"),
        table(
            4,
            "301 300 8:1 / / rw master:1 - ext4 /dev/sda1 rw\n\
             310 301 8:16 / /vol rw master:5 - ext4 /dev/sdb rw\n\
             311 310 0:51 / /vol/mine rw - tmpfs t rw\n",
        ),
    ]
}

fn told(target: &Target, seen: &Seen) -> Vec<(Blocks, Why, u32)> {
    let number = |holder: &Holder<'_>| match holder.who {
        Who::Process(process) => process.task.pid,
        Who::Mount(_, listed) => listed.mount.id,
        Who::Kernel(_) => 0,
    };
    holders(target, seen).iter().map(|holder| (holder.blocks, holder.why, number(holder))).collect()
}

#[test]
fn what_stands_in_the_way_comes_first() {
    let cwd = How::WorkingDirectory;
    let processes = vec![
        process(1000, &[(cwd, 10), (How::Reading, 10), (How::Reading, 10)]),
        process(1001, &[(cwd, 11)]),
        process(1002, &[(cwd, 110)]),
        process(1003, &[(How::Writing, 210)]),
        process(1004, &[(cwd, 9999)]),
        process(1005, &[(cwd, 1)]),
        process(1006, &[(cwd, 310)]),
    ];
    let seen = Seen { tables: node(), processes, users: Vec::new() };
    let expected = [
        // The deepest first.
        (Blocks::Unmount, Why::KeepsBelow, 1001),
        (Blocks::Unmount, Why::KeepsCopy, 1002),
        (Blocks::Unmount, Why::Keeps, 1000),
        (Blocks::Unmount, Why::Below, 11),
        (Blocks::Device, Why::KeepsElsewhere, 1003),
        (Blocks::Device, Why::KeepsElsewhere, 1006),
        (Blocks::Device, Why::KeepsDetached, 1004),
        (Blocks::Device, Why::SameFileSystem, 12),
        (Blocks::Device, Why::SameFileSystem, 210),
        (Blocks::Device, Why::CopyStays, 310),
        (Blocks::Nothing, Why::GoesAlong, 110),
    ];
    assert_eq!(told(&Target::Mount(10), &seen), expected);
    let all = holders(&Target::Mount(10), &seen);
    let first = all.iter().find(|holder| holder.why == Why::Keeps).unwrap();
    let does: Vec<(How, usize)> = first.does.iter().map(|(how, (count, _))| (*how, *count)).collect();
    assert_eq!(does, [(How::WorkingDirectory, 1), (How::Reading, 2)]);
}

#[test]
fn a_private_mount_goes_alone() {
    let seen = Seen { tables: node(), ..Seen::default() };
    let of_private = told(&Target::Mount(210), &seen);
    assert!(of_private.iter().all(|(blocks, why, _)| (*blocks, *why) == (Blocks::Device, Why::SameFileSystem)));
    assert_eq!(of_private.len(), 4, "the host's, the slaves' and the bind");
}

#[test]
fn of_a_device_everything_is_in_the_way() {
    let devices = BTreeSet::from([DISK]);
    let target = Target::Devices { nodes: devices.clone(), superblocks: devices };
    let mut opened = process(1000, &[(How::Writing, 5)]);
    opened.references[0].superblock = Dev { major: 0, minor: 6 };
    let other = opened.clone();
    opened.references[0].node = Some(DISK);
    let users = vec![
        User::Stacked { name: "dm-0".to_owned(), below: DISK },
        User::Stacked { name: "dm-1".to_owned(), below: Dev { major: 8, minor: 17 } },
        User::Swap { path: b"/vol/swap".to_vec(), dev: Some(DISK) },
    ];
    let seen = Seen { tables: node(), processes: vec![opened, other], users };
    let told = told(&target, &seen);
    assert!(told.iter().all(|(blocks, ..)| *blocks == Blocks::Device), "{told:?}");
    let whys: Vec<Why> = told.iter().map(|(_, why, _)| *why).collect();
    assert_eq!(whys.iter().filter(|why| **why == Why::KeepsDevice).count(), 1);
    assert_eq!(whys.iter().filter(|why| **why == Why::Uses).count(), 2);
    assert_eq!(whys.iter().filter(|why| **why == Why::SameFileSystem).count(), 5);
    assert_eq!(whys.iter().filter(|why| **why == Why::Below).count(), 2);
}

#[test]
fn a_file_that_the_kernel_uses_keeps_the_mount_above_it() {
    let loops = |path: &[u8]| User::Loop { name: "loop0".to_owned(), file: (path.to_vec(), Some(DISK)) };
    let seen = |path: &[u8]| Seen { tables: node(), users: vec![loops(path)], ..Seen::default() };
    let first = |path: &[u8]| told(&Target::Mount(10), &seen(path))[0];
    assert_eq!(first(b"/vol/image"), (Blocks::Unmount, Why::Uses, 0));
    // It was opened by another mount of the same file system.
    assert_eq!(told(&Target::Mount(10), &seen(b"/bound/image"))[1], (Blocks::Device, Why::Uses, 0));
    assert_eq!(told(&Target::Mount(10), &seen(b"/volume/image"))[1], (Blocks::Device, Why::Uses, 0));
}

#[test]
fn each_holder_says_what_ends_it() {
    let users = vec![User::Swap { path: b"/vol/swap".to_vec(), dev: Some(DISK) }];
    let mut tables = node();
    tables[2].task = None;
    let processes = vec![process(1000, &[(How::WorkingDirectory, 10)]), process(1001, &[(How::Reading, 10)])];
    let seen = Seen { tables, processes, users };
    let said: Vec<Option<String>> = holders(&Target::Mount(10), &seen).iter().map(remedy).collect();
    for expected in [
        "end process 1000, or let it change its directory",
        "end process 1001",
        "swapoff /vol/swap",
        "umount -N 10 /vol/sub",
        "let go of mount namespace 3: a descriptor or a bind of it keeps it",
    ] {
        assert!(said.iter().flatten().any(|said| said == expected), "{expected}: {said:?}");
    }
    assert_eq!(said.last(), Some(&None), "what goes along needs nothing");
}

#[test]
fn a_path_is_one_word_for_a_shell() {
    let mut tables = node();
    tables[0] = table(
        1,
        "1 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n10 1 8:16 / /vol rw shared:5 - ext4 /dev/sdb rw\n\
         11 10 0:50 / /vol/a;\\040touch\\040'x rw - tmpfs t rw\n12 10 0:51 / /vol/\\012b rw - tmpfs t rw\n",
    );
    let seen = Seen { tables, ..Seen::default() };
    let said: Vec<String> = holders(&Target::Mount(10), &seen).iter().filter_map(remedy).collect();
    assert!(said.contains(&r"umount -N 10 '/vol/a; touch '\''x'".to_owned()), "{said:?}");
    assert!(said.contains(&"umount -N 10 PATH".to_owned()), "{said:?}");
}

/// What covers a copy as a whole does not make it stay: the kernel looks through it, at who uses the copy (`find_topper`).
#[test]
fn a_copy_that_is_covered_goes_along() {
    let mut tables = node();
    tables[1] = table(
        2,
        "100 99 0:60 / / rw - overlay o rw\n101 100 8:1 / /host rw master:1 - ext4 /dev/sda1 rw\n\
         110 101 8:16 / /host/vol rw master:5 - ext4 /dev/sdb rw\n111 110 0:52 / /host/vol rw - tmpfs t rw\n",
    );
    let seen = Seen { tables, processes: vec![process(1002, &[(How::Reading, 110)])], ..Seen::default() };
    let told = told(&Target::Mount(10), &seen);
    assert!(told.contains(&(Blocks::Unmount, Why::KeepsCopy, 1002)), "{told:?}");
    assert!(told.contains(&(Blocks::Nothing, Why::GoesAlong, 110)), "{told:?}");
}

/// A few mounts in each of a few tables, as trees, on few devices.
fn tables() -> impl Strategy<Value = Vec<MountTable>> {
    let mount = (0_u32..4, 0_u32..3, proptest::option::of(1_u32..3), proptest::option::of(1_u32..3));
    let one = proptest::collection::vec(mount, 1..5);
    proptest::collection::vec(one, 1..4).prop_map(|all| {
        let mut next = 1;
        let each = all.into_iter().zip(1..).map(|(mounts, inum)| {
            let first: u32 = next;
            let line = |(number, (parent, minor, shared, master)): (u32, (u32, u32, Option<u32>, Option<u32>))| {
                let (id, parent) = (first + number, first + parent.min(number.saturating_sub(1)));
                let shared = shared.map(|group| format!("shared:{group} ")).unwrap_or_default();
                let master = master.map(|group| format!("master:{group} ")).unwrap_or_default();
                format!("{id} {parent} 8:{minor} / /m{number} rw {shared}{master}- ext4 /dev/x rw\n")
            };
            let lines: Vec<String> = (0..).zip(mounts).map(line).collect();
            next += u32::try_from(lines.len()).unwrap();
            table(inum, &lines.concat())
        });
        each.collect()
    })
}

proptest! {
    /// Whoever keeps what was looked for is told, once for each mount, and what blocks comes first.
    #[test]
    fn nobody_is_lost(tables in tables(), target in 1_u32..8, kept in proptest::collection::vec(1_u32..16, 0..6)) {
        let target = Target::Mount(target);
        let wanted = wanted(&target, &tables);
        let mut keeper = process(1000, &kept.iter().map(|id| (How::Reading, *id)).collect::<Vec<_>>());
        keeper.references.iter_mut().for_each(|one| one.superblock = Dev { major: 9, minor: 9 });
        let seen = Seen { tables, processes: vec![keeper], users: Vec::new() };
        let holders = holders(&target, &seen);
        let told: usize = holders.iter().flat_map(|holder| holder.does.values()).map(|(count, _)| count).sum();
        prop_assert_eq!(told, kept.iter().filter(|id| wanted.mounts.contains(id)).count());
        prop_assert!(holders.is_sorted_by_key(|holder| holder.blocks));
        let mounts: Vec<u32> = holders.iter().filter_map(|holder| match holder.who {
            Who::Mount(_, listed) => Some(listed.mount.id),
            _ => None,
        }).collect();
        let once: BTreeSet<u32> = mounts.iter().copied().collect();
        prop_assert_eq!(once.len(), mounts.len());
        if let Target::Mount(id) = target {
            prop_assert!(!once.contains(&id), "it does not hold itself");
        }
    }
}
