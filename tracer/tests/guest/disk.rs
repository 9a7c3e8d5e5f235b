//! The guest's disk: formatted once, with a partition behind the file system, and only if it was blank; and a spare one
//! that a trial may pull out.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::ioctl::{NoArg, opcode};
use rustix::mount::MountFlags;

use super::{ground, oracle};

/// The disk's serial number, which is also its name by id: kernels that look for disks side by side number them anew.
const FIRST: &str = "disk0";
/// The spare disk's serial number, which is also its name by id.
const SPARE: &str = "disk1";
/// The file system on the whole disk ends before the partition begins.
const FILE_SYSTEM_KIB: u32 = 200 * 1024;
const PARTITION_START_SECTOR: u32 = 256 * 2048;
const PARTITION_SECTORS: u32 = 128 * 2048;
/// The MBR's disk signature, by which a second run knows its own work.
const SIGNATURE: [u8; 4] = *b"MTGT";
const SIGNATURE_AT: usize = 440;
const FIRST_ENTRY_AT: usize = 446;
/// `include/uapi/linux/fs.h`: `_IO(0x12, 95)`.
const BLKRRPART: rustix::ioctl::Opcode = opcode::none(0x12, 95);

/// The disk that the trials may write to.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// The whole disk, with a file system on it.
    pub(crate) whole: PathBuf,
    /// A partition of it, with a file system of its own. Not to be mounted while the whole disk is.
    pub(crate) partition: PathBuf,
    /// What both are mounted as.
    pub(crate) fstype: &'static str,
}

impl Disk {
    /// The disk, formatted at the first use.
    pub(crate) fn get() -> Result<Self> {
        static DISK: OnceLock<Result<Disk, String>> = OnceLock::new();
        let disk = DISK.get_or_init(|| prepare().map_err(|error| format!("{error:#}")));
        disk.clone().map_err(|error| anyhow!("{error}"))
    }

    /// `MAJ:MIN` of the whole disk.
    pub(crate) fn number(&self) -> Result<String> {
        oracle::rdev_of(&self.whole)
    }

    /// mount(2) of the whole disk.
    pub(crate) fn mount(&self, target: &Path) -> Result<ground::Mounted> {
        mount(&self.whole, target, self.fstype)
    }

    /// mount(2) of the partition.
    pub(crate) fn mount_partition(&self, target: &Path) -> Result<ground::Mounted> {
        mount(&self.partition, target, self.fstype)
    }
}

/// A second disk, which can be pulled out: a whole file system without partitions.
#[derive(Debug)]
pub(crate) struct Spare {
    device: PathBuf,
    fstype: &'static str,
}

impl Spare {
    /// The spare disk, formatted now; for one trial.
    pub(crate) fn new() -> Result<Self> {
        let device = by_id(SPARE)?;
        refuse_unless_blank(&device)?;
        make_file_system(&device, None)?;
        let fstype = mountable_as(&device)?;
        Ok(Self { device, fstype })
    }

    /// `MAJ:MIN` of the disk.
    pub(crate) fn number(&self) -> Result<String> {
        oracle::rdev_of(&self.device)
    }

    /// mount(2) of it.
    pub(crate) fn mount(&self, target: &Path) -> Result<ground::Mounted> {
        mount(&self.device, target, self.fstype)
    }

    /// Takes its controller off the bus, as pulling the plug does. What is mounted stays, without a disk.
    pub(crate) fn pull_out() -> Result<()> {
        for controller in std::fs::read_dir("/sys/class/nvme").context("cannot list the NVMe controllers")? {
            let controller = controller?.path();
            if std::fs::read_to_string(controller.join("serial"))?.trim() == SPARE {
                return ground::write_file(&controller.join("device/remove"), "1");
            }
        }
        bail!("no NVMe controller has the serial number {SPARE}")
    }
}

fn by_id(serial: &str) -> Result<PathBuf> {
    let link = Path::new("/dev/disk/by-id").join(serial);
    std::fs::canonicalize(&link).with_context(|| format!("there is no {}; give the guest two disks", link.display()))
}

fn mount(device: &Path, target: &Path, fstype: &str) -> Result<ground::Mounted> {
    rustix::mount::mount(device, target, fstype, MountFlags::empty(), None)
        .with_context(|| format!("cannot mount {} at {} as {fstype}", device.display(), target.display()))?;
    Ok(ground::Mounted::adopt(target))
}

fn prepare() -> Result<Disk> {
    let whole = std::env::var_os("MOUNT_TRACER_GUEST_DISK").map_or_else(|| by_id(FIRST), |disk| Ok(disk.into()))?;
    refuse_unless_blank(&whole)?;
    make_file_system(&whole, Some(FILE_SYSTEM_KIB))?;
    write_partition_table(&whole)?;
    let partition = partition_of(&whole)?;
    make_file_system(&partition, None)?;
    let fstype = mountable_as(&whole)?;
    Ok(Disk { whole, partition, fstype })
}

fn refuse_unless_blank(disk: &Path) -> Result<()> {
    let mut start = vec![0; 64 * 1024];
    let mut file = File::open(disk).with_context(|| format!("cannot open {}; is this the guest?", disk.display()))?;
    file.read_exact(&mut start).with_context(|| format!("cannot read the start of {}", disk.display()))?;
    let ours = start[SIGNATURE_AT..SIGNATURE_AT + SIGNATURE.len()] == SIGNATURE;
    let blank = start.iter().all(|byte| *byte == 0);
    ensure!(ours || blank, "{} holds data, and these tests only format a blank disk", disk.display());
    Ok(())
}

/// With e2fsprogs, or with the one of busybox, which makes ext2.
fn make_file_system(device: &Path, kib: Option<u32>) -> Result<()> {
    let size = kib.map(|kib| kib.to_string());
    let size_with_unit = kib.map(|kib| format!("{kib}k"));
    let tries: [(&[&str], &Option<String>); 3] = [
        (&["mkfs.ext4", "-q", "-F"], &size_with_unit),
        (&["mke2fs", "-F"], &size),
        (&["busybox", "mke2fs", "-F"], &size),
    ];
    let mut said = Vec::new();
    for (words, size) in tries {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(device).args(size);
        match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => said.push(format!("{}: {}", words[0], String::from_utf8_lossy(&output.stderr).trim_end())),
            Err(error) => said.push(format!("{}: {error}", words[0])),
        }
    }
    bail!("cannot make a file system on {}: {}", device.display(), said.join("; "))
}

fn write_partition_table(disk: &Path) -> Result<()> {
    let context = || format!("cannot write a partition table to {}", disk.display());
    let mut file = OpenOptions::new().read(true).write(true).open(disk).with_context(context)?;
    let mut sector = [0; 512];
    file.read_exact(&mut sector).with_context(context)?;
    sector[SIGNATURE_AT..SIGNATURE_AT + SIGNATURE.len()].copy_from_slice(&SIGNATURE);
    let entry = &mut sector[FIRST_ENTRY_AT..FIRST_ENTRY_AT + 16];
    // Type 0x83 is Linux; the addresses by cylinder, head and sector are read by nobody.
    entry[4] = 0x83;
    entry[8..12].copy_from_slice(&PARTITION_START_SECTOR.to_le_bytes());
    entry[12..16].copy_from_slice(&PARTITION_SECTORS.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    file.seek(SeekFrom::Start(0)).with_context(context)?;
    file.write_all(&sector).with_context(context)?;
    file.sync_all().with_context(context)?;
    // SAFETY: BLKRRPART takes no argument and touches no memory of this process.
    unsafe { rustix::ioctl::ioctl(&file, NoArg::<BLKRRPART>::new()) }
        .with_context(|| format!("the kernel did not re-read the partition table of {}", disk.display()))
}

fn partition_of(disk: &Path) -> Result<PathBuf> {
    let name = disk.to_str().context("a disk's name is UTF-8")?;
    let infix = if name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    let partition = PathBuf::from(format!("{name}{infix}1"));
    ensure!(partition.exists(), "{} did not appear after the partition table was written", partition.display());
    Ok(partition)
}

fn mountable_as(device: &Path) -> Result<&'static str> {
    let probe = ground::directory("probe")?;
    let mut said = Vec::new();
    for fstype in ["ext4", "ext2"] {
        match mount(device, &probe, fstype) {
            Ok(mounted) => return mounted.unmount().map(|()| fstype),
            Err(error) => said.push(format!("{error:#}")),
        }
    }
    bail!("{}; does the guest carry the ext4 module?", said.join("; "))
}
