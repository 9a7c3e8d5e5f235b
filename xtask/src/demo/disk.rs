//! The disk under the volume: the one that was named, or a loop device on a temporary file; with an ext4 on it.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::plan::Plan;
use super::undo::Undo;
use crate::host;

/// How much of a disk is looked at to call it blank; every common file system and partition table has left a mark by then.
const LOOK: usize = 128 * 1024;
/// `s_magic` of ext2, 3 and 4: at 56 in the superblock, which is at 1024.
const EXT_MAGIC_AT: usize = 1024 + 56;
const EXT_MAGIC: [u8; 2] = [0x53, 0xef];

/// A block device and its number.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
    /// `MAJ:MIN`.
    pub(super) number: String,
}

/// The disk, ready to be mounted.
pub(super) fn prepare(named: Option<&Path>, plan: &Plan, room: &Path, undo: &mut Undo) -> Result<Disk> {
    let path = match named {
        Some(path) => path.canonicalize().with_context(|| format!("cannot find the disk {}", path.display()))?,
        None => attach_loop(plan, room, undo)?,
    };
    let disk = Disk { number: number_of(&path)?, path };
    if !has_ext(&disk.path)? {
        host::capture(host::command("mkfs.ext4").args(["-q", "-F"]).arg(&disk.path))
            .context("mkfs.ext4 is part of e2fsprogs")?;
    }
    Ok(disk)
}

fn attach_loop(plan: &Plan, room: &Path, undo: &mut Undo) -> Result<PathBuf> {
    let image = room.join("disk");
    File::create(&image)
        .and_then(|file| file.set_len(plan.disk_size))
        .with_context(|| format!("cannot make the disk image {}", image.display()))?;
    let remove = image.clone();
    undo.later("the disk image", move || fs::remove_file(&remove).context("cannot remove it"));
    let said = host::capture(host::command("losetup").args(["--find", "--show"]).arg(&image))
        .context("the demo needs a free loop device, or --disk DEVICE")?;
    let device = PathBuf::from(said.trim());
    let detach = device.clone();
    undo.later("the loop device", move || host::capture(host::command("losetup").arg("-d").arg(&detach)).map(drop));
    Ok(device)
}

/// Whether it already has a file system of the ext family; an error if it has anything else.
fn has_ext(device: &Path) -> Result<bool> {
    let mut start = Vec::with_capacity(LOOK);
    File::open(device)
        .and_then(|file| file.take(LOOK as u64).read_to_end(&mut start))
        .with_context(|| format!("cannot read the start of {}", device.display()))?;
    if start.get(EXT_MAGIC_AT..EXT_MAGIC_AT + EXT_MAGIC.len()) == Some(&EXT_MAGIC) {
        return Ok(true);
    }
    if start.iter().any(|byte| *byte != 0) {
        bail!("{} holds data that is no ext4; name a blank disk, or one with an ext4 on it", device.display());
    }
    Ok(false)
}

fn number_of(device: &Path) -> Result<String> {
    let metadata = fs::metadata(device).with_context(|| format!("cannot stat {}", device.display()))?;
    if !metadata.file_type().is_block_device() {
        bail!("{} is no block device", device.display());
    }
    let number = metadata.rdev();
    let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    if Path::new("/sys/dev/block").join(&number).join("partition").exists() {
        bail!("{} is a partition, and limits are per disk; name the whole disk", device.display());
    }
    Ok(number)
}
