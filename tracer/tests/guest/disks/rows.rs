//! The rows of the table of disks: each kind of device, made and mounted, with what it lies on.

use std::any::Any;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags};

use super::super::disk::Disk;
use super::super::expiry::Server;
use super::super::ground::{self, Mounted};
use super::super::{kernel, oracle, raw};
use super::array::Array;
use super::devices::{self, Loop, make_btrfs, make_ext4};
use super::expect_io_max_takes;
use super::mapper::Mapped;
use super::nbd::Nbd;
use super::paths::Head;

/// Disks that the guest has besides those of NVMe.
pub(super) const VIRTIO: &str = "/dev/vda";
const SCSI: &str = "/dev/sda";
/// The least that a file system with a journal is made on.
const MIB: u64 = 16;
/// And a btrfs.
const BTRFS_MIB: u64 = 32;
/// Some 128 bits for AES.
const KEY: &str = "000102030405060708090a0b0c0d0e0f";

/// A row of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) make: fn(&Path) -> Result<Made>,
}

/// What was mounted, and what it lies on.
pub(super) struct Made {
    pub(super) truth: Truth,
    pub(super) mounted: Mounted,
    /// What it is made of: goes after the mount, the last one first.
    pub(super) below: Vec<Box<dyn Any>>,
}

/// What is known here without asking the tracer.
pub(super) enum Truth {
    /// The nodes of the whole disks.
    Disks(Vec<PathBuf>),
    /// None, for this reason.
    None(&'static str),
}

pub(super) const ROWS: [Row; 20] = [
    Row { name: "nvme", make: nvme },
    Row { name: "nvme-partition", make: nvme_partition },
    Row { name: "nvme-multipath", make: nvme_multipath },
    Row { name: "virtio", make: |target| plain(target, Path::new(VIRTIO)) },
    Row { name: "scsi", make: |target| plain(target, Path::new(SCSI)) },
    Row { name: "loop", make: on_loop },
    Row { name: "nbd", make: on_nbd },
    Row { name: "lvm", make: |target| mapped(target, "vg-lv", "LVM-f00d", "linear", "DEV 0") },
    Row {
        name: "dm-crypt",
        make: |target| mapped(target, "crypt", "CRYPT-PLAIN-c", "crypt", &format!("aes-cbc-plain {KEY} 0 DEV 0")),
    },
    Row {
        name: "dm-multipath",
        make: |target| mapped(target, "mpatha", "mpath-1", "multipath", "0 0 1 1 round-robin 0 1 1 DEV 1"),
    },
    Row { name: "lvm-on-dm-crypt", make: stacked },
    Row { name: "md-raid1", make: on_array },
    Row { name: "btrfs-one", make: |target| btrfs(target, 1) },
    Row { name: "btrfs-two", make: |target| btrfs(target, 2) },
    Row { name: "btrfs-subvolume", make: subvolume },
    Row { name: "nfs", make: nfs },
    Row { name: "fuse", make: |target| fuse(target, "fuse", "fuse.sshfs") },
    Row { name: "fuseblk", make: |target| fuse(target, "fuseblk", "fuseblk.ntfs") },
    Row { name: "overlay", make: overlay },
    Row { name: "tmpfs", make: tmpfs },
];

/// Rows that cannot be made in a guest: their words are tried by file-system type alone, in the tests of the room.
pub(super) const BY_TYPE_ALONE: [&str; 4] = ["zfs", "ceph", "9p", "virtiofs"];

/// Why this kernel cannot have a row, if so. Any other row must be made.
pub(super) fn not_here(name: &str) -> Result<Option<&'static str>> {
    let lacks_loop = !kernel::is_at_least(6, 12)?;
    Ok((name == "nvme-multipath" && lacks_loop).then_some("this kernel is built without nvme-loop"))
}

impl Made {
    pub(super) fn on(device: &Path, target: &Path, disks: &[&Path], below: Vec<Box<dyn Any>>) -> Result<Self> {
        make_ext4(device)?;
        let mounted = mount(device, target, "ext4")?;
        Ok(Self { truth: Truth::Disks(disks.iter().map(|disk| disk.to_path_buf()).collect()), mounted, below })
    }

    fn none(why: &'static str, mounted: Mounted, below: Vec<Box<dyn Any>>) -> Self {
        Self { truth: Truth::None(why), mounted, below }
    }

    pub(super) fn undo(mut self) -> Result<()> {
        self.mounted.unmount()?;
        while let Some(last) = self.below.pop() {
            drop(last);
        }
        Ok(())
    }
}

fn mount(source: &Path, target: &Path, fstype: &str) -> Result<Mounted> {
    rustix::mount::mount(source, target, fstype, MountFlags::empty(), None)
        .with_context(|| format!("cannot mount {} as {fstype}", source.display()))?;
    Ok(Mounted::adopt(target))
}

/// The disk that is here for these trials alone.
fn own_nvme() -> Result<PathBuf> {
    fs::canonicalize("/dev/disk/by-id/disk2").context("the guest has no third NVMe disk")
}

fn plain(target: &Path, device: &Path) -> Result<Made> {
    Made::on(device, target, &[device], Vec::new())
}

fn nvme(target: &Path) -> Result<Made> {
    plain(target, &own_nvme()?)
}

fn nvme_partition(target: &Path) -> Result<Made> {
    let disk = Disk::get()?;
    let number = oracle::rdev_of(&disk.partition)?;
    ensure!(expect_io_max_takes(&number).is_err(), "io.max takes a partition: what this tries is not so any more");
    Ok(Made {
        truth: Truth::Disks(vec![disk.whole.clone()]),
        mounted: disk.mount_partition(target)?,
        below: Vec::new(),
    })
}

fn nvme_multipath(target: &Path) -> Result<Made> {
    let below = Loop::new(MIB)?;
    let head = Head::over(&below.0)?;
    let device = head.device.clone();
    Made::on(&device, target, &[&device], vec![Box::new(below), Box::new(head)])
}

fn on_loop(target: &Path) -> Result<Made> {
    let below = Loop::new(MIB)?;
    let device = below.0.clone();
    Made::on(&device, target, &[&device], vec![Box::new(below)])
}

fn on_nbd(target: &Path) -> Result<Made> {
    let nbd = Nbd::new(MIB)?;
    let device = nbd.device.clone();
    Made::on(&device, target, &[&device], vec![Box::new(nbd)])
}

fn mapped(target: &Path, name: &str, uuid: &str, kind: &str, parameters: &str) -> Result<Made> {
    let below = Loop::new(MIB)?;
    let mapped = Mapped::new(name, uuid, kind, parameters, &below.0)?;
    let device = mapped.device.clone();
    Made::on(&device, target, &[&device], vec![Box::new(below), Box::new(mapped)])
}

/// A volume of LVM on an encrypted disk: the upper one is meant.
fn stacked(target: &Path) -> Result<Made> {
    let below = Loop::new(MIB)?;
    let crypt = Mapped::new("crypt-2", "CRYPT-PLAIN-d", "crypt", &format!("aes-cbc-plain {KEY} 0 DEV 0"), &below.0)?;
    let upper = Mapped::new("vg-lv-2", "LVM-f00e", "linear", "DEV 0", &crypt.device)?;
    let device = upper.device.clone();
    Made::on(&device, target, &[&device], vec![Box::new(below), Box::new(crypt), Box::new(upper)])
}

fn on_array(target: &Path) -> Result<Made> {
    let (one, two) = (Loop::new(MIB)?, Loop::new(MIB)?);
    let array = Array::new([&one.0, &two.0])?;
    let device = array.device.clone();
    Made::on(&device, target, &[&device], vec![Box::new(one), Box::new(two), Box::new(array)])
}

pub(super) fn btrfs(target: &Path, devices: usize) -> Result<Made> {
    let loops = (0..devices).map(|_| Loop::new(BTRFS_MIB)).collect::<Result<Vec<_>>>()?;
    let nodes: Vec<PathBuf> = loops.iter().map(|one| one.0.clone()).collect();
    make_btrfs(&nodes.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    for node in &nodes {
        scan(node)?;
    }
    let mounted = mount(&nodes[0], target, "btrfs")?;
    let below = loops.into_iter().map(|one| Box::new(one) as Box<dyn Any>).collect();
    Ok(Made { truth: Truth::Disks(nodes), mounted, below })
}

/// Tells the kernel of a btrfs's device, as udev does: `BTRFS_IOC_SCAN_DEV` of `linux/btrfs.h`.
fn scan(node: &Path) -> Result<()> {
    let control = File::open("/dev/btrfs-control").context("cannot open /dev/btrfs-control")?;
    let mut arguments = [0; 4096];
    let name = node.as_os_str().as_bytes();
    arguments[8..8 + name.len()].copy_from_slice(name);
    raw::ioctl_bytes(control.as_fd(), 0x5000_9404, &mut arguments).context("BTRFS_IOC_SCAN_DEV")?;
    Ok(())
}

/// A bind of a subvolume, whose files have an anonymous number of their own.
fn subvolume(target: &Path) -> Result<Made> {
    let top = target.with_file_name("btrfs-subvolume-top");
    ground::make_directory(&top)?;
    let whole = btrfs(&top, 1)?;
    // `BTRFS_IOC_SUBVOL_CREATE`: `struct btrfs_ioctl_vol_args` as above.
    let mut arguments = [0; 4096];
    arguments[8..11].copy_from_slice(b"sub");
    let directory = File::open(&top)?;
    raw::ioctl_bytes(directory.as_fd(), 0x5000_940e, &mut arguments).context("BTRFS_IOC_SUBVOL_CREATE")?;
    drop(directory);
    let sub = top.join("sub");
    ensure!(oracle::dev_of(&sub)? != oracle::dev_of(&top)?, "a subvolume has no number of its own any more");
    let mounted = Mounted::bind(&sub, target)?;
    let Made { truth, mounted: of_top, below } = whole;
    let below = below.into_iter().chain([Box::new(of_top) as Box<dyn Any>]).collect();
    Ok(Made { truth, mounted, below })
}

/// The server and what it serves.
struct Serving {
    server: Option<Server>,
    served: Option<Mounted>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.server.take().map(Server::stop);
        let _ = self.served.take().map(|served| served.unmount_with(UnmountFlags::DETACH));
    }
}

fn nfs(target: &Path) -> Result<Made> {
    let root = ground::directory("served")?;
    let served = Mounted::tmpfs(&root)?;
    let serving = Serving { server: Some(Server::start(&[&root])?), served: Some(served) };
    let data = c"vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1";
    rustix::mount::mount("127.0.0.1:/", target, "nfs4", MountFlags::empty(), Some(data)).context("mount of nfs4")?;
    Ok(Made::none("network", Mounted::adopt(target), vec![Box::new(serving)]))
}

/// Nobody serves it: whoever asks it anything waits for ever, and so would this trial.
fn fuse(target: &Path, fstype: &str, shown: &str) -> Result<Made> {
    let connection = devices::open(Path::new("/dev/fuse"))?;
    let subtype = shown.split_once('.').map_or("", |(_, subtype)| subtype);
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,subtype={subtype}{}",
        connection.as_raw_fd(),
        if fstype == "fuseblk" { ",blksize=512" } else { "" }
    );
    let options = std::ffi::CString::new(options)?;
    let mut below: Vec<Box<dyn Any>> = vec![Box::new(connection)];
    let source = if fstype == "fuseblk" {
        let disk = Loop::new(MIB)?;
        let device = disk.0.clone();
        below.push(Box::new(disk));
        device
    } else {
        PathBuf::from("host:/dir")
    };
    rustix::mount::mount(&source, target, fstype, MountFlags::empty(), Some(options.as_c_str()))
        .with_context(|| format!("mount of {fstype}"))?;
    let mounted = Mounted::adopt(target);
    let mount = oracle::own_mount_at(target)?;
    ensure!(mount.fstype == shown, "the type is {}", mount.fstype);
    if fstype == "fuseblk" {
        ensure!(mount.dev == oracle::rdev_of(&source)?, "{fstype} has no disk's number any more: {}", mount.dev);
    }
    Ok(Made::none("process", mounted, below))
}

fn overlay(target: &Path) -> Result<Made> {
    let layers = ground::directory("layers")?;
    for name in ["lower", "upper", "work"] {
        ground::make_directory(&layers.join(name))?;
    }
    let options = format!("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work", layers.display());
    let options = std::ffi::CString::new(options)?;
    rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .context("mount of overlay")?;
    Ok(Made::none("layers", Mounted::adopt(target), Vec::new()))
}

fn tmpfs(target: &Path) -> Result<Made> {
    Ok(Made::none("memory", Mounted::tmpfs(target)?, Vec::new()))
}
