//! A small btrfs for a guest, in a file: the kernel mounts a part of a file system in another way than a whole one.

use std::fs::File;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow};

use super::GuestFile;
use crate::{build, host};

/// The least that mkfs.btrfs takes, data and metadata mixed.
const BYTES: u64 = 16 << 20;
/// Where it lies in the guest.
const IMAGE: &str = "/btrfs.img";

/// The file, made once for all guests of a run.
pub(crate) fn btrfs_image() -> Result<GuestFile> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    let host = made.clone().map_err(|error| anyhow!("{error}"))?;
    Ok(GuestFile { host, guest: IMAGE.to_owned() })
}

fn make() -> Result<PathBuf> {
    let image = build::target_dir()?.join("btrfs.img");
    let made = File::create(&image).and_then(|file| file.set_len(BYTES));
    made.with_context(|| format!("cannot make {}", image.display()))?;
    host::capture(host::command("mkfs.btrfs").args(["-q", "--mixed"]).arg(&image))
        .context("mkfs.btrfs is part of btrfs-progs")?;
    Ok(image)
}
