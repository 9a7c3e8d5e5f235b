//! Guests: a Debian kernel under emulation with an initramfs of ours, up in seconds, or with Debian's own system, gone without
//! a trace. `run` is the one way in, for `vm`, `test` and `demo`.

mod arch;
pub(crate) mod archive;
mod btrfs;
mod ext4;
mod initramfs;
pub(crate) mod kernels;
mod labelled;
mod modules;
pub(crate) mod node;
mod qemu;
pub(crate) mod sources;

pub(crate) use arch::Arch;
pub(crate) use btrfs::btrfs_image;
pub(crate) use ext4::{btrfs_tools, ext4_tools};

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

/// Lines of the console that are shown when a guest came to no end of its own.
pub(crate) const CONSOLE_TAIL: usize = 60;

/// What a guest has besides its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// Busybox in memory, up in seconds.
    Busybox,
    /// Debian with systemd, containerd and podman.
    Node,
}

/// A guest to run: one kernel, one command.
pub(crate) struct Spec {
    pub(crate) arch: Arch,
    pub(crate) system: System,
    /// A series: "6.1", "6.18", "newest".
    pub(crate) kernel: String,
    /// The command and its arguments, found in the guest's directories of programs.
    pub(crate) command: Vec<String>,
    /// After this long the guest is killed.
    pub(crate) timeout: Duration,
    pub(crate) memory_mib: u32,
    /// Empty disks; among those of `NVMe` number N is /dev/disk/by-id/diskN in the guest.
    pub(crate) disks: Vec<GuestDisk>,
    /// They replace what is there, except the libraries of a node.
    pub(crate) files: Vec<GuestFile>,
    /// Kernel modules to load before the command, with what they depend on.
    pub(crate) modules: Vec<String>,
    /// The same, but only those that this kernel has.
    pub(crate) modules_if_any: Vec<String>,
    /// Pass stdout through as it comes. Stderr always is.
    pub(crate) live: bool,
    /// Stands before each line that is passed through, for guests that run at once.
    pub(crate) label: Option<String>,
}

impl Spec {
    /// A guest with the machine's own architecture and the usual size: 1 GiB, no disk, two minutes, quiet.
    pub(crate) fn new(kernel: &str, command: &[&str]) -> Self {
        Self {
            arch: Arch::Amd64,
            system: System::Busybox,
            kernel: kernel.to_owned(),
            command: command.iter().map(ToString::to_string).collect(),
            timeout: Duration::from_mins(2),
            memory_mib: 1024,
            disks: Vec::new(),
            files: Vec::new(),
            modules: Vec::new(),
            modules_if_any: Vec::new(),
            live: false,
            label: None,
        }
    }
}

/// How a disk is attached to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bus {
    Nvme,
    /// `/dev/vda` and so on.
    Virtio,
    /// `/dev/sda` and so on.
    Scsi,
}

/// An empty disk of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuestDisk {
    pub(crate) bus: Bus,
    pub(crate) mib: u32,
}

impl GuestDisk {
    pub(crate) fn nvme(mib: u32) -> Self {
        Self { bus: Bus::Nvme, mib }
    }
}

/// A file of the host to put into the guest, executable.
#[derive(Clone, Debug)]
pub(crate) struct GuestFile {
    pub(crate) host: PathBuf,
    /// Its absolute path in the guest.
    pub(crate) guest: String,
}

impl GuestFile {
    /// A program of the host, at `/bin` under its own name.
    pub(crate) fn in_bin(host: PathBuf) -> Self {
        let name = host.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { host, guest: format!("/bin/{name}") }
    }
}

/// How the command in the guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its exit status; 128 + N if signal N killed it.
    Exited(u8),
    /// Killed from outside after `Spec::timeout`.
    TimedOut,
    /// The guest went down before the command ended: a panic, or a power-off from inside.
    Died,
}

/// What came out of a guest; its stderr has been passed through.
pub(crate) struct Outcome {
    pub(crate) stdout: Vec<u8>,
    pub(crate) end: End,
    /// From the start of the emulator to the end of the command.
    pub(crate) seconds: f64,
    /// From the start of the emulator to the start of the command, if it came that far.
    pub(crate) boot_seconds: Option<f64>,
    /// What the kernel wrote to its console.
    pub(crate) console: String,
}

impl Outcome {
    /// The command's exit status, 128 + N if signal N killed it; what the console said last, where it did not come to its end.
    pub(crate) fn status(&self, spec: &Spec) -> Result<u8> {
        let tail = || self.console_tail(CONSOLE_TAIL);
        match self.end {
            End::Exited(status) => Ok(status),
            End::TimedOut => bail!("the guest was killed after {:?}; its console:\n{}", spec.timeout, tail()),
            End::Died => bail!("the guest died; its console:\n{}", tail()),
        }
    }

    /// What it wrote to its stdout, if it succeeded.
    pub(crate) fn success(self, spec: &Spec) -> Result<Vec<u8>> {
        match self.status(spec)? {
            0 => Ok(self.stdout),
            status => bail!("the command in the guest ended with status {status}; what it said is above"),
        }
    }

    /// The last lines of the console.
    pub(crate) fn console_tail(&self, lines: usize) -> String {
        let all: Vec<&str> = self.console.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// Boots the guest, runs the command, and returns what it wrote and how it ended.
pub(crate) fn run(spec: &Spec) -> Result<Outcome> {
    let kernel = kernels::require(spec.arch, &spec.kernel)?;
    qemu::run(spec, &kernel)
}
