//! Every byte that a name can have, in every place that others choose: a terminal is not told what to do, and JSON gives
//! every byte back. Paths as JSON are in `names.rs`.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::mount::{MountFlags, UnmountFlags};

use super::ground::{self, Mounted};
use super::operation::{Operation, bytes_of, expect_path};
use super::program::Lasting;
use super::screen;
use super::trial::trial;

/// A thread's name has as many bytes.
const COMM: usize = 15;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("terminal::every_byte_in_a_source", every_byte_in_a_source),
        trial("terminal::every_byte_in_a_claimed_path", every_byte_in_a_claimed_path),
        trial("terminal::every_byte_in_a_threads_name", every_byte_in_a_threads_name),
        trial("terminal::no_control_byte_reaches_a_terminal", no_control_byte_reaches_a_terminal),
    ]
}

/// All but the zero, which ends a string.
fn every_byte() -> Vec<u8> {
    (1..=u8::MAX).collect()
}

/// As a file's name.
fn every_name() -> PathBuf {
    let bytes: Vec<u8> = every_byte().into_iter().filter(|byte| *byte != b'/').collect();
    PathBuf::from(OsStr::from_bytes(&bytes))
}

fn mount_from(source: &[u8], target: &PathBuf) -> Result<Mounted> {
    let source = CString::new(source)?;
    rustix::mount::mount(source.as_c_str(), target, c"tmpfs", MountFlags::empty(), None).context("mount of a tmpfs")?;
    Ok(Mounted::adopt(target))
}

fn expect_bytes(operation: &Operation, pointer: &str, wanted: &[u8]) -> Result<()> {
    let text = operation.at(pointer).as_str().with_context(|| format!("no {pointer} in {operation:?}"))?;
    ensure!(bytes_of(text)? == wanted, "{pointer} is {text:?}, expected {}", wanted.escape_ascii());
    ensure!(!text.chars().any(char::is_control), "{pointer} has a control character: {text:?}");
    Ok(())
}

fn every_byte_in_a_source() -> Result<()> {
    let target = ground::directory("source")?;
    let mut trace = Lasting::trace()?;
    let mounted = mount_from(&every_byte(), &target)?;
    let operation = trace.drain_one()?;
    expect_bytes(&operation, "/claimed/source", &every_byte())?;
    expect_bytes(&operation, "/effects/0/source", &every_byte())?;
    mounted.unmount()
}

fn every_byte_in_a_claimed_path() -> Result<()> {
    let target = ground::directory("claimed")?.join(every_name());
    let mut trace = Lasting::trace()?;
    let refused = rustix::mount::unmount(&target, UnmountFlags::empty());
    ensure!(refused.is_err(), "a mount was there already");
    expect_path(&trace.drain_one()?, "/claimed/target", &target)
}

fn every_byte_in_a_threads_name() -> Result<()> {
    let target = ground::directory("comm")?;
    let mut trace = Lasting::trace()?;
    let bytes = every_byte();
    let names: Vec<&[u8]> = bytes.chunks(COMM).collect();
    for name in &names {
        named(name, || ground::bind(&target, &target).and_then(|()| ground::unmount(&target, UnmountFlags::empty())))?;
    }
    let operations = trace.drain()?;
    ensure!(operations.len() == 2 * names.len(), "{} names acted twice, shown are {operations:#?}", names.len());
    for (operation, name) in operations.iter().zip(names.iter().flat_map(|name| [name, name])) {
        expect_bytes(operation, "/actor/comm", name)?;
    }
    Ok(())
}

/// In a thread of this name.
fn named(name: &[u8], act: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    let name = CString::new(name)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            rustix::thread::set_name(&name).context("prctl(PR_SET_NAME)")?;
            act()
        });
        thread.join().map_err(|_| anyhow::anyhow!("the named thread panicked"))?
    })
}

/// All of it at once, as a person would see it.
fn no_control_byte_reaches_a_terminal() -> Result<()> {
    for form in screen::forms()? {
        let room = ground::directory("screen")?;
        let target = room.join(every_name());
        ground::make_directory(&target)?;
        let bytes = every_byte();
        let act = || {
            for name in bytes.chunks(COMM) {
                named(name, || mount_from(&bytes, &target)?.unmount())?;
            }
            let _ = rustix::mount::unmount(target.join("not-there"), UnmountFlags::empty());
            Ok(())
        };
        let shown = screen::during(form, act)?;
        let errors = shown.errors.iter().map(|line| line.as_bytes().to_vec());
        let lines: Vec<Vec<u8>> = shown.lines.into_iter().chain(errors).collect();
        // The one that ends a line is not in it.
        if let Some(line) = lines.iter().find(|line| tells_a_terminal(line)) {
            anyhow::bail!("a control byte in -o {form}: {}", line.escape_ascii());
        }
        let operations = bytes.chunks(COMM).count() * 2;
        ensure!(lines.len() >= operations, "{operations} were made, {} lines of {form}", lines.len());
    }
    // The twin: the check sees what it looks for.
    ensure!(tells_a_terminal(b"\x1b[31m") && tells_a_terminal("\u{9b}31m".as_bytes()) && tells_a_terminal(b"\xff"));
    ensure!(!tells_a_terminal("plain, möhre".as_bytes()), "the check takes letters for control bytes");
    Ok(())
}

/// A control character of either block, or what is no text at all.
fn tells_a_terminal(line: &[u8]) -> bool {
    std::str::from_utf8(line).map_or(true, |text| text.chars().any(char::is_control))
}
