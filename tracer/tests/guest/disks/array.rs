//! A RAID 1 of md without a superblock, told to the kernel by its own files (`Documentation/admin-guide/md.rst`).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::super::{ground, oracle};
use super::devices::appeared;
use super::mapper::sectors;

const NEW: &str = "/sys/module/md_mod/parameters/new_array";
const NAME: &str = "md127";

/// The array.
pub(super) struct Array {
    /// `/dev/md127`.
    pub(super) device: PathBuf,
}

impl Array {
    /// Of two devices of one size.
    pub(super) fn new(of: [&Path; 2]) -> Result<Self> {
        ground::write_file(Path::new(NEW), NAME)?;
        let array = Self { device: Path::new("/dev").join(NAME) };
        let tell = |file: &str, what: &str| ground::write_file(&directory().join(file), what);
        tell("metadata_version", "none")?;
        tell("level", "raid1")?;
        tell("raid_disks", "2")?;
        tell("component_size", &(sectors(of[0])? / 2).to_string())?;
        for (slot, device) in of.into_iter().enumerate() {
            tell("new_dev", &oracle::rdev_of(device)?).context("the array does not take a device")?;
            let name = device.file_name().context("a device has a name")?.to_string_lossy();
            tell(&format!("dev-{name}/slot"), &slot.to_string())?;
        }
        tell("array_state", "active").context("the array does not start")?;
        appeared(&array.device)?;
        Ok(array)
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        let _ = ground::write_file(&directory().join("array_state"), "clear");
    }
}

fn directory() -> PathBuf {
    Path::new("/sys/block").join(NAME).join("md")
}
