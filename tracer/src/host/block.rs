//! Which disk a device number means, and which disks the node itself needs. Reads sysfs, `/proc/swaps` and the file
//! systems behind a few paths as pid 1 sees them; writes nothing. Both roots are injected.

mod all;
mod file_systems;
mod names;
mod protected;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Disk, NoDisk};
use crate::device::Dev;

/// The node's block devices.
#[derive(Debug, Clone)]
pub struct Block {
    sys: PathBuf,
    proc: PathBuf,
}

/// Why a device could not be told.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The file system has no disk, or none that can be told.
    #[error("there is no disk to limit for the device {dev}: {}", why.words())]
    NoDisk {
        /// The file system's number.
        dev: Dev,
        /// Why.
        why: NoDisk,
    },
    /// Not in sysfs.
    #[error("cannot find the disk of the device {dev} at {}: it is gone; look for a detached disk", path.display())]
    Gone {
        /// What was asked for.
        dev: Dev,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something is there, and could not be read.
    #[error("cannot {operation} {}; run the agent as root with the host's /sys, /proc and pid namespace", path.display())]
    Io {
        /// `resolve`, `read`, `list`, `open` or `stat`.
        operation: &'static str,
        /// What.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// Something was read, and is not as the kernel writes it.
    #[error("cannot understand {text:?} in {}; report it with the kernel's version", path.display())]
    NotUnderstood {
        /// Where.
        path: PathBuf,
        /// What it says.
        text: String,
    },
    /// Without its device, which disk to keep free for the node is not known.
    #[error("cannot find the device behind the swap {}; give the agent the host's /sys and /proc, or swap it off", path.display())]
    Swap {
        /// As `/proc/swaps` has it.
        path: PathBuf,
    },
}

impl BlockError {
    /// The kind, for a decision.
    pub fn kind(&self) -> NoDisk {
        match self {
            Self::NoDisk { why, .. } => *why,
            Self::Gone { .. } => NoDisk::Gone,
            Self::Io { .. } | Self::NotUnderstood { .. } | Self::Swap { .. } => NoDisk::Unreadable,
        }
    }
}

impl Block {
    /// Reads below these two, `/sys` and `/proc` on a node.
    pub fn new(sys: impl Into<PathBuf>, proc: impl Into<PathBuf>) -> Self {
        Self { sys: sys.into(), proc: proc.into() }
    }

    /// The whole disk of a device: a partition's parent, else the device itself. A device-mapper or logical volume is
    /// its own disk, never one below it.
    pub fn whole_disk(&self, dev: Dev) -> Result<Disk, BlockError> {
        disk_at(&self.whole_dir(dev)?)
    }

    /// The device's directory in sysfs.
    fn dir(&self, dev: Dev) -> Result<PathBuf, BlockError> {
        if dev.major == 0 {
            return Err(BlockError::NoDisk { dev, why: NoDisk::Anonymous });
        }
        let path = self.sys.join("dev/block").join(dev.to_string());
        fs::canonicalize(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BlockError::Gone { dev, path },
            _ => BlockError::Io { operation: "resolve", path, source },
        })
    }

    /// The directory of its whole disk.
    fn whole_dir(&self, dev: Dev) -> Result<PathBuf, BlockError> {
        let dir = self.dir(dev)?;
        if read_optional(&dir.join("partition"))?.is_none() {
            return Ok(dir);
        }
        dir.parent().map(Path::to_owned).ok_or(BlockError::Gone { dev, path: dir })
    }
}

/// The disk of a directory in sysfs.
fn disk_at(dir: &Path) -> Result<Disk, BlockError> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let diskseq = match read_optional(&dir.join("diskseq"))? {
        Some(text) => Some(text.parse().map_err(|_| BlockError::NotUnderstood { path: dir.join("diskseq"), text })?),
        None => None,
    };
    // sysfs writes `!` for the `/` of names like cciss/c0d0.
    Ok(Disk { dev: dev_of(dir)?, name: name.replace('!', "/"), diskseq })
}

/// The number in the `dev` file of a device's directory.
fn dev_of(dir: &Path) -> Result<Dev, BlockError> {
    let path = dir.join("dev");
    let text = read(&path)?;
    text.parse().map_err(|_| BlockError::NotUnderstood { path, text })
}

/// A file of one value, without its newline.
fn read(path: &Path) -> Result<String, BlockError> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| BlockError::Io { operation: "read", path: path.to_owned(), source })?;
    Ok(text.trim_end().to_owned())
}

/// The same for a file that need not be there.
fn read_optional(path: &Path) -> Result<Option<String>, BlockError> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(BlockError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The paths of a directory's entries, in order; none when there is no such directory.
fn list(dir: &Path) -> Result<Vec<PathBuf>, BlockError> {
    let failed = |source| BlockError::Io { operation: "list", path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut paths = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<_>, BlockError>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::host::btrfs::Fsid;
    use std::os::unix::fs::symlink;

    /// A node's `/sys` and `/proc` in a directory of its own.
    pub(crate) struct Node {
        pub(crate) dir: tempfile::TempDir,
    }

    impl Node {
        pub(crate) fn new() -> Self {
            let node = Self { dir: tempfile::tempdir().unwrap() };
            for path in ["sys/dev/block", "sys/class/block", "proc/1/root"] {
                fs::create_dir_all(node.path(path)).unwrap();
            }
            node
        }

        pub(crate) fn path(&self, path: &str) -> PathBuf {
            self.dir.path().join(path)
        }

        pub(crate) fn block(&self) -> Block {
            Block::new(self.path("sys"), self.path("proc"))
        }

        pub(crate) fn write(&self, path: &str, text: &str) {
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A device at `sys/devices/<place>`, linked as the kernel links it.
        pub(crate) fn device(&self, place: &str, dev: &str) {
            let name = place.rsplit('/').next().unwrap();
            self.write(&format!("sys/devices/{place}/dev"), &format!("{dev}\n"));
            symlink(format!("../../devices/{place}"), self.path("sys/dev/block").join(dev)).unwrap();
            symlink(format!("../../devices/{place}"), self.path("sys/class/block").join(name)).unwrap();
        }

        pub(crate) fn partition(&self, place: &str, dev: &str) {
            self.device(place, dev);
            self.write(&format!("sys/devices/{place}/partition"), "1\n");
        }

        /// `below` as one of the devices that `place` is made of.
        pub(crate) fn slave(&self, place: &str, below: &str) {
            let slaves = self.path("sys/devices").join(place).join("slaves");
            fs::create_dir_all(&slaves).unwrap();
            symlink(self.path("sys/devices").join(below), slaves.join(below.rsplit('/').next().unwrap())).unwrap();
        }
    }

    pub(crate) fn dev(text: &str) -> Dev {
        text.parse().unwrap()
    }

    #[test]
    fn the_whole_disk() {
        let node = Node::new();
        node.device("pci0/block/sda", "8:0");
        node.write("sys/devices/pci0/block/sda/diskseq", "9\n");
        node.partition("pci0/block/sda/sda1", "8:1");
        node.device("virtual/block/dm-0", "253:0");
        node.slave("virtual/block/dm-0", "pci0/block/sda/sda1");
        node.device("pci1/block/cciss!c0d0", "104:0");
        let block = node.block();
        let sda = Disk { dev: dev("8:0"), name: "sda".to_owned(), diskseq: Some(9) };
        assert_eq!(block.whole_disk(dev("8:0")).unwrap(), sda);
        assert_eq!(block.whole_disk(dev("8:1")).unwrap(), sda);
        let volume = Disk { dev: dev("253:0"), name: "dm-0".to_owned(), diskseq: None };
        assert_eq!(block.whole_disk(dev("253:0")).unwrap(), volume);
        assert_eq!(block.whole_disk(dev("104:0")).unwrap().name, "cciss/c0d0");
    }

    #[test]
    fn a_file_system_has_several_disks_one_or_none() {
        let node = Node::new();
        node.device("pci0/block/sda", "8:0");
        node.partition("pci0/block/sda/sda1", "8:1");
        node.partition("pci0/block/sda/sda2", "8:2");
        node.device("virtual/block/dm-0", "253:0");
        node.slave("virtual/block/dm-0", "pci0/block/sda/sda2");
        let devices = "sys/fs/btrfs/3f8a0c5d-7e9b-1a2c-4d6e-8f0a1b3c5d7e/devices";
        fs::create_dir_all(node.path(devices)).unwrap();
        for place in ["pci0/block/sda/sda1", "pci0/block/sda/sda2", "virtual/block/dm-0"] {
            let target = node.path("sys/devices").join(place);
            symlink(&target, node.path(devices).join(target.file_name().unwrap())).unwrap();
        }
        let fsid =
            Fsid::new([0x3f, 0x8a, 0x0c, 0x5d, 0x7e, 0x9b, 0x1a, 0x2c, 0x4d, 0x6e, 0x8f, 0x0a, 0x1b, 0x3c, 0x5d, 0x7e]);
        let other = Fsid::new([0; 16]);
        let names = |number: &str, fstype: &str, fsid: Option<Fsid>| {
            let disks = node.block().disks(dev(number), fstype.as_bytes(), fsid).map_err(|error| error.kind())?;
            Ok(disks.into_iter().map(|disk| disk.name).collect::<Vec<_>>())
        };
        assert_eq!(names("0:40", "btrfs", Some(fsid)), Ok(vec!["sda".to_owned(), "dm-0".to_owned()]));
        assert_eq!(names("253:0", "ext4", None), Ok(vec!["dm-0".to_owned()]), "never what is below it");
        for (number, fstype, fsid, why) in [
            ("0:40", "btrfs", None, NoDisk::Unreached),
            ("0:40", "btrfs", Some(other), NoDisk::Unreached),
            ("0:41", "ext4", None, NoDisk::Anonymous),
            ("8:1", "fuseblk", None, NoDisk::Process),
            ("8:1", "bcachefs", None, NoDisk::Pool),
            ("8:64", "ext4", None, NoDisk::Gone),
        ] {
            assert_eq!(names(number, fstype, fsid), Err(why), "{fstype} of {number}");
        }
    }

    #[test]
    fn no_disk_and_why() {
        let node = Node::new();
        let block = node.block();
        let error = block.whole_disk(dev("0:52")).unwrap_err();
        assert_eq!(error.kind(), NoDisk::Anonymous);
        assert!(error.to_string().starts_with("there is no disk to limit for the device 0:52: its number"), "{error}");
        let error = block.whole_disk(dev("8:16")).unwrap_err();
        assert_eq!(error.kind(), NoDisk::Gone);
        let path = node.path("sys/dev/block/8:16");
        let expected = format!(
            "cannot find the disk of the device 8:16 at {}: it is gone; look for a detached disk",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
        node.device("pci0/block/sdc", "8:32");
        node.write("sys/devices/pci0/block/sdc/dev", "nonsense\n");
        assert_eq!(block.whole_disk(dev("8:32")).unwrap_err().kind(), NoDisk::Unreadable);
    }
}
