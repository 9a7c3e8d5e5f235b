//! Paths that are deep, nested, long, or made of bytes that no terminal wants.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use super::ground::{self, Mounted};
use super::operation::{Operation, expect_path};
use super::program::Lasting;
use super::trial::trial;

/// More directories than the tracer follows on any kernel.
const TOO_DEEP: usize = 300;
/// As many as it certainly follows, those above the trial's own directory included.
const DEEP: usize = 30;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("names::too_deep_is_null_with_a_reason", too_deep_is_null_with_a_reason),
        trial("names::deep", deep),
        trial("names::across_three_nested_mounts", across_three_nested_mounts),
        trial("names::of_255_bytes", of_255_bytes),
        trial("names::with_newline_escape_and_backslash", with_newline_escape_and_backslash),
        trial("names::that_are_not_utf_8", that_are_not_utf_8),
        trial("names::of_every_byte", of_every_byte),
        trial("names::of_many_letters", of_many_letters),
    ]
}

fn too_deep_is_null_with_a_reason() -> Result<()> {
    let operation = mount_at(&nested_directories("too-deep", TOO_DEEP)?)?;
    operation.expect("/effects/0/path", serde_json::Value::Null)?;
    let reason = operation.at("/effects/0/path_reason").as_str().unwrap_or_default();
    ensure!(!reason.is_empty(), "a null path without a path_reason: {operation:?}");
    Ok(())
}

/// The twin: a path that is followed has no reason why not.
fn deep() -> Result<()> {
    let path = nested_directories("deep", DEEP)?;
    let operation = mount_at(&path)?;
    expect_path(&operation, "/effects/0/path", &path)?;
    let reason = operation.at("/effects/0/path_reason");
    ensure!(reason.is_null(), "a path that is there has a path_reason: {operation:?}");
    Ok(())
}

fn across_three_nested_mounts() -> Result<()> {
    let mut path = ground::directory("nested")?;
    let mut mounts = Vec::new();
    for name in ["one", "two", "three"] {
        path = path.join(name).join("below");
        ground::make_directory(&path)?;
        mounts.push(Mounted::tmpfs(&path)?);
    }
    path = path.join("leaf");
    ground::make_directory(&path)?;
    let operation = mount_at(&path)?;
    while let Some(mounted) = mounts.pop() {
        mounted.unmount()?;
    }
    expect_path(&operation, "/effects/0/path", &path)
}

fn of_255_bytes() -> Result<()> {
    expect_name(&[b'n'; 255]).map(drop)
}

fn with_newline_escape_and_backslash() -> Result<()> {
    let operation = expect_name(b"new\nline \x1b[31m escape\ttab back\\slash \\x41 \"quote\"")?;
    let path = operation.at("/effects/0/path").as_str().context("no path")?;
    ensure!(path.contains(r"back\x5cslash"), "a backslash is not written as \\x5c in {path:?}");
    ensure!(path.contains(r"\x5cx41"), "a name that looks like an escape is not told from one in {path:?}");
    Ok(())
}

fn that_are_not_utf_8() -> Result<()> {
    // Alone, in the middle, cut off at the end, and an encoded surrogate, which is no UTF-8 either.
    let operation = expect_name(b"\xff ok \xc3\x28 \xed\xa0\x80 \xe2\x82")?;
    let path = operation.at("/effects/0/path").as_str().context("no path")?;
    ensure!(path.contains(r"\xff ok "), "the byte 0xff is not written as \\xff in {path:?}");
    Ok(())
}

/// A name may hold every byte but NUL and the slash.
fn of_every_byte() -> Result<()> {
    let name: Vec<u8> = (1..=u8::MAX).filter(|byte| *byte != b'/').collect();
    expect_name(&name).map(drop)
}

/// The twin of the escapes: what is UTF-8 is itself.
fn of_many_letters() -> Result<()> {
    let name = "héllo wörld 名前 🦀";
    let operation = expect_name(name.as_bytes())?;
    let path = operation.at("/effects/0/path").as_str().context("no path")?;
    ensure!(path.ends_with(name), "{name:?} is written as {path:?}");
    Ok(())
}

fn expect_name(name: &[u8]) -> Result<Operation> {
    let path = ground::directory("name")?.join(OsStr::from_bytes(name));
    ground::make_directory(&path)?;
    let operation = mount_at(&path)?;
    expect_path(&operation, "/effects/0/path", &path)?;
    Ok(operation)
}

fn nested_directories(name: &str, depth: usize) -> Result<PathBuf> {
    let mut path = ground::directory(name)?;
    path.extend((0..depth).map(|level| format!("d{level}")));
    ground::make_directory(&path)?;
    Ok(path)
}

fn mount_at(path: &Path) -> Result<Operation> {
    let mut trace = Lasting::trace()?;
    let mounted = Mounted::tmpfs(path)?;
    let operation = trace.drain_one()?;
    mounted.unmount()?;
    operation.expect_success("mount", 1)?;
    Ok(operation)
}
