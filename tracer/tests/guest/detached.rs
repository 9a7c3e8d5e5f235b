//! Mounts that are in no namespace of a process yet: made by fsmount(2), copied by `open_tree(2)`, and attached, or not,
//! by `move_mount(2)`.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use super::expect::{Wanted, all_own, expect_effects};
use super::ground::{self, Mounted};
use super::operation::{Operation, expect_path};
use super::operations::expect_own_actor;
use super::program::{Lasting, Program};
use super::trees::{self, Tree};
use super::trial::trial;

/// `OPEN_TREE_NAMESPACE` and `FSMOUNT_NAMESPACE` of `linux/mount.h`.
const MAKES_NAMESPACE: u32 = 2;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("detached::a_new_mount_made_and_attached", a_new_mount_made_and_attached),
        trial("detached::a_new_mount_never_attached", a_new_mount_never_attached),
        trial("detached::a_copy_made_and_attached", a_copy_made_and_attached),
        trial("detached::a_copy_of_a_tree", a_copy_of_a_tree),
        trial("detached::open_tree_without_a_clone", open_tree_without_a_clone),
        trial("detached::a_copy_that_is_refused", a_copy_that_is_refused),
        trial("detached::a_new_mount_that_is_refused", a_new_mount_that_is_refused),
    ]
}

/// A file system context of tmpfs, and its superblock if `create`.
pub(crate) fn context(create: bool) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).context("fsopen of tmpfs")?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", "detached").context("fsconfig of the source")?;
    if create {
        rustix::mount::fsconfig_create(context.as_fd()).context("fsconfig that makes the superblock")?;
    }
    Ok(context)
}

/// fsmount(2), read-only.
fn fsmount(context: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// A namespace of a clone of what is there, by a descriptor: `OPEN_TREE_NAMESPACE` (7.0 and newer).
pub(crate) fn namespace_of_tree(source: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::from_bits_retain(MAKES_NAMESPACE);
    rustix::mount::open_tree(CWD, source, flags).context("open_tree that makes a namespace")
}

/// The same of a new file system: `FSMOUNT_NAMESPACE`.
pub(crate) fn namespace_of_tmpfs() -> Result<OwnedFd> {
    let context = context(true)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC | FsMountFlags::from_bits_retain(MAKES_NAMESPACE);
    rustix::mount::fsmount(&context, flags, MountAttrFlags::empty()).context("fsmount that makes a namespace")
}

/// `move_mount(2)` of a descriptor.
pub(crate) fn attach(mount: &OwnedFd, target: &Path) -> Result<Mounted> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), "", CWD, target, flags)
        .with_context(|| format!("cannot attach a detached mount to {}", target.display()))?;
    Ok(Mounted::adopt(target))
}

fn clone(source: &Path, flags: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, source, flags)
}

fn two(trace: &mut Program) -> Result<(Operation, Operation)> {
    let mut operations = trace.drain()?;
    ensure!(operations.len() == 2, "two operations were made, {} shown: {operations:#?}", operations.len());
    let second = operations.pop().context("no second")?;
    Ok((operations.pop().context("no first")?, second))
}

/// Made, and in no namespace that a process could be in.
fn expect_detached(operation: &Operation, op: &str, syscall: &str, mount: &OwnedFd) -> Result<()> {
    operation.expect("/op", op)?;
    operation.expect("/syscall", syscall)?;
    operation.expect("/result/errno", 0)?;
    expect_own_actor(operation)?;
    let stat = File::from(mount.try_clone()?).metadata().context("stat of a detached mount")?;
    let dev = format!("{}:{}", rustix::fs::major(stat.dev()), rustix::fs::minor(stat.dev()));
    operation.expect("/target/dev", dev)?;
    operation.expect("/target/fstype", "tmpfs")?;
    // No table has changed.
    operation.expect("/effects", serde_json::Value::Array(Vec::new()))
}

fn a_new_mount_made_and_attached() -> Result<()> {
    let target = ground::directory("fsmount")?;
    let mut trace = Lasting::trace()?;
    let mount = fsmount(&context(true)?).context("fsmount")?;
    let mounted = attach(&mount, &target)?;
    let (made, attached) = two(&mut trace)?;
    expect_detached(&made, "fsmount", "fsmount", &mount)?;
    made.expect("/claimed/attributes", vec!["MOUNT_ATTR_RDONLY"])?;
    expect_effects(&attached, "mount", "move_mount", &[Wanted::own("attach", &target)?])?;
    attached.expect("/effects/0/source", "detached")?;
    expect_path(&attached, "/claimed/target", &target)?;
    expect_own_actor(&attached)?;
    // Lazily: the descriptor is still open.
    mounted.unmount_with(UnmountFlags::DETACH)
}

/// The twin: what was never attached goes with its last descriptor, from no table.
fn a_new_mount_never_attached() -> Result<()> {
    let mut trace = Lasting::trace()?;
    let mount = fsmount(&context(true)?).context("fsmount")?;
    expect_detached(&trace.drain_one()?, "fsmount", "fsmount", &mount)?;
    drop(mount);
    let gone = trace.drain_one()?;
    gone.expect("/op", "umount")?;
    gone.expect("/cause", "last_close")?;
    gone.expect("/syscall", serde_json::Value::Null)?;
    gone.expect("/actor/pid", std::process::id())?;
    let effects = gone.effects();
    ensure!(effects.len() == 1 && effects[0]["kind"] == "detach", "no end of one mount: {gone:?}");
    gone.expect("/effects/0/fstype", "tmpfs")?;
    gone.expect("/effects/0/path", serde_json::Value::Null)?;
    gone.expect("/effects/0/path_reason", "not_walked")
}

fn a_copy_made_and_attached() -> Result<()> {
    let (source, target) = (ground::directory("source")?, ground::directory("copy")?);
    let mut trace = Lasting::trace()?;
    let copy = clone(&source, OpenTreeFlags::empty()).context("open_tree with OPEN_TREE_CLONE")?;
    let mounted = attach(&copy, &target)?;
    let (made, attached) = two(&mut trace)?;
    expect_detached(&made, "detached_copy", "open_tree", &copy)?;
    expect_path(&made, "/claimed/source", &source).or_else(|_| expect_path(&made, "/claimed/target", &source))?;
    // The root is the source's path within its file system: mountinfo says which.
    expect_effects(&attached, "bind", "move_mount", &[Wanted::own("attach", &target)?])?;
    mounted.unmount_with(UnmountFlags::DETACH)
}

fn a_copy_of_a_tree() -> Result<()> {
    let (tree, target) = (Tree::grow("tree")?, ground::directory("copy")?);
    let mut trace = Lasting::trace()?;
    let copy = clone(tree.root(), OpenTreeFlags::AT_RECURSIVE).context("open_tree of a whole tree")?;
    let mounted = attach(&copy, &target)?;
    let (made, attached) = two(&mut trace)?;
    expect_detached(&made, "detached_copy", "open_tree", &copy)?;
    let points = trees::points(&target);
    expect_effects(&attached, "bind", "move_mount", &all_own("attach", &trees::refs(&points))?)?;
    mounted.unmount_with(UnmountFlags::DETACH)?;
    tree.fell()
}

/// The twin: it opens a path, and copies nothing.
fn open_tree_without_a_clone() -> Result<()> {
    let source = ground::directory("source")?;
    let mut trace = Lasting::trace()?;
    let opened = rustix::mount::open_tree(CWD, &source, OpenTreeFlags::OPEN_TREE_CLOEXEC).context("open_tree")?;
    let shown = trace.drain()?;
    drop(opened);
    ensure!(shown.is_empty(), "open_tree without a clone is no operation, but was shown: {shown:#?}");
    Ok(())
}

fn a_copy_that_is_refused() -> Result<()> {
    let source = ground::directory("unbindable")?;
    let mounted = Mounted::tmpfs(&source)?;
    ground::change(&source, MountPropagationFlags::UNBINDABLE)?;
    let mut trace = Lasting::trace()?;
    let refused = clone(&source, OpenTreeFlags::empty());
    ensure!(refused.as_ref().err() == Some(&Errno::INVAL), "a copy of an unbindable mount gave {refused:?}");
    let operation = trace.drain_one()?;
    operation.expect_failure("detached_copy", 22, "EINVAL")?;
    operation.expect("/syscall", "open_tree")?;
    expect_own_actor(&operation)?;
    mounted.unmount()
}

/// A context without a superblock has nothing to mount; which errno says so differs.
fn a_new_mount_that_is_refused() -> Result<()> {
    let mut trace = Lasting::trace()?;
    let refused = fsmount(&context(false)?).err().context("fsmount of a context without a superblock succeeded")?;
    let operation = trace.drain_one()?;
    operation.expect("/op", "fsmount")?;
    operation.expect("/result/errno", refused.raw_os_error())?;
    ensure!(operation.effects().is_empty(), "a failed call has effects: {operation:?}");
    expect_own_actor(&operation)
}
