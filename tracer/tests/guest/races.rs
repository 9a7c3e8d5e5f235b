//! Who acts while others change what it acts on, and numbers that the kernel uses again at once: each operation is shown with the path
//! that the kernel took, and with the process, namespace, mount and device that were meant.
//!
//! `GUEST_RACES` says how many races there are; a tenth as many are numbers that are used again.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::fs::{AtFlags, CWD, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::actor::Actor;
use super::ground::{self, Mounted};
use super::kernel;
use super::operation::Operation;
use super::oracle;
use super::program::Program;
use super::raw;
use super::trial::trial;

/// When the environment does not say it.
const RACES: usize = 3000;
/// What is shown of so many is compared at a time.
const AT_A_TIME: usize = 500;
/// `MS_BIND` of `linux/mount.h`.
const BIND: u64 = 4096;
/// Two names of as many bytes as one store writes.
const NAMES: [[u8; 8]; 2] = [*b"aaaaaaaa", *b"bbbbbbbb"];
/// The fewest process ids that a kernel can be told to have, `pid_max_min` and some.
const PIDS: &str = "400";
const PID_MAX: &str = "/proc/sys/kernel/pid_max";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("races::a_target_that_is_rewritten_under_the_call", || raced(Word::Target)),
        trial("races::a_source_that_is_rewritten_under_the_call", || raced(Word::Source)),
        trial("races::numbers_that_are_used_again", numbers_that_are_used_again),
    ]
}

fn races() -> Result<usize> {
    std::env::var("GUEST_RACES").map_or(Ok(RACES), |text| text.parse().with_context(|| format!("GUEST_RACES={text}")))
}

/// A path in memory, the last name of which another thread rewrites.
struct Rewritten {
    words: Vec<AtomicU64>,
    stop: AtomicBool,
}

impl Rewritten {
    /// Below `room`: more slashes bring the name to the beginning of a word.
    fn below(room: &Path) -> Self {
        let mut bytes = room.as_os_str().as_bytes().to_vec();
        bytes.push(b'/');
        bytes.resize(bytes.len().next_multiple_of(8), b'/');
        bytes.extend(NAMES[0]);
        bytes.extend([0; 8]);
        let (words, _) = bytes.as_chunks::<8>();
        let words = words.iter().map(|word| AtomicU64::new(u64::from_ne_bytes(*word))).collect();
        Self { words, stop: AtomicBool::new(false) }
    }

    fn address(&self) -> u64 {
        self.words.as_ptr() as u64
    }

    /// Goes from one name to the other until it is told to stop.
    fn rewrite(&self) {
        let name = &self.words[self.words.len() - 2];
        for turn in 0.. {
            name.store(u64::from_ne_bytes(NAMES[turn % 2]), Ordering::Relaxed);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Which of the two paths of a bind is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Source,
    Target,
}

/// A mount as the trial found it.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    path: String,
    id: u64,
    /// The name that the rewritten path had when the kernel looked.
    chosen: String,
}

impl Found {
    /// As an operation shows it.
    fn shown(bind: &Operation, word: Word) -> Self {
        let text = |at: &str| bind.at(at).as_str().unwrap_or_default().to_owned();
        let chosen = if word == Word::Source { "/effects/0/root" } else { "/effects/0/path" };
        let chosen = text(chosen).rsplit('/').next().unwrap_or_default().to_owned();
        Self { path: text("/effects/0/path"), id: bind.at("/effects/0/mount_id").as_u64().unwrap_or(0), chosen }
    }
}

/// Binds of which one path is rewritten all the time.
struct Race {
    word: Word,
    rewritten: Rewritten,
    other: CString,
    /// Where a bind may come to stand, and which directory it may show: the inode number, and the name by which it was chosen.
    targets: Vec<PathBuf>,
    shows: Vec<(u64, String)>,
}

impl Race {
    /// Below a tmpfs at `room`, and at `beside`.
    fn between(word: Word, room: &Path, beside: PathBuf) -> Result<Self> {
        let named = NAMES.map(|name| room.join(OsStr::from_bytes(&name)));
        named.iter().try_for_each(|directory| ground::make_directory(directory))?;
        let other = CString::new(beside.as_os_str().as_bytes())?;
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (targets, sources) =
            if word == Word::Target { (named.to_vec(), vec![beside]) } else { (vec![beside], named.to_vec()) };
        let inode = |path: &PathBuf| Ok((looked_at(path)?.stx_ino, name(path)));
        let shows = sources.iter().map(inode).collect::<Result<_>>()?;
        Ok(Self { word, rewritten: Rewritten::below(room), other, targets, shows })
    }

    /// What came of one bind, which is taken away again.
    fn run(&self) -> Result<Found> {
        let (other, rewritten) = (self.other.as_ptr() as u64, self.rewritten.address());
        let (source, target) = if self.word == Word::Target { (other, rewritten) } else { (rewritten, other) };
        // The kernel copies a source byte by byte, and may find half of each name, which names nothing: not a bind, and no race.
        while let Err(error) = raw::mount(source, target, 0, BIND, 0) {
            ensure!(self.word == Word::Source && error == Errno::NOENT, "a bind: {error}");
        }
        let found = self.found()?;
        ground::unmount(Path::new(&found.path), UnmountFlags::empty())?;
        Ok(found)
    }

    /// The bind that stands now, by the kernel's word.
    fn found(&self) -> Result<Found> {
        for target in &self.targets {
            let found = looked_at(target)?;
            if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
                let shown = self.shows.iter().find(|(inode, _)| *inode == found.stx_ino);
                let (_, shown) = shown.with_context(|| format!("{} shows something else", target.display()))?;
                let path = target.to_str().context("the trials' own paths are UTF-8")?.to_owned();
                let at = path.rsplit('/').next().unwrap_or_default();
                let chosen = if self.word == Word::Target { at } else { shown }.to_owned();
                return Ok(Found { path, id: found.stx_mnt_id, chosen });
            }
        }
        bail!("nothing is mounted at any of {:?}", self.targets)
    }

    /// How many there were, and in how many the caller's memory said another path afterwards.
    fn run_all(&self, trace: &mut Program) -> Result<(usize, usize)> {
        let (races, mut claimed_otherwise) = (races()?, 0);
        let claimed = if self.word == Word::Target { "/claimed/target" } else { "/claimed/source" };
        for begin in (0..races).step_by(AT_A_TIME) {
            let all: Vec<Found> = (begin..races.min(begin + AT_A_TIME)).map(|_| self.run()).collect::<Result<_>>()?;
            let shown = trace.drain()?;
            let made = |bind: &&Operation| bind.op() == "bind" && *bind.at("/result/errno") == 0;
            let binds: Vec<&Operation> = shown.iter().filter(made).collect();
            ensure!(binds.len() == all.len(), "{} binds were made, {} shown", all.len(), binds.len());
            for (bind, found) in binds.into_iter().zip(all) {
                bind.expect_success("bind", 1)?;
                let shown = Found::shown(bind, self.word);
                ensure!(shown == found, "shown is {shown:?}, but the kernel has {found:?}");
                let claimed = bind.at(claimed).as_str().unwrap_or_default();
                claimed_otherwise += usize::from(!claimed.ends_with(&found.chosen));
            }
        }
        Ok((races, claimed_otherwise))
    }
}

fn looked_at(path: &Path) -> Result<Statx> {
    rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID | StatxFlags::INO)
        .with_context(|| format!("statx of {}", path.display()))
}

fn raced(word: Word) -> Result<()> {
    let (room, beside) = (ground::directory("race")?, ground::directory("beside")?);
    let mounted = Mounted::tmpfs(&room)?;
    let race = Race::between(word, &room, beside)?;
    let mut trace = Program::trace(&[])?;
    let outcome = thread::scope(|scope| {
        scope.spawn(|| race.rewritten.rewrite());
        let outcome = race.run_all(&mut trace);
        race.rewritten.stop.store(true, Ordering::Relaxed);
        outcome
    });
    let finished = trace.terminate()?;
    mounted.unmount()?;
    let (raced, claimed_otherwise) = outcome?;
    eprintln!(
        "{raced} binds while their {word:?} was rewritten; in {claimed_otherwise} the caller's memory had become another path"
    );
    ensure!(claimed_otherwise > 0, "nothing was rewritten while the kernel mounted: this trial shows nothing");
    ensure!(finished.stat("records_lost")? == 0, "{:?}", finished.errors);
    Ok(())
}

/// `kernel.pid_max`, as long as this lives.
struct FewPids(String);

impl FewPids {
    fn set() -> Result<Self> {
        let before = kernel::read(PID_MAX)?;
        ground::write_file(Path::new(PID_MAX), PIDS)?;
        Ok(Self(before))
    }
}

impl Drop for FewPids {
    fn drop(&mut self) {
        let _ = ground::write_file(Path::new(PID_MAX), &self.0);
    }
}

/// What one process was and did, by its own word and the kernel's files.
#[derive(Debug, PartialEq, Eq)]
struct Deed {
    pid: u64,
    comm: String,
    mntns: u64,
    mount: u64,
    dev: String,
    source: String,
}

impl Deed {
    /// A process of this name makes a namespace, mounts a file system of its own name in it, and ends.
    fn done(name: &str, target: &Path) -> Result<Self> {
        let mut actor = Actor::private()?;
        actor.must(&["name", name])?;
        actor.must(&["mount", name, target.to_str().context("the trials' own paths are UTF-8")?, "tmpfs"])?;
        let mount = oracle::mount_at(actor.pid(), target)?.context("the actor mounted nothing")?;
        let (pid, mntns) = (actor.pid().into(), actor.namespace()?);
        Ok(Self { pid, comm: name.to_owned(), mntns, mount: mount.id, dev: mount.dev, source: name.to_owned() })
    }

    /// As an operation shows it.
    fn shown(operation: &Operation) -> Self {
        let number = |at: &str| operation.at(at).as_u64().unwrap_or(0);
        let text = |at: &str| operation.at(at).as_str().unwrap_or_default().to_owned();
        Self {
            pid: number("/actor/pid"),
            comm: text("/actor/comm"),
            mntns: number("/effects/0/mntns"),
            mount: number("/effects/0/mount_id"),
            dev: text("/effects/0/dev"),
            source: text("/effects/0/source"),
        }
    }
}

fn numbers_that_are_used_again() -> Result<()> {
    let target = ground::directory("again")?;
    let _few = FewPids::set()?;
    let mut trace = Program::trace(&[])?;
    let (mut deeds, mut namespaces) = (Vec::new(), BTreeSet::new());
    let times = races()?.div_ceil(10);
    for begin in (0..times).step_by(AT_A_TIME) {
        let names = (begin..times.min(begin + AT_A_TIME)).map(|number| format!("again-{number}"));
        let done: Vec<Deed> = names.map(|name| Deed::done(&name, &target)).collect::<Result<_>>()?;
        let operations = trace.drain()?;
        let mounts = operations.iter().filter(|operation| operation.op() == "mount");
        let shown: Vec<Deed> = mounts.clone().map(Deed::shown).collect();
        ensure!(shown.len() == done.len(), "{} mounts were made, {} shown", done.len(), shown.len());
        let wrong = shown.iter().zip(&done).find(|(shown, done)| shown != done);
        ensure!(wrong.is_none(), "shown and done differ: {wrong:?}");
        for operation in mounts {
            let id = operation.at("/effects/0/mntns_id").as_str().context("no mntns_id")?.to_owned();
            ensure!(*operation.at("/actor/mntns_id") == *id, "the actor is in another namespace: {operation:?}");
            namespaces.insert(id);
        }
        deeds.extend(done);
    }
    let finished = trace.terminate()?;
    ensure!(finished.stat("records_lost")? == 0, "{:?}", finished.errors);
    ensure!(namespaces.len() == times, "{times} namespaces have {} ids", namespaces.len());
    let different = |of: fn(&Deed) -> String| deeds.iter().map(of).collect::<BTreeSet<String>>().len();
    let numbers = [
        ("process ids", different(|deed| deed.pid.to_string())),
        ("namespace inodes", different(|deed| deed.mntns.to_string())),
        ("mount ids", different(|deed| deed.mount.to_string())),
        ("devices", different(|deed| deed.dev.clone())),
    ];
    eprintln!("{times} processes, namespaces, mounts and devices had so many numbers: {numbers:?}");
    for (what, count) in numbers {
        ensure!(count < times, "{times} {what} were {count} different ones: none was used again");
    }
    Ok(())
}
