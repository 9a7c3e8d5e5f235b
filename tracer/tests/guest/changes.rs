//! A mount stays where it is, with other attributes or another propagation: one effect of kind `change` for each mount
//! that changed, with what mountinfo says of it afterwards.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};

use super::expect::{Wanted, all_own, expect_effects};
use super::ground::{self, Mounted};
use super::kernel;
use super::operation::{Operation, expect_path};
use super::operations::expect_own_actor;
use super::oracle;
use super::program::Lasting;
use super::raw::{self, MountAttr};
use super::trees::{self, Tree};
use super::trial::trial;

/// `linux/mount.h` and `linux/fcntl.h`.
const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NOSUID: u64 = 2;
const AT_RECURSIVE: u64 = 0x8000;
const AT_EMPTY_PATH: u64 = 0x1000;
const OPEN_TREE_CLONE: u64 = 1;
const OPEN_TREE_CLOEXEC: u64 = 0o2_000_000;
const MS_SHARED: u64 = 1 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("changes::remount_of_one_mount", remount_of_one_mount),
        trial("changes::remount_of_a_file_system", remount_of_a_file_system),
        trial("changes::remount_that_is_refused", remount_that_is_refused),
        trial("changes::each_propagation", each_propagation),
        trial("changes::propagation_of_a_tree", propagation_of_a_tree),
        trial("changes::propagation_that_is_refused", propagation_that_is_refused),
    ];
    if kernel::has_mount_setattr() {
        trials.extend([
            trial("changes::mount_setattr", mount_setattr),
            trial("changes::mount_setattr_of_a_tree", mount_setattr_of_a_tree),
            trial("changes::mount_setattr_of_the_propagation_alone", mount_setattr_of_the_propagation_alone),
            trial("changes::mount_setattr_of_both", mount_setattr_of_both),
            trial("changes::mount_setattr_that_is_refused", mount_setattr_that_is_refused),
            trial("changes::mount_setattr_by_a_descriptor", mount_setattr_by_a_descriptor),
            trial("changes::mount_setattr_of_a_tree_by_its_descriptor", mount_setattr_of_a_tree_by_its_descriptor),
        ]);
    } else {
        trials.push(trial("changes::this_kernel_has_no_mount_setattr", this_kernel_has_no_mount_setattr));
    }
    if kernel::has_open_tree_attr() {
        trials.push(trial("changes::open_tree_attr", open_tree_attr));
    }
    trials
}

fn remount(target: &Path, flags: MountFlags, data: &str) -> Result<(), Errno> {
    rustix::mount::mount_remount(target, flags, data)
}

fn remount_of_one_mount() -> Result<()> {
    let target = ground::directory("remount")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut trace = Lasting::trace()?;
    remount(&target, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID, "").context("remount")?;
    let operation = trace.drain_one()?;
    let options = oracle::own_mount_at(&target)?.options;
    ensure!(options.iter().any(|option| option == "ro"), "the remount left the mount writable: {options:?}");
    expect_effects(&operation, "remount", "mount", &[Wanted::own("change", &target)?])?;
    expect_path(&operation, "/claimed/target", &target)?;
    expect_own_actor(&operation)?;
    mounted.unmount()
}

fn remount_of_a_file_system() -> Result<()> {
    let target = ground::directory("remount")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut trace = Lasting::trace()?;
    remount(&target, MountFlags::NOEXEC, "size=1m").context("remount")?;
    let operation = trace.drain_one()?;
    expect_effects(&operation, "remount", "mount", &[Wanted::own("change", &target)?])?;
    mounted.unmount()
}

fn remount_that_is_refused() -> Result<()> {
    let target = ground::directory("remount")?;
    let mounted = Mounted::tmpfs(&target)?;
    let open = File::create_new(target.join("open"))?;
    let mut trace = Lasting::trace()?;
    let refused = remount(&target, MountFlags::RDONLY, "");
    ensure!(refused == Err(Errno::BUSY), "a read-only remount of a file that is written gave {refused:?}");
    let operation = trace.drain_one()?;
    operation.expect_failure("remount", 16, "EBUSY")?;
    expect_path(&operation, "/target/path", &target)?;
    drop(open);
    // The twin: the same call, when nothing is open.
    remount(&target, MountFlags::RDONLY, "").context("remount")?;
    expect_effects(&trace.drain_one()?, "remount", "mount", &[Wanted::own("change", &target)?])?;
    mounted.unmount()
}

fn each_propagation() -> Result<()> {
    let target = ground::directory("propagation")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut trace = Lasting::trace()?;
    let kinds = [
        (MountPropagationFlags::SHARED, "MS_SHARED"),
        (MountPropagationFlags::PRIVATE, "MS_PRIVATE"),
        (MountPropagationFlags::UNBINDABLE, "MS_UNBINDABLE"),
        (MountPropagationFlags::DOWNSTREAM, "MS_SLAVE"),
    ];
    for (kind, name) in kinds {
        ground::change(&target, kind)?;
        let operation = trace.drain_one()?;
        let wanted = Wanted::own("change", &target)?;
        expect_effects(&operation, "propagation", "mount", &[wanted]).with_context(|| name.to_owned())?;
        operation.expect("/claimed/flags", vec![name])?;
    }
    mounted.unmount()
}

fn propagation_of_a_tree() -> Result<()> {
    let tree = Tree::grow("tree")?;
    let points = trees::points(tree.root());
    let mut trace = Lasting::trace()?;
    ground::change(tree.root(), MountPropagationFlags::SHARED | MountPropagationFlags::REC)?;
    let operation = trace.drain_one()?;
    expect_effects(&operation, "propagation", "mount", &all_own("change", &trees::refs(&points))?)?;
    // The twin: without the flag it is the top alone.
    ground::change(tree.root(), MountPropagationFlags::PRIVATE)?;
    let operation = trace.drain_one()?;
    expect_effects(&operation, "propagation", "mount", &[Wanted::own("change", tree.root())?])?;
    tree.fell()
}

/// A directory that is no mount point has no propagation.
fn propagation_that_is_refused() -> Result<()> {
    let directory = ground::directory("plain")?;
    let mut trace = Lasting::trace()?;
    let refused = rustix::mount::mount_change(&directory, MountPropagationFlags::SHARED);
    ensure!(refused == Err(Errno::INVAL), "sharing a plain directory gave {refused:?}");
    let operation = trace.drain_one()?;
    operation.expect_failure("propagation", 22, "EINVAL")?;
    expect_path(&operation, "/target/path", &directory)
}

fn setattr(path: &Path, flags: u64, attr: MountAttr) -> Result<(), Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    raw::mount_setattr(None, &path, flags, &attr)
}

fn mount_setattr() -> Result<()> {
    let target = ground::directory("setattr")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut trace = Lasting::trace()?;
    setattr(&target, 0, MountAttr { set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, ..MountAttr::default() })?;
    let operation = trace.drain_one()?;
    expect_set(&operation, &[Wanted::own("change", &target)?])?;
    operation.expect("/claimed/attributes", vec!["MOUNT_ATTR_RDONLY", "MOUNT_ATTR_NOSUID"])?;
    expect_path(&operation, "/claimed/target", &target)?;
    expect_own_actor(&operation)?;
    // What the path means the kernel says, and not its letters.
    let link = ground::directory("links")?.join("link");
    symlink(&target, &link)?;
    setattr(&link, 0, MountAttr { clear: MOUNT_ATTR_RDONLY, ..MountAttr::default() })?;
    let operation = trace.drain_one()?;
    expect_set(&operation, &[Wanted::own("change", &target)?])?;
    expect_path(&operation, "/claimed/target", &link)?;
    operation.expect("/claimed/cleared", vec!["MOUNT_ATTR_RDONLY"])?;
    mounted.unmount()
}

/// What was set by a path. From 7.0 on nothing tells which mount it was: what changed is unknown, which is null and no empty list.
fn expect_set(operation: &Operation, wanted: &[Wanted]) -> Result<()> {
    if !kernel::is_at_least(7, 0)? {
        return expect_effects(operation, "setattr", "mount_setattr", wanted);
    }
    operation.expect("/op", "setattr")?;
    operation.expect("/syscall", "mount_setattr")?;
    operation.expect("/result/errno", 0)?;
    operation.expect("/effects", serde_json::Value::Null)
}

fn mount_setattr_of_a_tree() -> Result<()> {
    let tree = Tree::grow("tree")?;
    let mut trace = Lasting::trace()?;
    setattr(tree.root(), AT_RECURSIVE, MountAttr { set: MOUNT_ATTR_NOSUID, ..MountAttr::default() })?;
    let operation = trace.drain_one()?;
    let points = trees::points(tree.root());
    expect_set(&operation, &all_own("change", &trees::refs(&points))?)?;
    operation.expect("/claimed/flags", vec!["AT_RECURSIVE"])?;
    setattr(tree.root(), AT_RECURSIVE, MountAttr { propagation: MS_SHARED, ..MountAttr::default() })?;
    let wanted = all_own("change", &trees::refs(&points))?;
    expect_effects(&trace.drain_one()?, "propagation", "mount_setattr", &wanted)?;
    tree.fell()
}

fn mount_setattr_of_the_propagation_alone() -> Result<()> {
    let target = ground::directory("setattr")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut trace = Lasting::trace()?;
    setattr(&target, 0, MountAttr { propagation: MS_SHARED, ..MountAttr::default() })?;
    let operation = trace.drain_one()?;
    ensure!(oracle::own_mount_at(&target)?.shared, "mount_setattr did not share the mount");
    expect_effects(&operation, "propagation", "mount_setattr", &[Wanted::own("change", &target)?])?;
    operation.expect("/claimed/propagation", "MS_SHARED")?;
    mounted.unmount()
}

/// The twin: with an attribute besides, it is not the propagation alone.
fn mount_setattr_of_both() -> Result<()> {
    let target = ground::directory("setattr")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut trace = Lasting::trace()?;
    setattr(&target, 0, MountAttr { set: MOUNT_ATTR_NOSUID, propagation: MS_SHARED, ..MountAttr::default() })?;
    let operation = trace.drain_one()?;
    expect_effects(&operation, "setattr", "mount_setattr", &[Wanted::own("change", &target)?])?;
    operation.expect("/claimed/propagation", "MS_SHARED")?;
    mounted.unmount()
}

/// As runc and mount(8) call it: the descriptor leads to the mount, and each mount that changed is shown.
fn mount_setattr_by_a_descriptor() -> Result<()> {
    let target = ground::directory("setattr")?;
    let mounted = Mounted::tmpfs(&target)?;
    let opened = rustix::mount::open_tree(CWD, &target, OpenTreeFlags::OPEN_TREE_CLOEXEC).context("open_tree")?;
    let set = |attributes| {
        let attr = MountAttr { set: attributes, ..MountAttr::default() };
        raw::mount_setattr(Some(opened.as_fd()), c"", AT_EMPTY_PATH, &attr)
    };
    let mut trace = Lasting::trace()?;
    set(MOUNT_ATTR_NOSUID).context("mount_setattr by a descriptor")?;
    let wanted = Wanted::own("change", &target)?;
    expect_effects(&trace.drain_one()?, "setattr", "mount_setattr", &[wanted])?;
    // The twin: what is refused changes nothing.
    let open = File::create_new(target.join("open"))?;
    let refused = set(MOUNT_ATTR_RDONLY);
    ensure!(refused == Err(Errno::BUSY), "a mount whose file is written became read-only: {refused:?}");
    trace.drain_one()?.expect_failure("setattr", 16, "EBUSY")?;
    drop((open, opened));
    mounted.unmount()
}

fn mount_setattr_of_a_tree_by_its_descriptor() -> Result<()> {
    let tree = Tree::grow("tree")?;
    let opened = rustix::mount::open_tree(CWD, tree.root(), OpenTreeFlags::OPEN_TREE_CLOEXEC).context("open_tree")?;
    let attr = MountAttr { set: MOUNT_ATTR_NOSUID, ..MountAttr::default() };
    let mut trace = Lasting::trace()?;
    raw::mount_setattr(Some(opened.as_fd()), c"", AT_EMPTY_PATH | AT_RECURSIVE, &attr)?;
    let points = trees::points(tree.root());
    let wanted = all_own("change", &trees::refs(&points))?;
    expect_effects(&trace.drain_one()?, "setattr", "mount_setattr", &wanted)?;
    // The twin: without the flag it is the top alone.
    let attr = MountAttr { clear: MOUNT_ATTR_NOSUID, ..MountAttr::default() };
    raw::mount_setattr(Some(opened.as_fd()), c"", AT_EMPTY_PATH, &attr)?;
    let wanted = Wanted::own("change", tree.root())?;
    expect_effects(&trace.drain_one()?, "setattr", "mount_setattr", &[wanted])?;
    drop(opened);
    tree.fell()
}

/// It opens a mount and sets its attributes, or those of a copy, or only opens.
fn open_tree_attr() -> Result<()> {
    let target = ground::directory("attr")?;
    let mounted = Mounted::tmpfs(&target)?;
    let path = CString::new(target.as_os_str().as_bytes())?;
    let attr = MountAttr { set: MOUNT_ATTR_NOSUID, ..MountAttr::default() };
    let mut trace = Lasting::trace()?;
    drop(raw::open_tree_attr(&path, OPEN_TREE_CLOEXEC, &attr).context("open_tree_attr")?);
    let wanted = Wanted::own("change", &target)?;
    expect_effects(&trace.drain_one()?, "setattr", "open_tree_attr", &[wanted])?;
    let copy = raw::open_tree_attr(&path, OPEN_TREE_CLOEXEC | OPEN_TREE_CLONE, &attr).context("open_tree_attr")?;
    let operation = trace.drain_one()?;
    operation.expect_success("detached_copy", 0)?;
    operation.expect("/syscall", "open_tree_attr")?;
    operation.expect("/target/dev", oracle::dev_of(&target)?)?;
    operation.expect("/claimed/attributes", vec!["MOUNT_ATTR_NOSUID"])?;
    drop(copy);
    trace.drain_one()?.expect("/cause", "last_close")?;
    mounted.unmount()
}

fn mount_setattr_that_is_refused() -> Result<()> {
    let directory = ground::directory("plain")?;
    let mut trace = Lasting::trace()?;
    let refused = setattr(&directory, 0, MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() });
    ensure!(refused == Err(Errno::INVAL), "mount_setattr of a plain directory gave {refused:?}");
    let operation = trace.drain_one()?;
    operation.expect_failure("setattr", 22, "EINVAL")?;
    operation.expect("/syscall", "mount_setattr")?;
    expect_path(&operation, "/claimed/target", &directory)
}

/// In place of the trials above: the call is refused, changes nothing, and nothing is shown.
fn this_kernel_has_no_mount_setattr() -> Result<()> {
    let target = ground::directory("setattr")?;
    let mounted = Mounted::tmpfs(&target)?;
    let before = oracle::own_mount_at(&target)?;
    let mut trace = Lasting::trace()?;
    let refused = setattr(&target, 0, MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() });
    ensure!(refused == Err(Errno::NOSYS), "mount_setattr gave {refused:?} on a kernel that has none");
    let shown = trace.drain()?;
    ensure!(shown.is_empty(), "a call that this kernel does not have was shown: {shown:#?}");
    ensure!(oracle::own_mount_at(&target)? == before, "a call that this kernel does not have changed the mount");
    mounted.unmount()
}
