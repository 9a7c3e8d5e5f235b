//! The disks that the node itself needs, and why. Opens paths without reading or following anything out of pid 1's root.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{Block, BlockError, dev_of, list, read_optional};
use crate::device::Dev;
use crate::host::{Protected, btrfs};
use crate::mountinfo::unescape;

/// Where a node keeps what it cannot run without: the system, the container runtimes' images and layers, pods' logs.
const ALWAYS: [&str; 5] = ["/", "/var/lib/containerd", "/var/lib/containers", "/var/lib/docker", "/var/log/pods"];

/// `BTRFS_SUPER_MAGIC` of linux/magic.h. Its file systems have anonymous device numbers, and disks all the same.
const BTRFS: i64 = 0x9123_683E;

impl Block {
    /// Every disk behind the node's own directories, behind these `paths` (the kubelet's), and behind swap, with all
    /// that those disks are made of. Paths are pid 1's; what is not there is passed over.
    pub fn protected(&self, paths: &[PathBuf]) -> Result<Protected, BlockError> {
        let mut found = Protected::new();
        let always = ALWAYS.iter().map(Path::new);
        for path in always.chain(paths.iter().map(PathBuf::as_path)) {
            for dev in self.behind(path)? {
                self.protect(dev, &format!("holds {}", path.display()), &mut found)?;
            }
        }
        for (path, dev) in self.swaps()? {
            self.protect(dev, &format!("holds the swap {}", path.display()), &mut found)?;
        }
        Ok(found)
    }

    /// A device, its whole disk, and the same for all that both are made of.
    fn protect(&self, dev: Dev, why: &str, found: &mut Protected) -> Result<(), BlockError> {
        let reasons = found.entry(dev).or_default();
        if reasons.iter().any(|reason| reason == why) {
            return Ok(());
        }
        reasons.push(why.to_owned());
        let (dir, whole) = match (self.dir(dev), self.whole_dir(dev)) {
            (Ok(dir), Ok(whole)) => (dir, whole),
            // Unplugged a moment ago: its number stays protected.
            (Err(BlockError::Gone { .. }), _) | (_, Err(BlockError::Gone { .. })) => return Ok(()),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        self.protect(dev_of(&whole)?, why, found)?;
        for slave in list(&dir.join("slaves"))? {
            self.protect(dev_of(&slave)?, why, found)?;
        }
        // A loop device is made of a file, which sysfs names as pid 1 sees it.
        if let Some(file) = read_optional(&whole.join("loop/backing_file"))? {
            for below in self.behind(Path::new(&file))? {
                self.protect(below, why, found)?;
            }
        }
        Ok(())
    }

    /// The devices of the file system that holds a path; none when it is missing, or has no disk.
    fn behind(&self, path: &Path) -> Result<Vec<Dev>, BlockError> {
        let Some(file) = self.open(path)? else {
            return Ok(Vec::new());
        };
        self.devices_of(&file, &stat(&file, path)?, path)
    }

    fn devices_of(&self, file: &OwnedFd, stat: &Stat, path: &Path) -> Result<Vec<Dev>, BlockError> {
        let dev = Dev::from_stat(stat.st_dev);
        if dev.major != 0 {
            return Ok(vec![dev]);
        }
        let kind = rustix::fs::fstatfs(file).map_err(|errno| failed("stat", path, errno))?.f_type;
        if kind != BTRFS {
            return Ok(Vec::new());
        }
        // One that does not say which it is may be any of them.
        match btrfs::fsid(file, &self.proc) {
            Ok(fsid) => self.devices_of_btrfs(fsid),
            Err(_) => self.every_btrfs(),
        }
    }

    /// The devices of every btrfs of the node.
    fn every_btrfs(&self) -> Result<Vec<Dev>, BlockError> {
        let mut devs = Vec::new();
        for filesystem in list(&self.sys.join("fs/btrfs"))? {
            for device in list(&filesystem.join("devices"))? {
                devs.push(dev_of(&device)?);
            }
        }
        Ok(devs)
    }

    /// A path as pid 1 sees it, links included; `None` when it is missing.
    pub(super) fn open(&self, path: &Path) -> Result<Option<OwnedFd>, BlockError> {
        self.open_as(path, OFlags::PATH)
    }

    /// The same, to be read.
    pub(super) fn open_as(&self, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>, BlockError> {
        let root_path = self.proc.join("1/root");
        let root = rustix::fs::open(&root_path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed("open", &root_path, errno))?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failed("open", path, errno)),
        }
    }

    /// Each swap's path and device; a swap file's is that of its file system.
    fn swaps(&self) -> Result<Vec<(PathBuf, Dev)>, BlockError> {
        let text = read_optional(&self.proc.join("swaps"))?.unwrap_or_default();
        let mut swaps = Vec::new();
        for path in text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).map(unescaped) {
            for dev in self.swap(&path)? {
                swaps.push((path.clone(), dev));
            }
        }
        Ok(swaps)
    }

    fn swap(&self, path: &Path) -> Result<Vec<Dev>, BlockError> {
        if let Some(file) = self.open(path)? {
            let stat = stat(&file, path)?;
            return match FileType::from_raw_mode(stat.st_mode) {
                FileType::BlockDevice => Ok(vec![Dev::from_stat(stat.st_rdev)]),
                _ => self.devices_of(&file, &stat, path),
            };
        }
        // A device whose node pid 1 does not see, or sees elsewhere.
        let name = path.file_name().unwrap_or_default();
        let dir = self.sys.join("class/block").join(name);
        if dir.join("dev").exists() { Ok(vec![dev_of(&dir)?]) } else { Err(BlockError::Swap { path: path.to_owned() }) }
    }
}

pub(super) fn stat(file: &OwnedFd, path: &Path) -> Result<Stat, BlockError> {
    rustix::fs::fstat(file).map_err(|errno| failed("stat", path, errno))
}

pub(super) fn failed(operation: &'static str, path: &Path, errno: Errno) -> BlockError {
    BlockError::Io { operation, path: path.to_owned(), source: io::Error::from(errno) }
}

fn unescaped(text: &str) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Node, dev};
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn all_that_a_disk_is_made_of() {
        let node = Node::new();
        node.device("pci0/block/sda", "8:0");
        node.partition("pci0/block/sda/sda1", "8:1");
        node.device("pci0/block/sdb", "8:16");
        node.device("pci0/block/sdc", "8:32");
        node.device("virtual/block/md0", "9:0");
        node.slave("virtual/block/md0", "pci0/block/sda/sda1");
        node.slave("virtual/block/md0", "pci0/block/sdb");
        node.partition("virtual/block/md0/md0p1", "9:1");
        node.device("virtual/block/dm-0", "253:0");
        node.slave("virtual/block/dm-0", "virtual/block/md0/md0p1");
        node.device("virtual/block/dm-1", "253:1");
        node.slave("virtual/block/dm-1", "pci0/block/sdc");
        let mut found = Protected::new();
        node.block().protect(dev("253:0"), "holds /", &mut found).unwrap();
        let devs: Vec<String> = found.keys().map(Dev::to_string).collect();
        assert_eq!(devs, ["8:0", "8:1", "8:16", "9:0", "9:1", "253:0"]);
        assert!(found.values().all(|why| *why == ["holds /"]));
    }

    #[test]
    fn a_disk_says_all_that_it_holds() {
        let node = Node::new();
        node.device("pci0/block/sda", "8:0");
        node.partition("pci0/block/sda/sda1", "8:1");
        let mut found = Protected::new();
        for (part, why) in [("8:1", "holds /"), ("8:0", "holds /var/log/pods"), ("8:1", "holds /")] {
            node.block().protect(dev(part), why, &mut found).unwrap();
        }
        let whole = ["holds /", "holds /var/log/pods"].map(str::to_owned).to_vec();
        assert_eq!(found, Protected::from([(dev("8:0"), whole), (dev("8:1"), vec!["holds /".to_owned()])]));
    }

    /// The disk of this test's own directory stands for that of the file.
    #[test]
    fn a_loop_device_is_made_of_the_disk_of_its_file() {
        let node = Node::new();
        node.device("virtual/block/loop0", "7:0");
        node.write("sys/devices/virtual/block/loop0/loop/backing_file", "/images/root.img\n");
        let protected = || {
            let mut found = Protected::new();
            node.block().protect(dev("7:0"), "holds /", &mut found).unwrap();
            found.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(protected(), [dev("7:0")], "pid 1 does not see the file");
        node.write("proc/1/root/images/root.img", "");
        let own = Dev::from_stat(rustix::fs::stat(node.dir.path()).unwrap().st_dev);
        let expected = if own.major == 0 { vec![dev("7:0")] } else { vec![dev("7:0"), own] };
        let found = protected();
        assert!(expected.iter().all(|one| found.contains(one)), "{found:?}");
    }

    #[test]
    fn swap_is_protected_by_its_device() {
        let node = Node::new();
        node.device("pci0/block/sda", "8:0");
        node.partition("pci0/block/sda/sda2", "8:2");
        node.write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2   partition\t1\t0\t-2\n");
        let mut found = node.block().protected(&[]).unwrap();
        let own = Dev::from_stat(rustix::fs::stat(node.dir.path()).unwrap().st_dev);
        found.remove(&own);
        let why = vec!["holds the swap /dev/sda2".to_owned()];
        assert_eq!(found, Protected::from([(dev("8:0"), why.clone()), (dev("8:2"), why)]));
    }

    #[test]
    fn a_swap_that_cannot_be_found_is_an_error() {
        let node = Node::new();
        node.write("proc/swaps", "Filename\tType\n/no\\040such partition\t1\t0\t-2\n");
        let error = node.block().protected(&[]).unwrap_err();
        let expected =
            "cannot find the device behind the swap /no such; give the agent the host's /sys and /proc, or swap it off";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn paths_are_pid_1s_own() {
        let node = Node::new();
        let block = node.block();
        assert!(block.open(Path::new("/var/lib/kubelet")).unwrap().is_none());
        fs::create_dir_all(node.path("proc/1/root/data/kubelet")).unwrap();
        fs::create_dir_all(node.path("proc/1/root/var/lib")).unwrap();
        symlink("/data/kubelet", node.path("proc/1/root/var/lib/kubelet")).unwrap();
        symlink("/../../../..", node.path("proc/1/root/out")).unwrap();
        let opened = stat(&block.open(Path::new("/var/lib/kubelet")).unwrap().unwrap(), Path::new("")).unwrap();
        let wanted = rustix::fs::stat(node.path("proc/1/root/data/kubelet")).unwrap();
        assert_eq!((opened.st_dev, opened.st_ino), (wanted.st_dev, wanted.st_ino));
        let out = stat(&block.open(Path::new("/out")).unwrap().unwrap(), Path::new("")).unwrap();
        let root = rustix::fs::stat(node.path("proc/1/root")).unwrap();
        assert_eq!((out.st_dev, out.st_ino), (root.st_dev, root.st_ino));
    }

    #[test]
    fn every_device_of_every_btrfs() {
        let node = Node::new();
        node.device("pci0/block/sda", "8:0");
        node.device("pci0/block/sdb", "8:16");
        for (uuid, name) in [("u1", "sda"), ("u2", "sdb")] {
            let devices = node.path("sys/fs/btrfs").join(uuid).join("devices");
            fs::create_dir_all(&devices).unwrap();
            symlink(node.path("sys/devices/pci0/block").join(name), devices.join(name)).unwrap();
        }
        fs::create_dir_all(node.path("sys/fs/btrfs/features")).unwrap();
        assert_eq!(node.block().every_btrfs().unwrap(), [dev("8:0"), dev("8:16")]);
    }
}
