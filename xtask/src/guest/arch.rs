//! The architectures that a guest may have: one table of what differs between them, and the busybox of one that is not ours.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::archive::Archive;
use crate::host;

/// The suite that a busybox for another architecture is of.
const SUITE: &str = "bookworm";
const BUSYBOX: &str = "busybox-static";

/// By Debian's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arch {
    /// x86-64, as the machine that guests run on.
    Amd64,
    /// 64-bit ARM, with another instruction set than the machine's.
    Arm64,
}

impl Arch {
    /// Debian's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The target of everything that runs in a guest.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The emulator, and Debian's package of it.
    pub(crate) fn emulator(self) -> (&'static str, &'static str) {
        match self {
            Self::Amd64 => ("qemu-system-x86_64", "qemu-system-x86"),
            Self::Arm64 => ("qemu-system-aarch64", "qemu-system-arm"),
        }
    }

    /// The emulated machine.
    pub(super) fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "q35,sata=off,i8042=off",
            Self::Arm64 => "virt",
        }
    }

    /// What the kernel is told of the machine.
    pub(super) fn kernel_options(self) -> &'static str {
        match self {
            Self::Amd64 => "console=ttyS0 tsc=reliable",
            Self::Arm64 => "console=ttyAMA0",
        }
    }

    /// What tells the things of this one from those of the machine's own: a suffix of their names.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Amd64 => "",
            Self::Arm64 => "-arm64",
        }
    }

    /// Its static busybox.
    pub(crate) fn busybox(self) -> Result<PathBuf> {
        match self {
            Self::Amd64 => host::find_program("busybox").context("there is no static busybox; run `cargo xtask setup`"),
            Self::Arm64 => self.fetched_busybox(),
        }
    }

    /// Whether its busybox has to be fetched: that of the machine's own architecture is a package of the machine.
    pub(crate) fn lacks_busybox(self) -> Result<bool> {
        Ok(self != Self::Amd64 && !self.fetched_busybox()?.is_file())
    }

    fn fetched_busybox(self) -> Result<PathBuf> {
        Ok(host::guest_dir()?.join(format!("busybox{}", self.suffix())))
    }

    /// Downloads its busybox, for guests only.
    pub(crate) fn fetch_busybox(self) -> Result<()> {
        let to = self.fetched_busybox()?;
        let work = to.with_extension("new");
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).with_context(|| format!("creating {}", work.display()))?;
        Archive::of_suite(self, SUITE)?.download(&[BUSYBOX.to_owned()], &work)?;
        for package in super::archive::packages_in(&work)? {
            host::capture(host::command("dpkg-deb").arg("-x").arg(&package).arg(&work))?;
        }
        let places = ["bin/busybox", "usr/bin/busybox"].map(|name| work.join(name));
        let from = places.iter().find(|path| path.is_file());
        let from = from.with_context(|| format!("the package {BUSYBOX} holds no busybox"))?;
        fs::rename(from, &to).with_context(|| format!("renaming {} to {}", from.display(), to.display()))?;
        fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))
    }
}
