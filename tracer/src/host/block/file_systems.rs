//! The disks of a mounted file system. Reads sysfs; writes nothing.

use std::collections::BTreeMap;

use super::{Block, BlockError, dev_of, list};
use crate::{
    device::Dev,
    host::{Disk, NoDisk, btrfs::Fsid},
};

impl Block {
    /// The whole disks of a file system of this type, each once; `fsid` is needed of a btrfs alone. Of others its number
    /// names the one device: further ones, as an external journal, are not known.
    pub fn disks(&self, dev: Dev, fstype: &[u8], fsid: Option<Fsid>) -> Result<Vec<Disk>, BlockError> {
        if let Some(why) = NoDisk::of_type(fstype) {
            return Err(BlockError::NoDisk { dev, why });
        }
        if fstype != b"btrfs" {
            return Ok(vec![self.whole_disk(dev)?]);
        }
        let devices = match fsid {
            Some(fsid) => self.devices_of_btrfs(fsid)?,
            None => Vec::new(),
        };
        let disks = devices.into_iter().map(|device| self.whole_disk(device));
        let disks: BTreeMap<Dev, Disk> =
            disks.map(|disk| disk.map(|disk| (disk.dev, disk))).collect::<Result<_, BlockError>>()?;
        if disks.is_empty() {
            return Err(BlockError::NoDisk { dev, why: NoDisk::Unreached });
        }
        Ok(disks.into_values().collect())
    }

    /// The devices of a btrfs that is mounted; none of one that is not.
    pub(in crate::host) fn devices_of_btrfs(&self, fsid: Fsid) -> Result<Vec<Dev>, BlockError> {
        let devices = self.sys.join("fs/btrfs").join(fsid.to_string()).join("devices");
        list(&devices)?.iter().map(|device| dev_of(device)).collect()
    }
}
