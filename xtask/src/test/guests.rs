//! The steps that need a kernel: the guest tests and the demo, in a fresh guest per kernel and kind of attachment.

use std::path::{Path, PathBuf};
use std::slice;
use std::time::Duration;

use anyhow::{Context, Result};

use super::count::Count;
use super::plan::{self, Guest};
use super::{Job, Report};
use crate::guest::{self, Arch, Bus, GuestDisk, GuestFile, Spec, System, btrfs_image, btrfs_tools, ext4_tools};
use crate::{build, host, image, setup};

/// Under emulation all tests take some minutes, by how busy the machine is.
const TIMEOUT: Duration = Duration::from_mins(30);
/// The disk that the tests format, and a spare one that a test pulls out.
const DISKS: [GuestDisk; 2] = [GuestDisk { bus: Bus::Nvme, mib: 512 }, GuestDisk { bus: Bus::Nvme, mib: 64 }];
/// Beside them where every kind of disk is tried.
const MORE_DISKS: [GuestDisk; 3] = [
    GuestDisk { bus: Bus::Nvme, mib: 32 },
    GuestDisk { bus: Bus::Virtio, mib: 64 },
    GuestDisk { bus: Bus::Scsi, mib: 32 },
];
/// And the modules for all kinds; some kernels have one built in, or not at all, which the trials know of.
const DISK_MODULES: [&str; 15] = [
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "nbd",
    "dm_mod",
    "dm_crypt",
    "dm_multipath",
    "dm_round_robin",
    "md_mod",
    "raid1",
    "cbc",
    "nvmet",
    "nvme_loop",
    "fuse",
    "overlay",
];
/// This program, also if its file has been built anew since.
const MYSELF: &str = "/proc/self/exe";
/// Where the harness lies in the guest.
const TESTS: &str = "/bin/guest-tests";
/// Where the agent's container image lies in a node.
const IMAGE: &str = "/usr/share/mount-tracer/mount-tracer.tar";

pub(super) fn run(report: &mut Report, guests: &[Guest]) {
    let binaries = built(report, "build of the binaries for guests", || build::guest_binaries(Arch::Amd64));
    let tests = || build::guest_tests(Arch::Amd64);
    let tests = binaries.is_some().then(|| built(report, "build of the guest tests", tests)).flatten();
    let image = || image::make(Arch::Amd64, None).map(|made| made.file);
    let image = tests.is_some().then(|| built(report, "container image", image)).flatten();
    match (&binaries, &tests, &image) {
        (Some(binaries), Some(tests), Some(image)) => {
            let job = |guest| job(guest, Built { binaries, tests, image });
            report.at_once(guests.iter().map(job).collect());
        }
        _ => guests.iter().for_each(|guest| report.skip(&guest.name())),
    }
    for kernel in &plan::demos(guests) {
        let name = format!("demo on {kernel}");
        match binaries {
            Some(_) => drop(report.step(&name, || demo(kernel))),
            None => report.skip(&name),
        }
    }
}

/// What is put into guests.
#[derive(Clone, Copy)]
struct Built<'a> {
    binaries: &'a [PathBuf],
    tests: &'a Path,
    /// The agent's container image, for a node.
    image: &'a Path,
}

fn job<'a>(guest: &'a Guest, built: Built<'a>) -> Job<'a> {
    Job { name: guest.name(), gates: guest.gates, work: Box::new(move || guest_tests(guest, built)) }
}

/// A step that makes what later ones need.
fn built<T: Send>(report: &mut Report, name: &str, build: impl FnOnce() -> Result<T> + Send) -> Option<T> {
    let mut made = None;
    report.step(name, || {
        made = Some(build()?);
        Ok(Count::default())
    });
    made
}

fn guest_tests(guest: &Guest, built: Built<'_>) -> Result<Count> {
    if !guest.gates {
        // The set-up has not fetched it: the others must not wait for a kernel that the archive may not have today.
        setup::ensure(slice::from_ref(&guest.kernel))?;
    }
    let mut spec = Spec::new(&guest.kernel, &[]);
    spec.system = guest.system();
    spec.command = guest.command();
    spec.timeout = TIMEOUT;
    spec.disks = DISKS.to_vec();
    // A node has tools of its own.
    if guest.system() == System::Node {
        spec.files.push(GuestFile { host: built.image.to_owned(), guest: IMAGE.to_owned() });
    } else {
        spec.modules = ["nvme", "ext4", "loop", "crc32c", "btrfs", "nfsd", "nfsv4"].map(String::from).to_vec();
        spec.files.extend(ext4_tools()?);
        spec.files.push(btrfs_image()?);
    }
    if guest.tries_disks() {
        spec.disks.extend(MORE_DISKS);
        spec.modules_if_any = DISK_MODULES.map(String::from).to_vec();
        spec.files.extend(btrfs_tools()?);
    }
    spec.files.extend(built.binaries.iter().cloned().map(GuestFile::in_bin));
    spec.files.push(GuestFile { host: built.tests.to_owned(), guest: TESTS.to_owned() });
    spec.live = true;
    spec.label = Some(guest.label());
    let outcome = guest::run(&spec)?;
    let count = Count::of(&String::from_utf8_lossy(&outcome.stdout));
    count.checked(outcome.status(&spec)? == 0, "the guest tests")
}

/// The same on the other architecture, which takes as long as several guests of our own. It boots its guests one after the other.
pub(super) fn arm64(report: &mut Report) {
    report.step("guest tests on arm64, operations only", || {
        host::stream_to_the_end(host::command(MYSELF).arg("arm64"))?;
        Ok(Count::one())
    });
}

/// The demo as a user starts it.
fn demo(kernel: &str) -> Result<Count> {
    host::stream_to_the_end(host::command(MYSELF).args(["demo", "--kernel", kernel])).context("the demo")?;
    Ok(Count::one())
}
