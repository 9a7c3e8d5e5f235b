//! A second process that acts on command: in a mount namespace of its own, or as another user.
//!
//! It is this binary again, told by an environment variable. Each line it reads is a command with its words separated by
//! tabs; each line it writes is the errno of that command, 0 for success. It ends when its input does.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::{ground, oracle};

const ROLE: &str = "MOUNT_TRACER_GUEST_ACTOR";

/// The user who may do nothing, by convention.
pub(crate) const NOBODY: u32 = 65534;

/// The other process, from the test's side.
#[derive(Debug)]
pub(crate) struct Actor {
    child: Child,
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Actor {
    /// A process like this one.
    pub(crate) fn start() -> Result<Self> {
        Self::spawn(&mut own_binary()?)
    }

    /// A process of an unprivileged user.
    pub(crate) fn unprivileged() -> Result<Self> {
        Self::spawn(own_binary()?.uid(NOBODY).gid(NOBODY))
    }

    /// A process in a mount namespace of its own, whose mounts go on sharing what was shared.
    pub(crate) fn unshared() -> Result<Self> {
        let mut actor = Self::start()?;
        actor.must(&["unshare"])?;
        ensure!(actor.namespace()? != oracle::own_namespace()?, "unshare left the actor in the test's namespace");
        Ok(actor)
    }

    /// A process in a mount namespace of its own that shares nothing.
    pub(crate) fn private() -> Result<Self> {
        let mut actor = Self::unshared()?;
        actor.must(&["private", "/"])?;
        Ok(actor)
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        command.env(ROLE, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the test binary a second time, as an actor")?;
        let commands = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().context("the actor has no pipe")?);
        Ok(Self { child, commands, replies })
    }

    /// Does it, and gives the errno: 0 for success.
    pub(crate) fn act(&mut self, words: &[&str]) -> Result<i32> {
        let pipe = self.commands.as_mut().context("the actor's input is closed")?;
        writeln!(pipe, "{}", words.join("\t")).with_context(|| format!("cannot tell the actor to {words:?}"))?;
        let mut reply = String::new();
        self.replies.read_line(&mut reply).with_context(|| format!("no reply to {words:?}"))?;
        reply.trim().parse().with_context(|| format!("the actor's reply to {words:?} is {reply:?}"))
    }

    /// Does what has to succeed.
    pub(crate) fn must(&mut self, words: &[&str]) -> Result<()> {
        let errno = self.act(words)?;
        ensure!(errno == 0, "the actor failed with errno {errno} to {words:?}");
        Ok(())
    }

    /// Makes the sentinel mount in the actor's namespace.
    pub(crate) fn touch_sentinel(&mut self) -> Result<()> {
        let sentinel = ground::sentinel()?;
        let sentinel = sentinel.to_str().context("the sentinel's path is UTF-8")?;
        self.must(&["tmpfs", sentinel])?;
        self.must(&["umount", sentinel])
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The inode of its mount namespace.
    pub(crate) fn namespace(&self) -> Result<u64> {
        oracle::namespace(self.pid())
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

fn own_binary() -> Result<Command> {
    let path = std::env::current_exe().context("cannot find the test binary itself")?;
    Ok(Command::new(path))
}

/// Whether this process was started as an actor.
pub(crate) fn is_actor() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// The actor's side.
pub(crate) fn serve() -> ExitCode {
    let mut replies = std::io::stdout();
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { return ExitCode::FAILURE };
        let words: Vec<&str> = line.split('\t').collect();
        let errno = match perform(&words) {
            Ok(()) => 0,
            Err(errno) => errno.raw_os_error(),
        };
        if writeln!(replies, "{errno}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn perform(words: &[&str]) -> Result<(), Errno> {
    match words {
        ["unshare"] => unshare(),
        ["name", name] => rustix::thread::set_name(&CString::new(*name).map_err(|_| Errno::INVAL)?),
        ["unshare_user"] => unshare_user(),
        ["chroot", target] => rustix::process::chroot(*target),
        ["private", target] => {
            rustix::mount::mount_change(*target, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        }
        ["tmpfs", target] => rustix::mount::mount("tmpfs", *target, "tmpfs", MountFlags::empty(), None),
        ["mount", source, target, fstype] => rustix::mount::mount(*source, *target, *fstype, MountFlags::empty(), None),
        ["bind", source, target] => rustix::mount::mount_bind(*source, *target),
        ["setns", pid] => enter(&format!("/proc/{pid}/ns/mnt")),
        ["enter", namespace] => enter(namespace),
        ["mkdir", path] => rustix::fs::mkdir(*path, 0o755.into()),
        ["switch", target] => switch_root(target),
        ["pivot", new, old] => rustix::process::pivot_root(*new, *old),
        ["fail", times, target, missing] => fail(times.parse().map_err(|_| Errno::INVAL)?, target, missing),
        ["chdir", target] => rustix::process::chdir(*target),
        ["open", path] => keep_open(path, OFlags::RDONLY),
        ["write", path] => keep_open(path, OFlags::RDWR | OFlags::CREATE),
        ["map", path] => keep_mapped(path),
        ["slave", target] => rustix::mount::mount_change(*target, MountPropagationFlags::DOWNSTREAM),
        ["umount", target] => rustix::mount::unmount(*target, UnmountFlags::empty()),
        _ => Err(Errno::NOSYS),
    }
}

/// For as long as the actor lives.
fn keep_open(path: &str, flags: OFlags) -> Result<(), Errno> {
    std::mem::forget(rustix::fs::open(path, flags, 0o600.into())?);
    Ok(())
}

/// The same without a descriptor.
fn keep_mapped(path: &str) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::RDWR | OFlags::CREATE, 0o600.into())?;
    rustix::fs::ftruncate(&file, 4096)?;
    // SAFETY: the kernel chooses the place, and nobody reads or writes there.
    unsafe { mmap(std::ptr::null_mut(), 4096, ProtFlags::READ, MapFlags::SHARED, &file, 0) }?;
    Ok(())
}

/// Fails so many times, in three ways, as fast as it can, as one who may not mount.
fn fail(times: u64, target: &str, missing: &str) -> Result<(), Errno> {
    let mount = |at: &str| rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::empty(), None);
    for turn in 0..times {
        let (result, wanted) = match turn % 3 {
            0 => (mount(target), Errno::PERM),
            1 => (mount(missing), Errno::NOENT),
            _ => (rustix::mount::unmount(target, UnmountFlags::empty()), Errno::PERM),
        };
        if result != Err(wanted) {
            return Err(result.err().unwrap_or(Errno::PROTO));
        }
    }
    Ok(())
}

/// The mount namespace whose file this is.
fn enter(namespace: &str) -> Result<(), Errno> {
    let namespace = File::open(namespace).map_err(|_| Errno::NOENT)?;
    rustix::thread::move_into_link_name_space(namespace.as_fd(), None)
}

/// What is mounted there becomes the root: an initial root can only be covered, not left.
fn switch_root(target: &str) -> Result<(), Errno> {
    rustix::process::chdir(target)?;
    rustix::mount::mount_move(".", "/")?;
    rustix::process::chroot(".")
}

/// A mount namespace of its own for the calling thread.
pub(crate) fn unshare() -> Result<(), Errno> {
    // SAFETY: only descriptor tables make unsharing unsound; this unshares the mount namespace alone, and with it the thread's
    // root and working directory.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}

/// The same, owned by a user namespace that is made for it.
fn unshare_user() -> Result<(), Errno> {
    // SAFETY: as above; a process of one thread.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
}
