//! A directory of regular files in place of a hierarchy: the order of work, and what each error means.

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use rustix::io::Errno;

use super::*;
use crate::limit::decide::Reason;

const POD: &str = "/kubepods/pod0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";
const SDB: Dev = Dev { major: 8, minor: 16 };
const WANTED: Limits = Limits { read_bps: Some(10), write_bps: Some(20), read_iops: None, write_iops: Some(30) };

struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    fn new(io_max: Option<&str>) -> Self {
        let tree = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(tree.pod()).unwrap();
        fs::write(tree.pod().join("cgroup.controllers"), "io\n").unwrap();
        if let Some(text) = io_max {
            fs::write(tree.pod().join("io.max"), text).unwrap();
        }
        tree
    }

    fn pod(&self) -> PathBuf {
        self.dir.path().join(POD.trim_start_matches('/'))
    }

    fn id(&self) -> u64 {
        fs::metadata(self.pod()).unwrap().ino()
    }

    fn root(&self) -> CgroupRoot {
        CgroupRoot::open(self.dir.path()).unwrap()
    }
}

#[test]
fn look_write_and_read_back() {
    let tree = Tree::new(Some(""));
    let mut inspection = tree.root().inspect(POD, tree.id(), SDB).unwrap();
    assert_eq!(inspection.current(), None);
    assert_eq!(inspection.cgroup(), POD);
    assert_eq!(inspection.cgroup_id(), fs::metadata(tree.pod()).unwrap().ino());
    assert_eq!(inspection.write(WANTED).unwrap(), WANTED);
    assert_eq!(inspection.current(), Some(WANTED));
    let text = fs::read_to_string(tree.pod().join("io.max")).unwrap();
    assert_eq!(text, "8:16 rbps=10 wbps=20 riops=max wiops=30\n");
}

#[test]
fn only_the_line_of_the_disk_counts() {
    let tree = Tree::new(Some("8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=max wbps=max riops=7 wiops=max\n"));
    let inspection = tree.root().inspect(POD, tree.id(), SDB).unwrap();
    assert_eq!(inspection.current(), Some(Limits { read_iops: Some(7), ..Limits::NONE }));
    let other = tree.root().inspect(POD, tree.id(), Dev { major: 8, minor: 32 }).unwrap();
    assert_eq!(other.current(), None);
}

#[test]
fn the_id_must_be_the_expected_one() {
    let tree = Tree::new(Some(""));
    let id = tree.id();
    assert!(tree.root().inspect(POD, id, SDB).is_ok());
    let error = tree.root().inspect(POD, id + 1, SDB).unwrap_err();
    assert_eq!(error.reason(), Reason::CgroupGone);
    let message =
        format!("the cgroup {POD} has the id {id} instead of {}: it was made anew; wait for its own mounts", id + 1);
    assert_eq!(error.to_string(), message);
}

#[test]
fn nothing_leads_out_of_the_root() {
    let tree = Tree::new(Some(""));
    let outside = Tree::new(Some(""));
    symlink(outside.pod(), tree.dir.path().join("link")).unwrap();
    symlink("kubepods", tree.dir.path().join("inside")).unwrap();
    fs::remove_file(tree.pod().join("io.max")).unwrap();
    symlink(outside.pod().join("io.max"), tree.pod().join("io.max")).unwrap();
    for path in ["/link", "/inside", "/..", "/kubepods/../../etc", POD] {
        let error = tree.root().inspect(path, tree.id(), SDB).unwrap_err();
        assert_eq!(error.reason(), Reason::IoMaxUnreadable, "{path}: {error}");
    }
}

#[test]
fn a_missing_cgroup_and_a_missing_controller_differ() {
    let tree = Tree::new(None);
    assert_eq!(tree.root().inspect("/none", 0, SDB).unwrap_err().reason(), Reason::CgroupGone);
    let error = tree.root().inspect(POD, tree.id(), SDB).unwrap_err();
    assert_eq!(error.reason(), Reason::IoControllerOff);
    let message = format!(
        "cannot read io.max of {POD} for the disk 8:16: the io controller is off there; write +io to \
         cgroup.subtree_control of every cgroup above it"
    );
    assert_eq!(error.to_string(), message);
    assert!(error.source().is_some());
    fs::remove_file(tree.pod().join("cgroup.controllers")).unwrap();
    assert_eq!(tree.root().inspect(POD, tree.id(), SDB).unwrap_err().reason(), Reason::CgroupGone);
}

#[test]
fn a_cgroup_that_goes_in_between_is_gone() {
    let tree = Tree::new(Some(""));
    let mut inspection = tree.root().inspect(POD, tree.id(), SDB).unwrap();
    fs::remove_dir_all(tree.pod()).unwrap();
    // Another of the same path: the descriptor still means the first.
    fs::create_dir_all(tree.pod()).unwrap();
    fs::write(tree.pod().join("io.max"), "").unwrap();
    assert_eq!(inspection.write(WANTED).unwrap_err().reason(), Reason::CgroupGone);
    assert_eq!(fs::read_to_string(tree.pod().join("io.max")).unwrap(), "");
}

#[test]
fn a_difference_after_the_write_is_said() {
    // A regular file keeps what lies behind the write: a second line for the disk, as no kernel has it.
    let tree = Tree::new(Some("8:16 rbps=max wbps=max riops=max wiops=1\n8:16 rbps=5 wbps=5\n"));
    let mut inspection = tree.root().inspect(POD, tree.id(), SDB).unwrap();
    let limits = Limits { write_iops: Some(2), ..Limits::NONE };
    let error = inspection.write(limits).unwrap_err();
    assert_eq!(error.reason(), Reason::ReadBackDiffers);
    let message = format!(
        "io.max of {POD} for the disk 8:16 says `8:16 rbps=5 wbps=5 riops=max wiops=max` after \
         `8:16 rbps=max wbps=max riops=max wiops=2` was written; look for another program that writes it"
    );
    assert_eq!(error.to_string(), message);
}

#[test]
fn what_each_error_means() {
    let table = [
        (Errno::NOENT, true, Reason::IoControllerOff),
        (Errno::NOENT, false, Reason::CgroupGone),
        (Errno::NODEV, true, Reason::DiskGone),
        (Errno::NODEV, false, Reason::CgroupGone),
        (Errno::BUSY, true, Reason::WriteRefused),
        (Errno::INVAL, true, Reason::WriteRefused),
        (Errno::RANGE, true, Reason::WriteRefused),
        (Errno::ROFS, true, Reason::CgroupReadOnly),
        (Errno::PERM, true, Reason::WriteRefused),
        (Errno::ACCESS, true, Reason::WriteRefused),
        (Errno::IO, true, Reason::WriteRefused),
    ];
    for (errno, alive, reason) in table {
        let error = ApplyError::io_max("write", POD, SDB, errno, alive);
        assert_eq!(error.reason(), reason, "{errno}");
        let message = error.to_string();
        assert!(message.contains(POD) && message.contains("write"), "{message}");
        assert!(!message.contains("os error"), "{message}");
        assert!(message.contains("; "), "{message}");
        assert!(error.source().is_some(), "{errno}");
    }
    let read = ApplyError::io_max("read", POD, SDB, Errno::ACCESS, true);
    assert_eq!(read.reason(), Reason::IoMaxUnreadable);
}
