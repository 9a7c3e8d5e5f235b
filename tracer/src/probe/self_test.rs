//! Proves after attaching that each kind of change is seen: what attaches may never be called. A child process makes each
//! change in a mount namespace of its own, and the rings are looked through for its records.

use std::{
    collections::HashSet,
    ffi::CString,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use rustix::{
    fs::CWD,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
        OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_reconfigure, fsmount, fsopen, fspick, mount, mount_bind,
        mount_change, mount_move, mount_remount, move_mount, open_tree, unmount,
    },
    process::{chdir, pivot_root},
    thread::{UnshareFlags, unshare_unsafe},
};
use thiserror::Error;
use tracer_common::fact::Header;
use zerocopy::FromBytes as _;

use super::{hooks::Proof, load::Attached, refusal::Finding};
use crate::{
    host::{node::Verdict, setattr},
    stream::Rings,
};

/// The hidden subcommand that is the child.
pub const SUBCOMMAND: &str = "self-test";

/// How long to wait between looks at the rings: they must not fill.
const LOOK: Duration = Duration::from_millis(2);

/// Where the child mounts its own file system before it makes it its root: a directory that every node has.
const BASE: &str = "/proc";

/// Why the child could not make a change.
#[derive(Debug, Error)]
#[error("cannot {what}")]
pub struct ActError {
    what: &'static str,
    #[source]
    source: io::Error,
}

/// How often the child is run at most. One that runs while others mount and unmount without pause may be missed by return
/// probes, of which the kernel keeps a limited number; what is never called stays unseen however often.
const TRIES: usize = 10;

/// What the self-test showed.
#[derive(Debug, Default)]
pub struct Shown {
    /// A verdict for each kind of change.
    pub verdicts: Vec<Verdict>,
    /// Hooks that are never called for what they are to tell more of: this kernel goes another way.
    pub idle: Vec<u32>,
}

/// Runs the child and looks for what it did, until all was seen.
pub fn run(rings: &mut Rings, attached: &[Attached]) -> Shown {
    let (mut seen, mut shown) = (HashSet::new(), Shown::default());
    for _ in 0..TRIES {
        match witnessed(rings) {
            Ok(more) => seen.extend(more),
            Err(finding) => return Shown { verdicts: vec![Err(finding)], idle: Vec::new() },
        }
        shown.verdicts = verdicts(attached, &seen);
        if shown.verdicts.iter().all(Result::is_ok) {
            break;
        }
    }
    let silent = attached.iter().map(|one| one.hook).filter(|hook| hook.is_spared() && !seen.contains(&hook.number));
    shown.idle = silent.map(|hook| hook.number).collect();
    shown
}

/// The hooks that wrote records for the child.
fn witnessed(rings: &mut Rings) -> Result<HashSet<u32>, Finding> {
    let fails = |why: String| Finding {
        subject: "self-test".to_owned(),
        why,
        remedy: "run as root on the node, in a container with `privileged: true` (CAP_SYS_ADMIN to make a mount \
                 namespace and mount in it)"
            .to_owned(),
    };
    let mut child = start().map_err(|error| fails(format!("cannot start the child: {error}")))?;
    let mut seen = HashSet::new();
    let ended = loop {
        let ended = child.try_wait().map_err(|error| fails(format!("cannot wait for the child: {error}")))?;
        // Looked through once more after its end: its namespace ends with it.
        rings.drain(|record| seen.extend(hook_of(record, child.id())));
        match ended {
            Some(status) => break status,
            None => sleep(LOOK),
        }
    };
    if ended.success() { Ok(seen) } else { Err(fails(said(&mut child))) }
}

fn start() -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg(SUBCOMMAND)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // What it could say before it ended is all there is.
        let _ = stderr.read_to_string(&mut text);
    }
    format!("the child failed: {}", text.trim())
}

/// The hook of a record that was written for this process.
fn hook_of(record: &[u8], pid: u32) -> Option<u32> {
    let (header, _) = Header::read_from_prefix(record).ok()?;
    (header.thread >> 32 == u64::from(pid)).then(|| header.hook.into())
}

fn verdicts(attached: &[Attached], seen: &HashSet<u32>) -> Vec<Verdict> {
    attached.iter().filter_map(|one| verdict(one, seen)).collect()
}

fn verdict(one: &Attached, seen: &HashSet<u32>) -> Option<Verdict> {
    let Proof::Record(action) = one.hook.proof else { return None };
    let witness = format!("{} {}", one.kind(), one.candidate.target);
    if seen.contains(&one.hook.number) {
        return Some(Ok(format!("self-test: a process that {action} is seen by {witness}")));
    }
    if one.hook.is_spared() {
        let target = one.candidate.target;
        return Some(Ok(format!("self-test: a process that {action} does not come by {target}: it is read then")));
    }
    Some(Err(Finding {
        subject: "self-test".to_owned(),
        why: format!("a process that {action} is not seen: {witness} is attached and never called for it"),
        remedy:
            "try the other way with --attach; report this with the output of `uname -a` and of `mount-tracer check`"
                .to_owned(),
    }))
}

/// What is not proven by a record of its own: the names of the functions, each once.
pub fn unproven(attached: &[Attached]) -> Vec<&'static str> {
    let silent = attached.iter().filter(|one| one.hook.proof == Proof::Attached);
    let mut named = HashSet::new();
    // A function has programs at its beginning and at its end.
    silent.map(|one| one.candidate.target).filter(|name| named.insert(*name)).collect()
}

/// The child: makes a namespace, leaves everything else alone, and makes each kind of change in it.
pub fn act() -> Result<(), ActError> {
    let base = own_namespace()?;
    let at = |name: &str| base.join(name);
    for name in ["shared", "peer", "slave", "from", "to", "new"] {
        check("make a directory", fs::create_dir(at(name)))?;
    }
    tmpfs(&at("shared"))?;
    check("make a mount shared", change(&at("shared"), MountPropagationFlags::SHARED))?;
    check("bind", mount_bind(at("shared"), at("peer")))?;
    check("bind", mount_bind(at("shared"), at("slave")))?;
    check("make a mount a slave", change(&at("slave"), MountPropagationFlags::DOWNSTREAM))?;
    check("make a directory", fs::create_dir(at("shared/below")))?;
    tmpfs(&at("slave/below"))?;
    tmpfs(&at("shared/below"))?;
    if unmount(at("shared"), UnmountFlags::empty()) != Err(Errno::BUSY) {
        return Err(ActError { what: "find a mount busy", source: io::Error::other("it was not") });
    }
    check("unmount", unmount(at("shared/below"), UnmountFlags::empty()))?;
    for last in ["shared", "peer"] {
        check("make a mount private", change(&at(last), MountPropagationFlags::PRIVATE))?;
    }
    tmpfs(&at("from"))?;
    check("move a mount", mount_move(at("from"), at("to")))?;
    check("remount", mount_remount(at("to"), MountFlags::RDONLY, c""))?;
    attributes(&at("to"))?;
    detached(&at("new"))
}

/// Attributes of a mount by its path, where the kernel has the calls.
fn attributes(target: &Path) -> Result<(), ActError> {
    let path = check("name a mount", CString::new(target.as_os_str().as_bytes()))?;
    for result in [
        setattr::mount_setattr(&path, MountAttrFlags::MOUNT_ATTR_NOSUID),
        setattr::open_tree_attr(&path, MountAttrFlags::MOUNT_ATTR_NODEV).map(drop),
    ] {
        match result {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {}
            other => check("set attributes of a mount", other)?,
        }
    }
    Ok(())
}

/// A namespace with one file system of our own in it. What the host has mounted must not be held here: all of it is let go
/// of.
fn own_namespace() -> Result<PathBuf, ActError> {
    // SAFETY: this process has one thread and shares nothing with another.
    check("make a mount namespace", unsafe { unshare_unsafe(UnshareFlags::NEWNS) })?;
    check(
        "make the mounts slaves",
        change(Path::new("/"), MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC),
    )?;
    let mounts = File::open("/proc/self/mounts");
    tmpfs(Path::new(BASE))?;
    check("make a mount private", change(Path::new(BASE), MountPropagationFlags::PRIVATE))?;
    check("enter a directory", chdir(BASE))?;
    if pivot_root(".", ".").is_ok() {
        check("let go of the host's mounts", unmount(".", UnmountFlags::DETACH))?;
        check("enter a directory", chdir("/"))?;
        return Ok(PathBuf::from("/"));
    }
    // The root of an initramfs cannot be left: what is mounted in it is let go of one by one.
    let mut text = String::new();
    check("read the mounts", mounts.and_then(|mut mounts| mounts.read_to_string(&mut text)))?;
    for path in text.lines().filter_map(|line| line.split(' ').nth(1)).filter(|path| !["/", BASE].contains(path)) {
        // One that is not there any more went with the one above it.
        let _ = unmount(path, UnmountFlags::DETACH);
    }
    Ok(PathBuf::from(BASE))
}

/// A new mount, its file system, and a copy, each by its descriptor.
fn detached(target: &Path) -> Result<(), ActError> {
    let context = check("open a file system", fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC))?;
    check("create a file system", fsconfig_create(&context))?;
    let new = check("mount detached", fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    check("attach a mount", move_mount(&new, "", CWD, target, flags))?;
    let picked = check("pick a file system", fspick(CWD, target, FsPickFlags::FSPICK_CLOEXEC))?;
    check("reconfigure a file system", fsconfig_reconfigure(picked))?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    check("copy a tree", open_tree(CWD, target, clone)).map(drop)
}

fn tmpfs(target: &Path) -> Result<(), ActError> {
    check("mount a tmpfs", mount("mount-tracer", target, "tmpfs", MountFlags::empty(), None))
}

fn change(target: &Path, flags: MountPropagationFlags) -> rustix::io::Result<()> {
    mount_change(target, flags)
}

fn check<T>(what: &'static str, result: Result<T, impl Into<io::Error>>) -> Result<T, ActError> {
    result.map_err(|source| ActError { what, source: source.into() })
}

#[cfg(test)]
mod tests {
    use tracer_common::hook;

    use super::*;
    use crate::probe::hooks::{HOOKS, Method};

    #[test]
    fn what_is_found_out_in_another_way_may_stay_unseen() {
        let verdict = |number: u32, seen: &[u32]| {
            let hook = &HOOKS[number as usize];
            let candidate = &hook.candidates[0];
            let attached = Attached { hook, candidate, method: Method::Fentry, second: false, instructions: None };
            verdict(&attached, &seen.iter().copied().collect()).unwrap()
        };
        let unseen = verdict(hook::SETATTR_TARGET, &[hook::CHANGE]).unwrap();
        assert!(unseen.contains("does not come by user_path_at"), "{unseen}");
        let seen = verdict(hook::SETATTR_TARGET, &[hook::SETATTR_TARGET]).unwrap();
        assert!(seen.contains("is seen by fexit user_path_at"), "{seen}");
        assert!(verdict(hook::CHANGE, &[hook::SETATTR_TARGET]).is_err());
    }
}
