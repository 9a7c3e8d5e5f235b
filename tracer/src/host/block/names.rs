//! Every name of a device's disk, for a policy that names disks. Reads sysfs and pid 1's /dev; writes nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, OFlags};

use super::protected::{failed, stat};
use super::{Block, BlockError, disk_at};
use crate::device::Dev;

/// Where udev keeps the links by what a disk is, a directory each; and the one whose names stand alone as well.
const BY: &str = "/dev/disk";
const BY_ID: &str = "/dev/disk/by-id";
/// Where the device-mapper's devices have their names.
const MAPPER: &str = "/dev/mapper";

impl Block {
    /// The names of a device's whole disk, and of the device itself if it is a partition of it: number, `/dev/` with the
    /// kernel's name, and every name in `/dev/mapper` and below `/dev/disk`; of those by id the bare name too.
    pub fn names(&self, dev: Dev) -> Result<Vec<String>, BlockError> {
        let disks = [disk_at(&self.whole_dir(dev)?)?, disk_at(&self.dir(dev)?)?];
        let mut names: Vec<String> =
            disks.iter().flat_map(|disk| [disk.dev.to_string(), format!("/dev/{}", disk.name)]).collect();
        let mut places = self.entries(Path::new(BY))?;
        places.push(PathBuf::from(MAPPER));
        for place in places {
            for path in self.entries(&place)? {
                if self.node(&path)?.is_some_and(|node| disks.iter().any(|disk| disk.dev == node)) {
                    let bare = path.file_name().filter(|_| place == Path::new(BY_ID));
                    let found = [Some(path.as_os_str()), bare].into_iter().flatten();
                    names.extend(found.filter_map(OsStr::to_str).map(str::to_owned));
                }
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The paths of a directory's entries as pid 1 sees it; none when it is missing.
    fn entries(&self, path: &Path) -> Result<Vec<PathBuf>, BlockError> {
        let Some(dir) = self.open_as(path, OFlags::RDONLY | OFlags::DIRECTORY)? else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        for entry in Dir::read_from(&dir).map_err(|errno| failed("list", path, errno))? {
            let entry = entry.map_err(|errno| failed("list", path, errno))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                entries.push(path.join(name));
            }
        }
        Ok(entries)
    }

    /// The device whose node a path leads to; `None` for anything else, and for a link to nothing.
    fn node(&self, path: &Path) -> Result<Option<Dev>, BlockError> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let stat = stat(&file, path)?;
        let block = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
        Ok(block.then(|| Dev::from_stat(stat.st_rdev)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Node, dev};
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_partition_has_its_disks_names_too() {
        let node = Node::new();
        node.device("pci0/block/sda", "8:0");
        node.partition("pci0/block/sda/sda1", "8:1");
        assert_eq!(node.block().names(dev("8:0")).unwrap(), ["/dev/sda", "8:0"]);
        assert_eq!(node.block().names(dev("8:1")).unwrap(), ["/dev/sda", "/dev/sda1", "8:0", "8:1"]);
        assert!(matches!(node.block().names(dev("0:9")), Err(BlockError::NoDisk { .. })));
    }

    /// A node of a device cannot be made without root; the guest tests see links that lead to one.
    #[test]
    fn what_leads_to_no_device_is_no_name() {
        let node = Node::new();
        node.device("pci0/block/sda", "8:0");
        fs::create_dir_all(node.path("proc/1/root/dev/disk/by-id")).unwrap();
        fs::create_dir_all(node.path("proc/1/root/dev/mapper")).unwrap();
        fs::write(node.path("proc/1/root/dev/mapper/control"), "").unwrap();
        symlink("../../sdz", node.path("proc/1/root/dev/disk/by-id/gone")).unwrap();
        assert_eq!(node.block().names(dev("8:0")).unwrap(), ["/dev/sda", "8:0"]);
    }
}
