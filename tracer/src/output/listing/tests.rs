//! Whole tables, letter by letter.

use proptest::prelude::*;

use super::*;
use crate::pods::cgroup_path::Owner;
use crate::{
    device::Dev,
    host::{Disk, NoDisk, disk::Used},
    listed::Task,
    mountinfo,
    operation::Namespace,
    output::{columns, cut},
    pods::cgroup_path::owner_of,
};

const TABLE: &str = "\
22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw,discard,errors=remount-ro
23 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
24 22 0:22 / /sys ro,nosuid shared:7 - sysfs sysfs rw
25 24 0:23 / /sys/fs/cgroup rw shared:8 master:2 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
26 22 0:40 / /srv rw,relatime - cifs //u:hunter2@nas/share rw,vers=3.0,username=u,password=hunter2,uid=0
27 26 0:41 / /srv rw - tmpfs tmpfs rw,size=4k
28 22 259:1 /var/lib/pods/0b7cf5a4 /var/lib/kubelet/pods/0b7cf5a4-5a3b-4f1e-9d52-6c1d9a51f7aa/volumes/a\\040b\\033 rw unbindable - ext4 /dev/nvme0n1p1 rw
";

fn table(inum: u32, task: Option<Task>, processes: usize) -> MountTable {
    let namespace = Namespace { inum, id: u64::from(inum % 10) };
    let mounts = mountinfo::parse(TABLE.as_bytes(), namespace).unwrap();
    MountTable { namespace, task, processes: Some(processes), mounts }
}

fn one() -> MountTable {
    table(
        4_026_531_841,
        Some(Task { pid: 1, tid: 1, comm: b"systemd".to_vec(), owner: Owner::default(), named: None }),
        46,
    )
}

fn look(tree: bool) -> Look<Mounts> {
    Look { tree, ..Look::default() }
}

fn shown(look: &Look<Mounts>, width: Option<usize>) -> Vec<String> {
    lines(&[one()], look, Frame { several: false, head: true, width })
}

#[test]
fn a_table_of_80_cells() {
    let expected = include_str!("80.txt");
    assert_eq!(shown(&look(true), Some(80)).join("\n") + "\n", expected);
}

#[test]
fn a_table_of_200_cells() {
    let expected = include_str!("200.txt");
    assert_eq!(shown(&look(true), Some(200)).join("\n") + "\n", expected);
}

#[test]
fn nothing_is_cut_where_there_is_no_terminal_and_in_wide() {
    let wide = Look { wide: true, ..look(false) };
    for lines in [shown(&look(false), None), shown(&wide, Some(80))] {
        let last = lines.last().unwrap();
        assert!(
            last.starts_with("/var/lib/kubelet/pods/0b7cf5a4-5a3b-4f1e-9d52-6c1d9a51f7aa/volumes/a b\\x1b "),
            "{last}"
        );
        assert!(last.contains(" /dev/nvme0n1p1[/var/lib/pods/0b7cf5a4] "), "{last}");
    }
    assert!(shown(&wide, Some(80))[0].contains("MAJ:MIN"));
}

#[test]
fn no_secret_is_in_any_column() {
    let all = Look { choice: Choice::Only(COLUMNS.iter().collect()), ..look(false) };
    let text = shown(&all, None).join("\n");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("rw,vers=3.0,uid=0,(2 hidden)"), "{text}");
    assert!(text.contains("//***@nas/share"), "{text}");
}

#[test]
fn several_namespaces_have_headings_or_a_column() {
    let (uid, id) = ("0b7cf5a4-5a3b-4f1e-9d52-6c1d9a51f7aa", "c0ffee11".repeat(8));
    let owner = owner_of(&format!("/kubepods/pod{uid}/crio-{id}"));
    let thread = Task { pid: 812, tid: 815, comm: b"worker".to_vec(), owner, named: None };
    let tables = [one(), table(4_026_532_202, Some(thread), 2), table(4_026_532_300, None, 0)];
    let frame = Frame { several: true, head: true, width: Some(80) };
    let trees = lines(&tables, &look(true), Frame { head: false, ..frame });
    let headings: Vec<&str> = trees.iter().map(String::as_str).filter(|line| line.starts_with("mount")).collect();
    let expected = [
        "mount namespace 4026531841 (id 1): pid 1 systemd and 45 other processes",
        "mount namespace 4026532202 (id 2): thread 815 worker of pid 812 and another process, cri-o container c0ffee11c0ff, \
         pod 0b7cf5a4-5a3b-4f1e-9d52-6c1d9a51f7aa",
        "mount namespace 4026532300: no process is in it",
    ];
    assert_eq!(headings, expected);
    let flat = lines(&tables, &look(false), frame);
    assert!(flat[0].starts_with("NS         TARGET"), "{}", flat[0]);
    assert!(flat[1].starts_with("4026531841 /  "), "{}", flat[1]);
    assert_eq!(flat.len(), 1 + 3 * 7);
    let whose = Look {
        choice: Choice::Only(["POD", "CONTAINER"].iter().filter_map(|name| columns::find(name)).collect()),
        ..look(false)
    };
    let owners = lines(&tables, &whose, Frame { head: true, several: false, width: None });
    assert_eq!(
        (owners[0].trim_end(), owners[1].trim_end()),
        ("POD                                  CONTAINER", "-                                    -")
    );
    assert_eq!(owners[8].trim_end(), format!("{uid} c0ffee11c0ff"));
    let left = lines(&tables[..1], &look(false), frame);
    assert!(left[0].starts_with("NS "), "all were asked for: {}", left[0]);
}

#[test]
fn what_is_covered_is_dim() {
    let painted = Look { colour: true, ..look(false) };
    let mut table = one();
    table.mounts[0].mount.parent_id = table.mounts[0].mount.id;
    let dim: Vec<String> = lines(&[table], &painted, Frame { several: false, head: true, width: None })
        .into_iter()
        .filter(|line| line.contains("\x1b[2m"))
        .collect();
    assert_eq!(dim.len(), 1, "{dim:?}");
    assert!(dim[0].starts_with("\x1b[2m/srv\x1b[0m") && dim[0].contains("cifs"), "{dim:?}");
}

#[test]
fn disks_and_why_there_are_none() {
    let used = |name: &str, why: Option<&[&str]>| Used {
        disk: Disk { dev: Dev { major: 8, minor: 0 }, name: name.to_owned(), diskseq: None },
        protected: why.map(|why| why.iter().map(ToString::to_string).collect()),
    };
    let choice = Choice::Only(["DISK", "PROTECTED"].iter().filter_map(|name| columns::find(name)).collect());
    for (behind, line) in [
        (None, "-                -"),
        (
            Some(Ok(vec![used("sda", Some(&["holds /", "holds /var/log/pods"]))])),
            "sda              holds /, holds /var/log/pods",
        ),
        (Some(Ok(vec![used("sda", Some(&[]))])), "sda              -"),
        (Some(Ok(vec![used("sda", None)])), "sda              ?"),
        (Some(Ok(vec![used("sda", Some(&[])), used("dm-0", Some(&["holds /"]))])), "sda,dm-0         dm-0: holds /"),
        (Some(Err(NoDisk::Layers)), "none (layers)    -"),
        (Some(Err(NoDisk::Gone)), "? (gone)         -"),
    ] {
        let mut table = one();
        table.mounts.truncate(2);
        table.mounts[0].behind = behind;
        // The other one makes the columns as wide.
        table.mounts[1].behind = Some(Err(NoDisk::Anonymous));
        let look = Look { choice: choice.clone(), ..look(false) };
        let lines = lines(&[table], &look, Frame { several: false, head: false, width: None });
        assert_eq!(lines[0].trim_end(), line);
    }
}

#[test]
fn the_docs_have_a_row_for_each_column() {
    let missing = columns::tests::missing::<Mounts>(include_str!("../../../../docs/list.md"));
    assert!(missing.is_empty(), "docs/list.md lacks\n{}", missing.join("\n"));
}

proptest! {
    #[test]
    fn a_line_fits_its_terminal(width in 80_usize..250, tree: bool) {
        for line in shown(&look(tree), Some(width)) {
            prop_assert!(cut::cells(&line) <= width, "{}: {}", width, line);
        }
    }

    #[test]
    fn any_bytes_make_lines_without_control_characters(path: Vec<u8>, source: Vec<u8>, fstype: Vec<u8>) {
        let mut table = one();
        let mount = &mut table.mounts[3].mount;
        mount.path = Ok(path);
        mount.source = Some(source);
        mount.fstype = fstype;
        for line in lines(&[table], &look(true), Frame { several: false, head: true, width: Some(80) }) {
            prop_assert!(!line.chars().any(char::is_control), "{}", line);
        }
    }
}
