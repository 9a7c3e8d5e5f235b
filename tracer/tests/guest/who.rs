//! `mount-tracer who`: whatever it says to stand in the way of an unmount, umount(2) is asked too; and open(2) of a device.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::Value;

use super::actor::Actor;
use super::disk::Disk;
use super::ground::{self, Mounted};
use super::oracle;
use super::program::command;
use super::trial::trial;

/// Combinations of holders that are tried.
const ROUNDS: usize = 40;
/// Holders of one of them at most.
const MOST: usize = 3;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("who::each_holder_is_named", each_holder_is_named),
        trial("who::says_what_umount_says", says_what_umount_says),
        trial("who::an_image_in_use_is_a_loop_devices", an_image_in_use_is_a_loop_devices),
        trial("who::a_device_is_busy_while_somebody_has_it", a_device_is_busy_while_somebody_has_it),
        trial("who::a_lazy_unmount_leaves_its_user", a_lazy_unmount_leaves_its_user),
        trial("who::wrong_words_are_answered", wrong_words_are_answered),
    ]
}

fn run(arguments: &[&str]) -> Result<Output> {
    command(&[&["who"], arguments].concat()).output().context("cannot run mount-tracer who")
}

fn ask(arguments: &[&str]) -> Result<Vec<Value>> {
    let output = run(&[&["-o", "json"], arguments].concat())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "who {arguments:?} ended with {}: {said}", output.status);
    let text = String::from_utf8(output.stdout).context("JSON that is not UTF-8")?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the trials' own paths are UTF-8")
}

/// A mount on a shared one, and who sees it: here, in a peer's namespace, in a slave's, and in one that shares nothing.
struct Stage {
    top: Mounted,
    volume: PathBuf,
    peer: Actor,
    slave: Actor,
    private: Actor,
}

impl Stage {
    fn set() -> Result<Self> {
        let top = ground::directory("who")?;
        let stage = Mounted::tmpfs(&top)?;
        ground::change(&top, MountPropagationFlags::SHARED)?;
        let (peer, mut slave) = (Actor::unshared()?, Actor::unshared()?);
        slave.must(&["slave", text(&top)?])?;
        let volume = top.join("volume");
        ground::make_directory(&volume)?;
        ground::mount_tmpfs(&volume)?;
        for name in ["sub", "root"] {
            ground::make_directory(&volume.join(name))?;
        }
        fs::copy("/bin/busybox", volume.join("sleep")).context("the guest's tools are one program")?;
        Ok(Self { top: stage, volume, peer, slave, private: Actor::private()? })
    }

    fn clear(self) -> Result<()> {
        drop((self.peer, self.slave, self.private));
        ground::unmount(&self.volume, UnmountFlags::DETACH)?;
        self.top.unmount_with(UnmountFlags::DETACH)
    }

    fn unmount(&self) -> Result<(), Errno> {
        rustix::mount::unmount(&self.volume, UnmountFlags::empty())
    }
}

/// What may hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Cwd,
    Root,
    Open,
    Write,
    Map,
    Exe,
    Below,
    CwdOfPeer,
    OpenOfSlave,
    BelowOfSlave,
    MapOfPrivate,
}

const KINDS: [Kind; 11] = [
    Kind::Cwd,
    Kind::Root,
    Kind::Open,
    Kind::Write,
    Kind::Map,
    Kind::Exe,
    Kind::Below,
    Kind::CwdOfPeer,
    Kind::OpenOfSlave,
    Kind::BelowOfSlave,
    Kind::MapOfPrivate,
];

/// What goes away when it is dropped.
enum Held {
    Actor(Actor),
    Child(std::process::Child),
    /// It stays with the stage.
    Stage,
}

impl Held {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Actor(actor) => Some(actor.pid()),
            Self::Child(child) => Some(child.id()),
            Self::Stage => None,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Child(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Kind {
    fn hold(self, stage: &mut Stage) -> Result<Held> {
        let volume = text(&stage.volume)?.to_owned();
        let file = format!("{volume}/file-{self:?}");
        let new = |words: &[&str]| -> Result<Held> {
            let mut actor = Actor::start()?;
            actor.must(words)?;
            Ok(Held::Actor(actor))
        };
        match self {
            Self::Cwd => new(&["chdir", &volume]),
            // Its working directory stays outside.
            Self::Root => new(&["chroot", &format!("{volume}/root")]),
            Self::Open => new(&["open", &volume]),
            Self::Write => new(&["write", &file]),
            Self::Map => new(&["map", &file]),
            Self::Exe => {
                let child = Command::new(format!("{volume}/sleep")).arg("600").spawn().context("cannot run it")?;
                Ok(Held::Child(child))
            }
            Self::Below => {
                ground::mount_tmpfs(&stage.volume.join("sub"))?;
                Ok(Held::Stage)
            }
            Self::CwdOfPeer => stage.peer.must(&["chdir", &volume]).map(|()| Held::Stage),
            Self::OpenOfSlave => stage.slave.must(&["open", &volume]).map(|()| Held::Stage),
            Self::BelowOfSlave => stage.slave.must(&["tmpfs", &format!("{volume}/root")]).map(|()| Held::Stage),
            Self::MapOfPrivate => stage.private.must(&["map", &file]).map(|()| Held::Stage),
        }
    }

    /// What has to be said of it, alone: what it blocks, who it is, why it counts, what it does.
    fn expected(self) -> [&'static str; 4] {
        match self {
            Self::Cwd => ["unmount", "process", "keeps", "cwd"],
            Self::Root => ["unmount", "process", "keeps", "root"],
            Self::Open => ["unmount", "process", "keeps", "open"],
            Self::Write => ["unmount", "process", "keeps", "writing"],
            Self::Map => ["unmount", "process", "keeps", "mapped"],
            Self::Exe => ["unmount", "process", "keeps", "exe"],
            Self::Below => ["unmount", "mount", "below", ""],
            Self::CwdOfPeer => ["unmount", "process", "keeps_copy", "cwd"],
            Self::OpenOfSlave => ["unmount", "process", "keeps_copy", "open"],
            Self::BelowOfSlave => ["device", "mount", "copy_stays", ""],
            Self::MapOfPrivate => ["device", "process", "keeps_elsewhere", "mapped"],
        }
    }

    /// Who does it.
    fn pid(self, held: &Held, stage: &Stage) -> Option<u32> {
        match self {
            Self::CwdOfPeer => Some(stage.peer.pid()),
            Self::OpenOfSlave => Some(stage.slave.pid()),
            Self::MapOfPrivate => Some(stage.private.pid()),
            _ => held.pid(),
        }
    }
}

fn is_said(holder: &Value, [blocks, what, why, how]: [&str; 4], pid: Option<u32>) -> bool {
    let does = holder["does"].as_array().is_some_and(|does| does.iter().any(|one| one["how"] == how));
    let its = what != "process" || pid.is_some_and(|pid| holder["process"]["pid"] == pid);
    holder["blocks"] == blocks && holder["what"] == what && holder["why"] == why && (how.is_empty() || does) && its
}

/// Each alone; and when it has gone, nobody is named any more and the mount goes.
fn each_holder_is_named() -> Result<()> {
    for kind in KINDS {
        let mut stage = Stage::set()?;
        let held = kind.hold(&mut stage)?;
        let said = ask(&[text(&stage.volume)?])?;
        let pid = kind.pid(&held, &stage);
        let expected = kind.expected();
        ensure!(said.iter().any(|one| is_said(one, expected, pid)), "{kind:?} is not said: {said:#?}");
        let blocking: Vec<&Value> = said.iter().filter(|one| one["blocks"] == "unmount").collect();
        ensure!(blocking.len() == usize::from(expected[0] == "unmount"), "of {kind:?} alone: {blocking:#?}");
        ensure!(said.first().is_some_and(|one| one["blocks"] == expected[0]), "{kind:?}: what to do first: {said:#?}");
        let busy = expected[0] == "unmount";
        ensure!(stage.unmount() == if busy { Err(Errno::BUSY) } else { Ok(()) }, "{kind:?}: umount says otherwise");
        if busy {
            drop(held);
            release(kind, &mut stage)?;
            let said = ask(&[text(&stage.volume)?])?;
            ensure!(!said.iter().any(|one| one["blocks"] == "unmount"), "{kind:?} has gone: {said:#?}");
            stage.unmount().with_context(|| format!("{kind:?} has gone"))?;
        }
        ground::mount_tmpfs(&stage.volume)?;
        stage.clear()?;
    }
    Ok(())
}

fn release(kind: Kind, stage: &mut Stage) -> Result<()> {
    match kind {
        Kind::Below => ground::unmount(&stage.volume.join("sub"), UnmountFlags::empty()),
        Kind::CwdOfPeer => stage.peer.must(&["chdir", "/"]),
        // What an actor has open, it has until it ends.
        Kind::OpenOfSlave => {
            stage.slave = Actor::private()?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn random() -> Result<usize> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(usize::from_ne_bytes(bytes))
}

/// Several at once: the kernel says the same, and of the copies those go that were said to.
fn says_what_umount_says() -> Result<()> {
    let (mut busy, mut free) = (0, 0);
    for round in 0..ROUNDS {
        let mut stage = Stage::set()?;
        let mut kinds = BTreeSet::new();
        for _ in 0..random()? % (MOST + 1) {
            kinds.insert(KINDS[random()? % KINDS.len()]);
        }
        // A copy that somebody uses does not stand in the way when it stays.
        let held: Vec<Held> = kinds.iter().map(|kind| kind.hold(&mut stage)).collect::<Result<_>>()?;
        let said = ask(&[text(&stage.volume)?])?;
        let predicted = said.iter().any(|one| one["blocks"] == "unmount");
        match (stage.unmount(), predicted) {
            (Err(Errno::BUSY), true) => busy += 1,
            (Ok(()), false) => {
                free += 1;
                expect_copies(&said, &stage).with_context(|| format!("round {round}, {kinds:?}"))?;
                ground::mount_tmpfs(&stage.volume)?;
            }
            (kernel, _) => bail!("round {round}, {kinds:?}: umount says {kernel:?}, who {said:#?}"),
        }
        drop(held);
        stage.clear()?;
    }
    ensure!(busy > 0 && free > 0, "{busy} times busy, {free} times free: one of both was not tried");
    println!("who: rounds={ROUNDS} busy={busy} free={free} wrong=0");
    Ok(())
}

fn expect_copies(said: &[Value], stage: &Stage) -> Result<()> {
    for actor in [&stage.peer, &stage.slave, &stage.private] {
        let namespace = actor.namespace()?;
        let of_mount = said.iter().find(|one| one["what"] == "mount" && one["mntns"] == namespace);
        let why = of_mount.with_context(|| format!("the copy in {namespace} is not said: {said:#?}"))?["why"].clone();
        let is_there = oracle::mount_at(actor.pid(), &stage.volume)?.is_some();
        let expected = why != "goes_along";
        ensure!(is_there == expected, "the copy in {namespace} was said to be {why}, and is there: {is_there}");
    }
    Ok(())
}

/// `losetup`, and what it answers.
fn losetup(arguments: &[&str]) -> Result<String> {
    let output = Command::new("losetup").args(arguments).output().context("cannot run losetup")?;
    ensure!(output.status.success(), "losetup {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn an_image_in_use_is_a_loop_devices() -> Result<()> {
    let stage = Stage::set()?;
    let image = stage.volume.join("an image");
    fs::File::create(&image)?.set_len(1 << 20).context("cannot make an image")?;
    let device = losetup(&["-f"])?;
    losetup(&[&device, text(&image)?])?;
    let said = ask(&[text(&stage.volume)?]);
    let kernel = stage.unmount();
    losetup(&["-d", &device])?;
    let said = said?;
    let first = said.first().context("somebody holds it")?;
    ensure!(is_said(first, ["unmount", "loop", "uses", ""], None), "the loop device is not said: {said:#?}");
    ensure!(first["do"] == format!("losetup -d {device}").as_str(), "what to do: {}", first["do"]);
    ensure!(kernel == Err(Errno::BUSY), "umount says {kernel:?}");
    ensure!(!ask(&[text(&stage.volume)?])?.iter().any(|one| one["blocks"] == "unmount"), "it was let go of");
    stage.clear()
}

/// Whether the kernel lets somebody have it alone: not while a file system is mounted from it.
fn is_free(device: &Path) -> Result<bool> {
    match rustix::fs::open(device, OFlags::RDONLY | OFlags::EXCL, 0.into()) {
        Ok(_) => Ok(true),
        Err(Errno::BUSY) => Ok(false),
        Err(errno) => bail!("cannot open {}: {errno}", device.display()),
    }
}

fn a_device_is_busy_while_somebody_has_it() -> Result<()> {
    let disk = Disk::get()?;
    let device = text(&disk.whole)?.to_owned();
    ensure!(ask(&[&device])?.is_empty() && is_free(&disk.whole)?, "nobody has the disk");
    let (here, number) = (ground::directory("who-disk")?, disk.number()?);
    let mounted = disk.mount(&here)?;
    // Its own namespace keeps the file system when this one's mount is gone.
    let mut actor = Actor::private()?;
    actor.must(&["open", &device])?;
    for asked in [vec![device.as_str()], vec!["--device", &number], vec!["--device", &device]] {
        let said = ask(&asked)?;
        let kinds: Vec<&Value> = said.iter().map(|one| &one["why"]).collect();
        ensure!(kinds == ["keeps_device", "same_file_system", "same_file_system"], "{asked:?}: {said:#?}");
        ensure!(said.iter().all(|one| one["blocks"] == "device"), "{said:#?}");
    }
    mounted.unmount()?;
    let said = ask(&[&device])?;
    let last = said.last().context("the other namespace has it")?;
    ensure!(last["mntns"] == actor.namespace()? && last["what"] == "mount", "{said:#?}");
    ensure!(!is_free(&disk.whole)?, "the kernel has let go of it already");
    drop(actor);
    ensure!(ask(&[&device])?.is_empty() && is_free(&disk.whole)?, "nobody has the disk any more");
    Ok(())
}

fn a_lazy_unmount_leaves_its_user() -> Result<()> {
    let disk = Disk::get()?;
    let here = ground::directory("who-lazy")?;
    let mounted = disk.mount(&here)?;
    let mut actor = Actor::start()?;
    actor.must(&["chdir", text(&here)?])?;
    mounted.unmount_with(UnmountFlags::DETACH)?;
    let said = ask(&[text(&disk.whole)?])?;
    let [only] = &said[..] else { bail!("one has it: {said:#?}") };
    ensure!(is_said(only, ["device", "process", "keeps_detached", "cwd"], Some(actor.pid())), "{said:#?}");
    ensure!(!is_free(&disk.whole)?, "the kernel has let go of it already");
    drop(actor);
    ensure!(ask(&[text(&disk.whole)?])?.is_empty(), "nobody has it any more");
    Ok(())
}

fn wrong_words_are_answered() -> Result<()> {
    let near = ground::directory("who-near")?;
    let missing = format!("{}x", text(&near)?);
    for (arguments, status, remedy) in [
        (vec![missing.as_str()], 1, text(&near)?),
        (vec!["--mount", "4000000"], 1, "mount-tracer list --all"),
        (vec!["--device", "4000:1"], 1, "lsblk"),
        (vec!["--device", text(&near)?], 1, "leave out --device"),
        (vec!["volume"], 2, "--mount ID"),
        (vec![], 2, "--help"),
    ] {
        let output = run(&arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(status), "{arguments:?} ended with {}: {said}", output.status);
        ensure!(said.contains(remedy), "{arguments:?}: {said}");
    }
    Ok(())
}
