//! Births and deaths of disks, as a running agent tells them: its answer compared with what the kernel has, and with what was done.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::super::asking::Client;
use super::super::node::Agent;
use super::super::{kernel, raw};
use super::devices::{Loop, attach, detach, diskseq, open};

const DISKS: &str = r#"{"version":1,"query":"disks"}"#;
/// `LOOP_CTL_ADD` and `LOOP_CTL_REMOVE` of `linux/loop.h`.
const ADD: u64 = 0x4c80;
const REMOVE: u64 = 0x4c81;
/// A loop device that nobody else has, and the first of some.
const NUMBER: u64 = 100;
const LANES: u64 = 8;
/// Births and deaths of them together.
const TIMES: u64 = 1000;
/// More events than there is room for while nobody reads.
const FLOOD: u64 = 6000;

/// What the agent answers.
struct Told {
    /// Number, name, and what makes it another disk.
    disks: BTreeSet<(String, String, String)>,
    born: u64,
    gone: u64,
    lists: u64,
}

fn ask(client: &mut Client) -> Result<Told> {
    let (lines, _) = client.ask(DISKS)?;
    ensure!(lines.len() == 1, "one line of disks: {lines:?}");
    let line = &lines[0];
    let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("no text in {line}"));
    let count = |key: &str| -> Result<u64> { Ok(text(&line[key])?.parse()?) };
    let mut disks = BTreeSet::new();
    for disk in line["disks"].as_array().context("no disks")? {
        let birth = if disk["diskseq"].is_null() { &disk["nth"] } else { &disk["diskseq"] };
        disks.insert((text(&disk["dev"])?, text(&disk["name"])?, text(birth)?));
    }
    Ok(Told { disks, born: count("born")?, gone: count("gone")?, lists: count("lists")? })
}

/// Number and name of each whole disk, as the kernel lists them.
fn kernels() -> Result<BTreeSet<(String, String)>> {
    let mut disks = BTreeSet::new();
    for entry in fs::read_dir("/sys/block")? {
        let directory = entry?.path();
        let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default().trim_end().to_owned();
        if read("hidden") != "1" {
            let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            disks.insert((read("dev"), name));
        }
    }
    Ok(disks)
}

fn expect_the_kernels(told: &Told) -> Result<()> {
    let disks: BTreeSet<(String, String)> =
        told.disks.iter().map(|(dev, name, _)| (dev.clone(), name.clone())).collect();
    let there = kernels()?;
    ensure!(disks == there, "the agent has {disks:?}, the kernel {there:?}");
    ensure!(told.born - told.gone == told.disks.len() as u64, "{} born, {} gone", told.born, told.gone);
    Ok(())
}

/// One number, and a disk for each file that it was given.
pub(super) fn a_loop_device_that_is_used_again() -> Result<()> {
    let agent = Agent::start("observe", &[])?;
    let mut client = Client::connect()?;
    let disk = Loop::new(16)?;
    let file = Loop::file(16)?;
    let name = disk.0.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let has_diskseq = diskseq(&disk.0)?.is_some();
    ensure!(has_diskseq == kernel::is_at_least(5, 15)?, "a diskseq on this kernel: {has_diskseq}");
    for _ in 0..3 {
        let told = ask(&mut client)?;
        expect_the_kernels(&told)?;
        let birth = told.disks.into_iter().find(|(_, other, _)| *other == name).context("the disk is not told")?.2;
        if let Some(diskseq) = diskseq(&disk.0)? {
            ensure!(birth == diskseq.to_string(), "its diskseq is {diskseq}, and {birth} is told");
        }
        seen.insert(birth);
        detach(&disk.0)?;
        attach(&open(&disk.0)?, &file)?;
    }
    // Without a diskseq nobody can tell a device with another file from the one before: it stays one disk.
    ensure!(seen.len() == if has_diskseq { 3 } else { 1 }, "{seen:?}");
    agent.stop()
}

/// Each is told as a disk of its own, and nothing is left.
pub(super) fn a_thousand_births_and_deaths() -> Result<()> {
    let agent = Agent::start("observe", &[])?;
    let before = ask(&mut Client::connect()?)?;
    expect_the_kernels(&before)?;
    let control = File::open("/dev/loop-control").context("cannot open /dev/loop-control")?;
    // The kernel waits at each; side by side it does not take as long.
    let make = &|number: u64| {
        (0..TIMES / LANES).try_for_each(|_| add(&control, number).and_then(|()| remove(&control, number)))
    };
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|lane| scope.spawn(move || make(NUMBER + lane))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| Err(anyhow!("a lane panicked")))).collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    // The agent hangs up on who is silent for a minute.
    let after = ask(&mut Client::connect()?)?;
    expect_the_kernels(&after)?;
    ensure!(after.disks == before.disks, "left behind: {:?}", after.disks.difference(&before.disks));
    ensure!(after.lists == before.lists, "events were lost: {} lists", after.lists);
    let counted = (after.born - before.born, after.gone - before.gone);
    ensure!(counted == (TIMES, TIMES), "{counted:?} for {TIMES}");
    eprintln!(
        "births: made={TIMES} born={} gone={} left={}",
        counted.0,
        counted.1,
        after.disks.len() - before.disks.len()
    );
    agent.stop()
}

/// The agent stands still while more happens than the socket holds: it notices, and lists what is there.
pub(super) fn events_that_had_no_room() -> Result<()> {
    let agent = Agent::start("observe", &[])?;
    let mut client = Client::connect()?;
    let before = ask(&mut client)?;
    kill_process(agent.program.pid(), Signal::STOP).context("cannot stop the agent")?;
    let control = File::open("/dev/loop-control").context("cannot open /dev/loop-control")?;
    let flooded = flood();
    add(&control, NUMBER)?;
    kill_process(agent.program.pid(), Signal::CONT).context("cannot let the agent go on")?;
    flooded?;
    let after = ask(&mut client)?;
    expect_the_kernels(&after)?;
    ensure!(after.lists > before.lists, "no loss was noticed after {FLOOD} events");
    remove(&control, NUMBER)?;
    let last = ask(&mut client)?;
    expect_the_kernels(&last)?;
    ensure!(last.lists == after.lists, "one loss is one list");
    agent.stop()
}

/// Events that mean nothing: the kernel is asked to say again that a disk is there.
fn flood() -> Result<()> {
    let trigger = PathBuf::from("/sys/block/loop0/uevent");
    (0..FLOOD).try_for_each(|_| super::super::ground::write_file(&trigger, "change"))
}

fn add(control: &File, number: u64) -> Result<()> {
    raw::ioctl_number(control.as_fd(), ADD, number).context("LOOP_CTL_ADD")?;
    ensure!(Path::new("/sys/block").join(format!("loop{number}")).exists(), "no loop{number}");
    Ok(())
}

fn remove(control: &File, number: u64) -> Result<()> {
    raw::ioctl_number(control.as_fd(), REMOVE, number).context("LOOP_CTL_REMOVE")?;
    Ok(())
}
