//! Secrets in what a mount is given: options as mount(2) data and by fsconfig, the user part and the query of a source.
//! None of them is printed anywhere. Each run has a word to be found besides, to show that the same search finds one.

use std::ffi::CString;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags};

use super::asking::{Client, METRICS, Reply, TABLES};
use super::detached::attach;
use super::ground::{self, Mounted};
use super::node::{Agent, Driver, Limits, Pod};
use super::screen::{self, Screen};
use super::trial::trial;

/// In every secret, and nowhere else. Letters alone: no escape can hide it.
const SECRET: &str = "hushhush";
/// In the name of the trial's directory, which is printed with every operation.
const CANARY: &str = "canarysings";
/// What the standard error always has.
const SAID: &str = "stats:";
/// Where the rest of a source begins that is no secret: it has to stay.
const HOST: &str = "storage-host";

const LIMITS: Limits = Limits { rbps: Some(4 << 20), wbps: None, riops: None, wiops: None };

/// What is done with secrets, each in a directory of its own.
const DEEDS: [fn(&Path) -> Result<()>; 4] = [give_data, give_fsconfig, give_sources, give_sources_that_fail];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("secrets::are_not_in_json", || nowhere("json", &[HOST, "ramfs", "tmpfs"])),
        // Only JSON has room for the source.
        trial("secrets::are_not_in_the_table", || nowhere("table", &[])),
        trial("secrets::are_not_in_the_wide_table", || nowhere("wide", &[])),
        trial("secrets::are_in_nothing_that_an_agent_says", an_agent_says_none),
    ]
}

/// Sources with a secret in them, as network file systems are given.
fn sources() -> Vec<String> {
    vec![
        format!("https://user:{SECRET}@{HOST}/share"),
        format!("//user:{SECRET}@{HOST}/share"),
        format!("https://{SECRET}@{HOST}/share"),
        format!("https://{HOST}/share?sig={SECRET}&se=2030"),
        format!("//{HOST}/share?token={SECRET}"),
        format!("https://{HOST}/share#{SECRET}"),
        format!("{HOST}:/share?token={SECRET}"),
        format!("user:{SECRET}@{HOST}:/share"),
        // Longer than what is copied of a source: its `@` is not.
        format!("https://user:{}@{HOST}/share", SECRET.repeat(40)),
        format!("s3://key:{SECRET}/with/slashes@{HOST}/bucket?x={SECRET}"),
    ]
}

/// What a file system may be asked to do with a password: take it (ramfs takes every option), or refuse it.
fn data() -> Vec<(&'static str, String)> {
    ["ramfs", "tmpfs"]
        .into_iter()
        .flat_map(|fstype| {
            ["password", "pass", "secret", "token"].map(|key| (fstype, format!("{key}={SECRET},user={SECRET}")))
        })
        .collect()
}

fn mount(source: &str, target: &Path, fstype: &str, data: &str) -> Result<(), Errno> {
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(source, target, fstype, MountFlags::empty(), data.as_c_str())
}

/// Does all of it under one tracer, and searches all that was printed.
fn nowhere(form: &str, found_too: &[&str]) -> Result<()> {
    let targets: Vec<PathBuf> = DEEDS.iter().map(|_| ground::directory(CANARY)).collect::<Result<_>>()?;
    let act = || DEEDS.iter().zip(&targets).try_for_each(|(deed, target)| deed(target));
    let shown = screen::during(form, act)?;
    let canaries = targets.iter().filter_map(|target| target.file_name()?.to_str());
    for word in canaries.chain([SAID]).chain(found_too.iter().copied()) {
        ensure!(has(&shown, word), "{word} is no secret, and the search does not find it in -o {form}: {shown:?}");
    }
    ensure!(!has(&shown, SECRET), "a secret was printed by -o {form}: {:?}", lines_with(&shown, SECRET));
    Ok(())
}

/// In what it prints, answers and counts, while pods' volumes are mounted from such sources.
fn an_agent_says_none() -> Result<()> {
    let pod = Pod::running(Driver::Systemd)?;
    let volume = pod.volume(&format!("pvc-{CANARY}"))?;
    let agent = Agent::start("enforce", &[LIMITS.rule(&volume.name)])?;
    DEEDS.iter().try_for_each(|deed| deed(&volume.path))?;
    let (tables, end) = Client::connect()?.ask(TABLES)?;
    let scraped = Reply::scrape(METRICS)?.body;
    let finished = agent.program.terminate()?;
    let said = [finished.lines.join("\n"), finished.errors.join("\n"), format!("{tables:?} {end}"), scraped];
    // Each has a word to be found besides.
    for (said, word) in said.iter().zip([CANARY, SAID, "exact", "mount_tracer_"]) {
        ensure!(said.contains(word), "{word} is no secret, and the search does not find it in {said}");
        ensure!(!said.contains(SECRET), "an agent said a secret: {said}");
    }
    Ok(())
}

fn has(shown: &Screen, word: &str) -> bool {
    !lines_with(shown, word).is_empty()
}

fn lines_with(shown: &Screen, word: &str) -> Vec<String> {
    let lines = shown.lines.iter().map(|line| String::from_utf8_lossy(line).into_owned());
    lines.chain(shown.errors.iter().cloned()).filter(|line| line.contains(word)).collect()
}

fn give_data(target: &Path) -> Result<()> {
    let mut taken = 0;
    for (fstype, data) in data() {
        match mount("the-source", target, fstype, &data) {
            Ok(()) => {
                let mounted = Mounted::adopt(target);
                taken += 1;
                // A remount is given data too.
                rustix::mount::mount_remount(target, MountFlags::empty(), data.as_str()).context("remount")?;
                mounted.unmount()?;
            }
            Err(Errno::INVAL) => {}
            Err(other) => return Err(other).with_context(|| format!("mount of {fstype}")),
        }
    }
    ensure!(taken > 0 && taken < data().len(), "{taken} of {} were taken: both ways are wanted", data().len());
    Ok(())
}

fn give_fsconfig(target: &Path) -> Result<()> {
    // fsconfig(2) takes strings of at most 255 bytes.
    for source in sources().into_iter().filter(|source| source.len() < 256) {
        let context = rustix::mount::fsopen("ramfs", FsOpenFlags::FSOPEN_CLOEXEC).context("fsopen")?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "source", source.as_str()).context("the source")?;
        // Refused or taken, by kernel: either will do.
        let _ = rustix::mount::fsconfig_set_string(context.as_fd(), "password", SECRET);
        let _ = rustix::mount::fsconfig_set_binary(context.as_fd(), "password", SECRET.as_bytes());
        let keyfile = rustix::fs::memfd_create(SECRET, MemfdFlags::CLOEXEC).context("memfd_create")?;
        let _ = rustix::mount::fsconfig_set_fd(context.as_fd(), "password", &keyfile);
        let refused = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).context("fsopen")?;
        let answer = rustix::mount::fsconfig_set_string(refused.as_fd(), "password", SECRET);
        ensure!(answer == Err(Errno::INVAL), "tmpfs took a password: {answer:?}");
        rustix::mount::fsconfig_create(context.as_fd()).context("fsconfig that makes the superblock")?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        let mount = rustix::mount::fsmount(context.as_fd(), flags, MountAttrFlags::empty()).context("fsmount")?;
        // Lazily: the descriptor is still open.
        attach(&mount, target)?.unmount_with(UnmountFlags::DETACH)?;
    }
    Ok(())
}

/// Each as the source of a mount, and of what is done to that mount afterwards.
fn give_sources(target: &Path) -> Result<()> {
    let copy = ground::directory(CANARY)?;
    for source in sources() {
        mount(&source, target, "ramfs", "").context("mount of a ramfs")?;
        let mounted = Mounted::adopt(target);
        Mounted::bind(target, &copy)?.unmount()?;
        ground::change(target, MountPropagationFlags::SHARED)?;
        rustix::mount::mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, "").context("remount")?;
        mounted.unmount()?;
    }
    Ok(())
}

fn give_sources_that_fail(target: &Path) -> Result<()> {
    let missing: PathBuf = target.join("not-there");
    for source in sources() {
        for (target, fstype) in [(missing.as_path(), "ramfs"), (target, "no-such-type")] {
            let answer = mount(&source, target, fstype, &format!("password={SECRET}"));
            ensure!(answer.is_err(), "a mount of {fstype} at {} succeeded", target.display());
        }
        ensure!(rustix::mount::mount_bind(source.as_str(), target).is_err(), "a bind of {source} succeeded");
        ensure!(rustix::mount::mount_move(source.as_str(), target).is_err(), "a move of {source} succeeded");
    }
    // The canary, however little of a failed call is printed.
    ground::mount_tmpfs(target)?;
    ground::unmount(target, UnmountFlags::empty())
}
