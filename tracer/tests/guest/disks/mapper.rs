//! Devices of the device-mapper, by the ioctls of `linux/dm-ioctl.h`: linear (as LVM makes them), crypt, multipath.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::super::{oracle, raw};
use super::devices::appeared;

const CONTROL: &str = "/dev/mapper/control";
/// `struct dm_ioctl`, and `struct dm_target_spec`, in bytes.
const HEAD: usize = 312;
const SPEC: usize = 40;
/// `_IOWR(0xfd, N, struct dm_ioctl)`, and the numbers of its commands.
const REQUEST: u64 = 0xc138_fd00;
const CREATE: u64 = 3;
const REMOVE: u64 = 4;
const SUSPEND: u64 = 6;
const LOAD: u64 = 9;

/// A mapped device.
pub(super) struct Mapped {
    name: String,
    /// `/dev/dm-N`.
    pub(super) device: PathBuf,
}

impl Mapped {
    /// One target over the whole of `below`; in its parameters `DEV` stands for the number of `below`.
    pub(super) fn new(name: &str, uuid: &str, target: &str, parameters: &str, below: &Path) -> Result<Self> {
        let mut number = [0; 8];
        number.copy_from_slice(&command(CREATE, name, uuid, &[])?[40..48]);
        // The minor's low byte comes first, then the major, then the rest of the minor (`new_encode_dev`).
        let number = u64::from_ne_bytes(number);
        let minor = (number & 0xff) | (number >> 12 & 0xf_ff00);
        let mapped = Self { name: name.to_owned(), device: PathBuf::from(format!("/dev/dm-{minor}")) };
        let parameters = parameters.replace("DEV", &oracle::rdev_of(below)?);
        command(LOAD, name, "", &table(sectors(below)?, target, &parameters))
            .with_context(|| format!("no device-mapper target {target} {parameters}"))?;
        command(SUSPEND, name, "", &[]).context("the table was not taken")?;
        appeared(&mapped.device)?;
        Ok(mapped)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let _ = command(REMOVE, &self.name, "", &[]);
    }
}

/// Sends one command about the device of this name; the kernel's answer.
fn command(number: u64, name: &str, uuid: &str, table: &[u8]) -> Result<Vec<u8>> {
    ensure!(name.len() < 128 && uuid.len() < 129, "too long a name");
    let mut bytes = vec![0; HEAD];
    let size = u32::try_from(HEAD + table.len())?;
    bytes[0..4].copy_from_slice(&4_u32.to_ne_bytes());
    bytes[12..16].copy_from_slice(&size.to_ne_bytes());
    bytes[16..20].copy_from_slice(&u32::try_from(HEAD)?.to_ne_bytes());
    bytes[20..24].copy_from_slice(&u32::from(!table.is_empty()).to_ne_bytes());
    bytes[48..48 + name.len()].copy_from_slice(name.as_bytes());
    bytes[176..176 + uuid.len()].copy_from_slice(uuid.as_bytes());
    bytes.extend(table);
    let control = File::options().read(true).write(true).open(CONTROL).context(CONTROL)?;
    raw::ioctl_bytes(control.as_fd(), REQUEST | number, &mut bytes)
        .with_context(|| format!("command {number} of the device-mapper about {name}"))?;
    Ok(bytes)
}

fn table(sectors: u64, target: &str, parameters: &str) -> Vec<u8> {
    let mut bytes = vec![0; SPEC];
    bytes[8..16].copy_from_slice(&sectors.to_ne_bytes());
    bytes[24..24 + target.len()].copy_from_slice(target.as_bytes());
    bytes.extend(parameters.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// In units of 512 bytes.
pub(super) fn sectors(device: &Path) -> Result<u64> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = File::open(device).with_context(|| format!("cannot open {}", device.display()))?;
    Ok(file.seek(SeekFrom::End(0))? / 512)
}
