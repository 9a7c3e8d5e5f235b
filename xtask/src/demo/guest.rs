//! The demo in a guest: boots one with an empty disk and the tools for an ext4, and runs the demo inside it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::guest::{self, GuestDisk, GuestFile, Spec, ext4_tools};
use crate::{build, setup};

const DISK_MIB: u32 = 512;
/// Ten times what it takes under emulation.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Boots, runs, passes the output and the exit status through.
pub(super) fn run(kernel: &str, seed: u64) -> Result<ExitCode> {
    setup::ensure(&[kernel.to_owned()])?;
    let seed = seed.to_string();
    let command = ["xtask", "demo", "--native", "--disk", "/dev/disk/by-id/disk0", "--seed", &seed];
    let mut spec = Spec::new(kernel, &command);
    spec.timeout = TIMEOUT;
    spec.disks = vec![GuestDisk::nvme(DISK_MIB)];
    spec.modules = ["nvme", "ext4"].map(str::to_owned).to_vec();
    spec.files = ext4_tools()?;
    spec.files.extend(build::guest_binaries(spec.arch)?.into_iter().map(GuestFile::in_bin));
    spec.live = true;
    Ok(ExitCode::from(guest::run(&spec)?.status(&spec)?))
}
