//! A mount namespace is made and ends: each is one operation, with its inode number, of which it is a copy, and how many
//! mounts are in it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::process::WaitOptions;

use super::actor::Actor;
use super::detached;
use super::ground;
use super::kernel;
use super::list;
use super::operation::Operation;
use super::oracle;
use super::program::Lasting;
use super::raw;
use super::trial::trial;

/// `linux/sched.h` and `asm/signal.h`.
const CLONE_NEWNS: u64 = 0x0002_0000;
const SIGCHLD: u64 = 17;
const MOUNT_MAX: &str = "/proc/sys/fs/mount-max";
/// The mounts that mountinfo hides: an initial root, and below it, on new kernels, another. More would be a surprise.
const MOST_HIDDEN: u64 = 16;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("namespaces::birth_and_death", birth_and_death),
        trial("namespaces::a_birth_that_is_refused", a_birth_that_is_refused),
        trial("namespaces::made_by_clone_and_clone3", made_by_clone_and_clone3),
        trial("namespaces::made_for_a_descriptor", made_for_a_descriptor),
        trial("namespaces::entered_by_setns", entered_by_setns),
        trial("namespaces::of_a_kernel_thread", of_a_kernel_thread),
        trial("namespaces::mounts_go_with_their_namespace", mounts_go_with_their_namespace),
    ]
}

fn birth_and_death() -> Result<()> {
    let probe = ground::directory("probe")?;
    let mut child = Actor::start()?;
    let pid = child.pid();
    let mut trace = Lasting::trace()?;
    child.must(&["unshare"])?;
    let inode = child.namespace()?;
    let created = trace.drain_one()?;
    created.expect("/op", "namespace_created")?;
    created.expect("/namespace/mntns", inode)?;
    created.expect("/namespace/copied_from_mntns", oracle::own_namespace()?)?;
    created.expect("/actor/pid", pid)?;
    created.expect("/syscall", "unshare")?;
    created.expect("/cause", "syscall")?;
    let mounts = count_mounts(&mut child, &probe)?;
    created.expect("/namespace/mounts", mounts)?;
    // What counting has tried and failed to mount is not of interest.
    trace.drain()?;
    drop(child);
    let destroyed = trace.drain_one()?;
    destroyed.expect("/op", "namespace_destroyed")?;
    destroyed.expect("/cause", "namespace_end")?;
    destroyed.expect("/namespace/mntns", inode)
}

/// The twin: nobody may not have one, and none is shown.
fn a_birth_that_is_refused() -> Result<()> {
    let mut nobody = Actor::unprivileged()?;
    let mut trace = Lasting::trace()?;
    let errno = nobody.act(&["unshare"])?;
    ensure!(errno == Errno::PERM.raw_os_error(), "unshare by nobody gave errno {errno}");
    drop(nobody);
    let shown = trace.drain()?;
    ensure!(shown.is_empty(), "no namespace was made, but this was shown: {shown:#?}");
    Ok(())
}

/// `OPEN_TREE_NAMESPACE` and `FSMOUNT_NAMESPACE` (7.0 and newer) give a descriptor of a namespace that nobody is in.
fn made_for_a_descriptor() -> Result<()> {
    if !kernel::is_at_least(7, 0)? {
        return Ok(());
    }
    let mut trace = Lasting::trace()?;
    let source = ground::directory("tree")?;
    let tree = detached::namespace_of_tree(&source)?;
    expect_made(&trace.drain_one()?, "open_tree", &tree)?;
    let mount = detached::namespace_of_tmpfs()?;
    expect_made(&trace.drain_one()?, "fsmount", &mount)?;
    // The twin: a refused one is none.
    let refused = detached::namespace_of_tree(&source.join("not-there"));
    ensure!(refused.is_err(), "a namespace of nothing was made");
    let refused = trace.drain_one()?;
    refused.expect("/op", "namespace_created")?;
    refused.expect("/result/name", "ENOENT")?;
    refused.expect("/namespace", serde_json::Value::Null)
}

fn expect_made(created: &Operation, syscall: &str, namespace: &OwnedFd) -> Result<()> {
    created.expect("/op", "namespace_created")?;
    created.expect("/syscall", syscall)?;
    created.expect("/result/errno", 0)?;
    created.expect("/namespace/mntns", rustix::fs::fstat(namespace)?.st_ino)?;
    created.expect("/namespace/mntns_id", raw::namespace_id(namespace.as_fd())?.to_string())?;
    created.expect("/namespace/copied_from_mntns", serde_json::Value::Null)
}

/// A child that is born into a namespace of its own, and ends with it.
fn made_by_clone_and_clone3() -> Result<()> {
    let mut trace = Lasting::trace()?;
    let children =
        [("clone", raw::clone_and_end(CLONE_NEWNS | SIGCHLD)), ("clone3", raw::clone3_and_end(CLONE_NEWNS, SIGCHLD))];
    for (syscall, child) in &children {
        let child = child.as_ref().map_err(|errno| anyhow::anyhow!("{syscall} gave {errno}"))?;
        rustix::process::waitpid(rustix::process::Pid::from_raw(*child), WaitOptions::empty())?;
    }
    let operations = trace.drain()?;
    let made: Vec<_> = operations.iter().filter(|operation| operation.op() == "namespace_created").collect();
    ensure!(made.len() == 2 && operations.len() == 4, "two births and two ends: {operations:#?}");
    for ((syscall, _), operation) in children.iter().zip(made) {
        operation.expect("/syscall", *syscall)?;
        operation.expect("/actor/pid", std::process::id())?;
        operation.expect("/namespace/copied_from_mntns", oracle::own_namespace()?)?;
    }
    Ok(())
}

/// Who enters another namespace changes none.
fn entered_by_setns() -> Result<()> {
    let mut child = Actor::private()?;
    let (own, other) = (oracle::own_namespace()?, child.namespace()?);
    let mut trace = Lasting::trace()?;
    child.must(&["setns", &std::process::id().to_string()])?;
    ensure!(child.namespace()? == own, "setns left the child in {other}");
    // The namespace that nobody is in any more ends, and that is all.
    let ended = trace.drain_one()?;
    ended.expect("/op", "namespace_destroyed")?;
    ended.expect("/namespace/mntns", other)
}

/// kdevtmpfs has one of its own, from before any process: what changes in it is seen as anywhere else.
fn of_a_kernel_thread() -> Result<()> {
    let thread = oracle::kernel_thread("kdevtmpfs")?;
    let inode = oracle::namespace(thread)?;
    ensure!(inode != oracle::own_namespace()?, "kdevtmpfs has no namespace of its own");
    let room = "/mount-tracer";
    ground::make_directory(Path::new(&format!("/proc/{thread}/root{room}")))?;
    let mut visitor = Actor::start()?;
    let mut trace = Lasting::trace()?;
    visitor.must(&["enter", &format!("/proc/{thread}/ns/mnt")])?;
    for (act, op) in [("tmpfs", "mount"), ("umount", "umount")] {
        visitor.must(&[act, room])?;
        let shown = trace.drain_one()?;
        shown.expect("/op", op)?;
        shown.expect("/effects/0/mntns", inode)?;
        shown.expect("/effects/0/path", room)?;
        shown.expect("/actor/mntns", inode)?;
    }
    // Its table is its own.
    list::expect_table(&list::objects(&["--pid", &thread.to_string()])?, thread)
}

/// The end of a namespace is one operation, however much was mounted in it, and touches no other namespace.
fn mounts_go_with_their_namespace() -> Result<()> {
    let here = ground::directory("here")?;
    let here = here.to_str().context("the trials' own paths are UTF-8")?;
    let mut child = Actor::private()?;
    let inode = child.namespace()?;
    let mut trace = Lasting::trace()?;
    child.must(&["tmpfs", here])?;
    let mounted = trace.drain_one()?;
    mounted.expect_success("mount", 1)?;
    mounted.expect("/effects/0/mntns", inode)?;
    drop(child);
    let destroyed = trace.drain_one()?;
    destroyed.expect("/op", "namespace_destroyed")?;
    destroyed.expect("/namespace/mntns", inode)?;
    expect_no_other(&destroyed, inode)
}

fn expect_no_other(operation: &Operation, inode: u64) -> Result<()> {
    let elsewhere = operation.effects().iter().find(|effect| effect["mntns"] != inode);
    ensure!(elsewhere.is_none(), "the end of namespace {inode} touched another: {operation:?}");
    Ok(())
}

/// How many mounts the kernel counts in a namespace, hidden ones included, which mountinfo leaves out: with `mount-max` at
/// N, one more can be made there only while there are fewer than N.
fn count_mounts(child: &mut Actor, probe: &Path) -> Result<u64> {
    let shown = oracle::mounts(child.pid())?.len() as u64;
    let limit = MountMax::keep()?;
    let probe = probe.to_str().context("the trials' own paths are UTF-8")?;
    for hidden in 0..MOST_HIDDEN {
        limit.set(shown + hidden + 1)?;
        let errno = child.act(&["tmpfs", probe])?;
        if errno == 0 {
            child.must(&["umount", probe])?;
            return Ok(shown + hidden);
        }
        ensure!(errno == Errno::NOSPC.raw_os_error(), "a mount above the limit gave errno {errno}, expected ENOSPC");
    }
    anyhow::bail!("mountinfo shows {shown} mounts, and the kernel counts {MOST_HIDDEN} more at least")
}

/// The machine's limit, put back at the end.
struct MountMax {
    file: PathBuf,
    before: String,
}

impl MountMax {
    fn keep() -> Result<Self> {
        Ok(Self { file: MOUNT_MAX.into(), before: kernel::read(MOUNT_MAX)? })
    }

    fn set(&self, limit: u64) -> Result<()> {
        ground::write_file(&self.file, limit.to_string())
    }
}

impl Drop for MountMax {
    fn drop(&mut self) {
        let _ = ground::write_file(&self.file, &self.before);
    }
}
