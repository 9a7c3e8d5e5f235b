//! Mounts and namespaces that are not where one looks for them: in no namespace at all, of the kernel's own, of one thread, of a
//! user who owns nothing else.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use libtest_mimic::Trial;
use rustix::fs::{CWD, MemfdFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::actor::{self, Actor};
use super::ground::{self, Mounted, by_descriptor, open};
use super::operation::{Operation, expect_path};
use super::oracle;
use super::program::{LINE, Lasting};
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("strange::a_mount_in_no_namespace", a_mount_in_no_namespace),
        trial("strange::a_mount_of_the_kernels_own", a_mount_of_the_kernels_own),
        trial("strange::a_namespace_of_one_thread", a_namespace_of_one_thread),
        trial("strange::a_namespace_of_another_user", a_namespace_of_another_user),
    ]
}

/// A mount that was let go of lazily lives as long as somebody holds it, with no namespace: `mnt_ns` is NULL.
fn a_mount_in_no_namespace() -> Result<()> {
    let target = ground::directory("gone")?;
    let mounted = Mounted::tmpfs(&target)?;
    ground::make_directory(&target.join("inside"))?;
    let held = open(CWD, target.join("inside"))?;
    let mut trace = Lasting::trace()?;
    mounted.unmount_with(UnmountFlags::DETACH)?;
    trace.drain_one()?.expect_success("umount", 1)?;
    let at = by_descriptor(&held);
    let refused = rustix::mount::mount("tmpfs", &at, "tmpfs", MountFlags::empty(), None);
    expect_refused(&trace.drain_one()?, "mount", refused)?;
    let refused = rustix::mount::mount_bind(&at, &target);
    expect_refused(&trace.drain_one()?, "bind", refused)?;
    // The twin: who can be bound is.
    drop(held);
    let source = ground::directory("there")?;
    let mounted = Mounted::bind(&source, &target)?;
    trace.drain_one()?.expect_success("bind", 1)?;
    mounted.unmount()
}

/// What the kernel mounts for itself (`kern_mount`) has an error for its namespace: `MNT_NS_INTERNAL`.
fn a_mount_of_the_kernels_own() -> Result<()> {
    let directory = ground::directory("own")?;
    let target = directory.join("target");
    ground::write_file(&target, "")?;
    let memory = rustix::fs::memfd_create("mine", MemfdFlags::CLOEXEC).context("memfd_create")?;
    let mut trace = Lasting::trace()?;
    let refused = rustix::mount::mount_bind(by_descriptor(&memory), &target);
    expect_refused(&trace.drain_one()?, "bind", refused)?;
    let refused = rustix::mount::mount_bind(&target, by_descriptor(&memory));
    let operation = trace.drain_one()?;
    expect_refused(&operation, "bind", refused)?;
    operation.expect("/claimed/target", by_descriptor(&memory).to_string_lossy().as_ref())
}

/// A place that is in no namespace is invalid, or for newer kernels (6.17 on) not there.
fn expect_refused(operation: &Operation, op: &str, result: rustix::io::Result<()>) -> Result<()> {
    match result {
        Err(Errno::INVAL) => operation.expect_failure(op, 22, "EINVAL"),
        Err(Errno::NOENT) => operation.expect_failure(op, 2, "ENOENT"),
        other => bail!("a place in no namespace gave {other:?}"),
    }
}

/// A thread may leave the namespace of its process.
fn a_namespace_of_one_thread() -> Result<()> {
    let target = ground::directory("thread")?;
    let mut trace = Lasting::trace()?;
    let in_thread = || -> Result<(u64, u32)> {
        actor::unshare()?;
        ground::mount_tmpfs(&target)?;
        let link = fs::read_link("/proc/thread-self/ns/mnt")?;
        let inode = link.to_string_lossy().trim_matches(|c: char| !c.is_ascii_digit()).parse()?;
        Ok((inode, rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()))
    };
    let joined = thread::scope(|scope| scope.spawn(in_thread).join());
    let (namespace, thread) = joined.map_err(|_| anyhow!("the thread panicked"))??;
    ensure!(namespace != oracle::own_namespace()?, "the thread is in its process's namespace");
    wait_until_gone(thread)?;
    let operations = trace.drain()?;
    let kinds: Vec<&str> = operations.iter().map(Operation::op).collect();
    ensure!(kinds == ["namespace_created", "mount", "namespace_destroyed"], "{kinds:?}: {operations:?}");
    operations[0].expect("/namespace/mntns", namespace)?;
    let mount = &operations[1];
    mount.expect_success("mount", 1)?;
    mount.expect("/effects/0/mntns", namespace)?;
    mount.expect("/actor/mntns", namespace)?;
    mount.expect("/actor/pid", std::process::id())?;
    mount.expect("/actor/tid", thread)?;
    expect_path(mount, "/effects/0/path", &target)?;
    operations[2].expect("/namespace/mntns", namespace)
}

/// A joined thread may still be on its way out: `pthread_join` returns when the kernel lets go of the thread's memory, which it
/// does before it lets go of its namespaces (`do_exit`); the entry in `/proc` is removed after both.
fn wait_until_gone(thread: u32) -> Result<()> {
    let entry = PathBuf::from(format!("/proc/self/task/{thread}"));
    let deadline = Instant::now() + LINE;
    while entry.exists() {
        ensure!(Instant::now() < deadline, "thread {thread} was joined, and is there after {LINE:?}");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// In a namespace that another user owns, what came from above is locked, and what is made there is not.
fn a_namespace_of_another_user() -> Result<()> {
    let (locked, own) = (ground::directory("locked")?, ground::directory("own")?);
    let mounted = Mounted::tmpfs(&locked)?;
    let [locked_text, own_text] = [&locked, &own].map(|path| path.to_str().unwrap_or_default());
    let mut child = Actor::start()?;
    let mut trace = Lasting::trace()?;
    child.must(&["unshare_user"])?;
    let namespace = child.namespace()?;
    let errno = child.act(&["umount", locked_text])?;
    ensure!(errno == Errno::INVAL.raw_os_error(), "an unmount of what is locked gave errno {errno}");
    child.must(&["tmpfs", own_text])?;
    let operations = trace.drain()?;
    let kinds: Vec<&str> = operations.iter().map(Operation::op).collect();
    ensure!(kinds == ["namespace_created", "umount", "mount"], "{kinds:?}: {operations:?}");
    operations[0].expect("/namespace/mntns", namespace)?;
    operations[1].expect_failure("umount", 22, "EINVAL")?;
    operations[1].expect("/target/path", locked_text)?;
    operations[2].expect_success("mount", 1)?;
    operations[2].expect("/effects/0/mntns", namespace)?;
    expect_path(&operations[2], "/effects/0/path", &own)?;
    drop(child);
    mounted.unmount()
}
