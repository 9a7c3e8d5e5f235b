//! `cargo xtask vm`: one command in a throw-away guest, its stdout, stderr and exit status passed through. Exits with 124
//! when time is up and 125 when the guest died, as `timeout` and container tools do.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::guest::{self, Arch, Bus, CONSOLE_TAIL, End, GuestDisk, GuestFile, Outcome, Spec, System};
use crate::{build, setup};

const TIMED_OUT: u8 = 124;
const DIED: u8 = 125;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The guest's architecture
    #[arg(long, value_enum, default_value = "amd64")]
    arch: Arch,
    /// A guest as a node of a cluster: Debian with systemd, containerd and podman, and the container image localhost/busybox:1
    #[arg(long)]
    node: bool,
    /// Kernel series: 6.1, 6.18, ... or `newest`
    #[arg(long, value_name = "SERIES", default_value = "6.1")]
    kernel: String,
    /// Kill the guest after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// The guest's memory
    #[arg(long, value_name = "MiB", default_value_t = 1024)]
    memory: u32,
    /// Attach an empty disk of this size: NVMe, /dev/disk/by-id/diskN, unless `virtio:` (/dev/vda) or `scsi:` (/dev/sda) stands before it;
    /// repeat for several
    #[arg(long = "disk", value_name = "[BUS:]MiB", value_parser = parse_disk)]
    disks: Vec<GuestDisk>,
    /// Put a file of the host into the guest, by default as /bin/NAME; repeat for several
    #[arg(long = "file", value_name = "HOSTPATH[:GUESTPATH]", value_parser = parse_file)]
    files: Vec<GuestFile>,
    /// Load a kernel module, with what it depends on; repeat for several
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,
    /// Do not build mount-tracer and xtask, and do not put them into the guest
    #[arg(long)]
    no_build: bool,
    /// Show the kernel's console too, on stderr after the end
    #[arg(long)]
    console: bool,
    /// The command and its arguments, found in the guest's /bin
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let system = if options.node { System::Node } else { System::Busybox };
    setup::ensure_for(options.arch, system, std::slice::from_ref(&options.kernel))?;
    let mut files = options.files;
    if !options.no_build {
        files.extend(build::guest_binaries(options.arch)?.into_iter().map(GuestFile::in_bin));
    }
    let spec = Spec {
        arch: options.arch,
        system,
        kernel: options.kernel,
        command: options.command,
        timeout: Duration::from_secs(options.timeout),
        memory_mib: options.memory,
        disks: options.disks,
        files,
        modules: options.modules,
        modules_if_any: Vec::new(),
        live: true,
        label: None,
    };
    let outcome = guest::run(&spec)?;
    if options.console {
        eprintln!("{}", outcome.console);
    }
    Ok(ExitCode::from(report(&spec, &outcome)))
}

/// Says how it ended and gives the exit status.
fn report(spec: &Spec, outcome: &Outcome) -> u8 {
    let booted = outcome.boot_seconds.map_or(String::from("not booted"), |seconds| format!("booted in {seconds:.1} s"));
    let times = format!("{booted}, {:.1} s in all", outcome.seconds);
    match outcome.end {
        End::Exited(status) => {
            eprintln!("[guest {}: {times}, exit status {status}]", spec.kernel);
            status
        }
        End::TimedOut => {
            eprintln!("{}", outcome.console_tail(CONSOLE_TAIL));
            eprintln!(
                "[guest {}: {times}, killed after {} s; raise --timeout if it needs more]",
                spec.kernel,
                spec.timeout.as_secs()
            );
            TIMED_OUT
        }
        End::Died => {
            eprintln!("{}", outcome.console_tail(CONSOLE_TAIL));
            eprintln!("[guest {}: {times}, the guest died; its console is above]", spec.kernel);
            DIED
        }
    }
}

fn parse_disk(text: &str) -> Result<GuestDisk> {
    let (bus, mib) = match text.split_once(':') {
        None | Some(("nvme", _)) => (Bus::Nvme, text.trim_start_matches("nvme:")),
        Some(("virtio", mib)) => (Bus::Virtio, mib),
        Some(("scsi", mib)) => (Bus::Scsi, mib),
        Some((other, _)) => bail!("`{other}` is no bus; write nvme, virtio or scsi"),
    };
    Ok(GuestDisk { bus, mib: mib.parse().with_context(|| format!("`{mib}` is no number of MiB"))? })
}

fn parse_file(text: &str) -> Result<GuestFile> {
    let (host, guest) = text.split_once(':').unwrap_or((text, ""));
    let host = PathBuf::from(host);
    if !host.is_file() {
        bail!("{} is no file of this machine", host.display());
    }
    Ok(if guest.is_empty() { GuestFile::in_bin(host) } else { GuestFile { host, guest: guest.to_owned() } })
}
