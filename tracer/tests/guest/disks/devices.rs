//! Devices that are made of files, for as long as they are held: loop devices, and file systems on whatever device.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::super::{ground, raw};

/// `LOOP_CTL_GET_FREE`, `LOOP_SET_FD` and `LOOP_CLR_FD` of `linux/loop.h`.
const GET_FREE: u64 = 0x4c82;
const SET_FD: u64 = 0x4c00;
const CLR_FD: u64 = 0x4c01;
/// `BLKGETDISKSEQ` of `linux/fs.h`, 5.15 and newer.
const GET_DISKSEQ: u64 = 0x8008_1280;
/// How long the kernel may take to show a device that it was asked for.
const APPEARS: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// A file as a disk.
pub(super) struct Loop(pub(super) PathBuf);

impl Loop {
    /// A new file of zeros, of so many MiB; it takes memory only where it is written to.
    pub(super) fn new(mib: u64) -> Result<Self> {
        let file = Self::file(mib)?;
        let control = File::open("/dev/loop-control").context("cannot open /dev/loop-control")?;
        let number = raw::ioctl_number(control.as_fd(), GET_FREE, 0).context("LOOP_CTL_GET_FREE")?;
        let device = PathBuf::from(format!("/dev/loop{number}"));
        attach(&open(&device)?, &file).with_context(|| format!("cannot attach to {}", device.display()))?;
        Ok(Self(device))
    }

    /// A file for one.
    pub(super) fn file(mib: u64) -> Result<File> {
        let path = ground::directory("image")?.join("file");
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        let file = file.with_context(|| format!("cannot make {}", path.display()))?;
        file.set_len(mib << 20)?;
        Ok(file)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = detach(&self.0);
    }
}

/// Attaches a file to a loop device.
pub(super) fn attach(device: &File, file: &File) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    raw::ioctl_number(device.as_fd(), SET_FD, u64::from(file.as_raw_fd().cast_unsigned())).context("LOOP_SET_FD")?;
    Ok(())
}

/// And takes it off: the kernel does it when nobody has the device open any more.
pub(super) fn detach(device: &Path) -> Result<()> {
    raw::ioctl_number(open(device)?.as_fd(), CLR_FD, 0).context("LOOP_CLR_FD")?;
    Ok(())
}

/// A device or a file, to be read and written.
pub(super) fn open(path: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).open(path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

/// The kernel's own answer about a disk; `None` before Linux 5.15.
pub(super) fn diskseq(device: &Path) -> Result<Option<u64>> {
    let device = File::open(device).with_context(|| format!("cannot open {}", device.display()))?;
    let mut answer = [0; 8];
    match raw::ioctl_bytes(device.as_fd(), GET_DISKSEQ, &mut answer) {
        Ok(_) => Ok(Some(u64::from_ne_bytes(answer))),
        Err(rustix::io::Errno::NOTTY | rustix::io::Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno).context("BLKGETDISKSEQ"),
    }
}

/// Waits until the device is there.
pub(super) fn appeared(device: &Path) -> Result<()> {
    let deadline = Instant::now() + APPEARS;
    while !device.exists() {
        ensure!(Instant::now() < deadline, "{} did not appear within {APPEARS:?}", device.display());
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Makes an ext4.
pub(super) fn make_ext4(device: &Path) -> Result<()> {
    run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(device))
}

/// Makes a btrfs of all these.
pub(super) fn make_btrfs(devices: &[&Path]) -> Result<()> {
    run(Command::new("mkfs.btrfs").args(["-q", "-f", "--mixed", "-d", "single", "-m", "single"]).args(devices))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{} ended with {}: {}", command.get_program().display(), output.status, said.trim_end());
    }
    Ok(())
}
