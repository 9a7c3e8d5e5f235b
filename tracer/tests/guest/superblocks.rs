//! `fsconfig(2)` with `FSCONFIG_CMD_RECONFIGURE`: the options of a file system change, and of no mount.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::FsPickFlags;
use serde_json::Value;

use super::ground::{self, Mounted};
use super::operations::expect_own_actor;
use super::oracle;
use super::program::Lasting;
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("superblocks::reconfigured", reconfigured), trial("superblocks::refused", refused)]
}

/// The file system at a path, picked to become read-only.
fn pick(target: &Path) -> Result<OwnedFd> {
    let picked = rustix::mount::fspick(CWD, target, FsPickFlags::FSPICK_CLOEXEC).context("fspick")?;
    rustix::mount::fsconfig_set_flag(picked.as_fd(), "ro").context("fsconfig of a flag")?;
    Ok(picked)
}

fn reconfigured() -> Result<()> {
    let target = ground::directory("fspick")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut trace = Lasting::trace()?;
    let picked = pick(&target)?;
    // The twin: what is only prepared is no operation; there is one in the end.
    rustix::mount::fsconfig_reconfigure(picked.as_fd()).context("fsconfig that reconfigures")?;
    let refused = File::create_new(target.join("file")).err().and_then(|error| error.raw_os_error());
    ensure!(refused == Some(Errno::ROFS.raw_os_error()), "the file system is still writable: {refused:?}");
    let operation = trace.drain_one()?;
    operation.expect_success("reconfigure", 0)?;
    operation.expect("/syscall", "fsconfig")?;
    operation.expect("/cause", "syscall")?;
    operation.expect("/effects", Value::Array(Vec::new()))?;
    operation.expect("/superblock/dev", oracle::dev_of(&target)?)?;
    operation.expect("/superblock/fstype", "tmpfs")?;
    expect_own_actor(&operation)?;
    mounted.unmount()
}

fn refused() -> Result<()> {
    let target = ground::directory("fspick")?;
    let mounted = Mounted::tmpfs(&target)?;
    let open = File::create_new(target.join("open"))?;
    let picked = pick(&target)?;
    let mut trace = Lasting::trace()?;
    let refused = rustix::mount::fsconfig_reconfigure(picked.as_fd());
    ensure!(refused == Err(Errno::BUSY), "a file system whose file is written became read-only: {refused:?}");
    let operation = trace.drain_one()?;
    operation.expect_failure("reconfigure", 16, "EBUSY")?;
    operation.expect("/superblock", Value::Null)?;
    drop((open, picked));
    mounted.unmount()
}
