//! PURE: why a limit could not be read or written, what that means and what to do. Touches nothing.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::io_max::IoMaxError;
use crate::device::Dev;
use crate::limit::decide::Reason;

/// Why there is no limit, or another one than wanted.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The hierarchy's root.
    #[error("cannot open the cgroup root {}; mount cgroup v2 there, or name the place where it is", path.display())]
    Root {
        /// What was named.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// ENOENT of the directory, or of a file in one that was removed; ENODEV of a file that was open before.
    #[error("cannot {operation} the cgroup {cgroup}: it is gone, and its limits with it; nothing is left to do")]
    CgroupGone {
        /// `open`, `read` or `write`.
        operation: &'static str,
        /// Its path.
        cgroup: String,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The path is the same, the cgroup is not.
    #[error("the cgroup {cgroup} has the id {found} instead of {expected}: it was made anew; wait for its own mounts")]
    AnotherCgroup {
        /// Its path.
        cgroup: String,
        /// The id that was asked for.
        expected: u64,
        /// The id that it has.
        found: u64,
    },
    /// ELOOP, EXDEV, ENOTDIR and whatever else an open says.
    #[error(
        "cannot open the cgroup {cgroup}: it is no directory of this hierarchy that the agent may open; run the agent \
             as root with the host's whole cgroup hierarchy"
    )]
    NotOpened {
        /// Its path.
        cgroup: String,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The cgroup is there, `io.max` is not.
    #[error(
        "cannot {operation} io.max of {cgroup} for the disk {disk}: the io controller is off there; write +io to \
             cgroup.subtree_control of every cgroup above it"
    )]
    IoControllerOff {
        /// `read` or `write`.
        operation: &'static str,
        /// Its path.
        cgroup: String,
        /// The whole disk.
        disk: Dev,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// ENODEV while the cgroup is there.
    #[error(
        "cannot {operation} io.max of {cgroup} for the disk {disk}: the disk is gone; nothing is to be done until it \
             comes back"
    )]
    DiskGone {
        /// `read` or `write`.
        operation: &'static str,
        /// Its path.
        cgroup: String,
        /// The whole disk.
        disk: Dev,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// EROFS.
    #[error(
        "cannot {operation} io.max of {cgroup} for the disk {disk}: the agent sees the cgroups read-only; mount the \
             host's /sys/fs/cgroup writable into the agent's container"
    )]
    ReadOnly {
        /// `read` or `write`.
        operation: &'static str,
        /// Its path.
        cgroup: String,
        /// The whole disk.
        disk: Dev,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// EPERM or EACCES.
    #[error(
        "cannot {operation} io.max of {cgroup} for the disk {disk}: the agent may not; run it as root in the host's \
             cgroup namespace"
    )]
    Forbidden {
        /// `read` or `write`.
        operation: &'static str,
        /// Its path.
        cgroup: String,
        /// The whole disk.
        disk: Dev,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// EBUSY.
    #[error(
        "cannot {operation} io.max of {cgroup} for the disk {disk}: the disk's queue is being changed; it is tried \
             again with the next mount"
    )]
    Busy {
        /// `read` or `write`.
        operation: &'static str,
        /// Its path.
        cgroup: String,
        /// The whole disk.
        disk: Dev,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// EINVAL or ERANGE: the policy lets no such value pass, so this program is wrong about the kernel.
    #[error(
        "cannot {operation} io.max of {cgroup} for the disk {disk}: the kernel takes no such limit; report it with the \
             kernel's version"
    )]
    Malformed {
        /// `read` or `write`.
        operation: &'static str,
        /// Its path.
        cgroup: String,
        /// The whole disk.
        disk: Dev,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// Any other error.
    #[error("cannot {operation} io.max of {cgroup} for the disk {disk}; see the cause and the kernel's log")]
    Io {
        /// `read` or `write`.
        operation: &'static str,
        /// Its path.
        cgroup: String,
        /// The whole disk.
        disk: Dev,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The file holds something unexpected.
    #[error(
        "cannot read io.max of {cgroup} for the disk {disk}: its text is not understood; report it with the kernel's \
             version"
    )]
    NotUnderstood {
        /// Its path.
        cgroup: String,
        /// The whole disk.
        disk: Dev,
        /// The line.
        #[source]
        source: IoMaxError,
    },
    /// Written without an error, and yet not there.
    #[error(
        "io.max of {cgroup} for the disk {disk} says `{found}` after `{wanted}` was written; look for another program \
             that writes it"
    )]
    ReadBackDiffers {
        /// Its path.
        cgroup: String,
        /// The whole disk.
        disk: Dev,
        /// What was written.
        wanted: String,
        /// What was read.
        found: String,
    },
}

impl ApplyError {
    /// An error of the cgroup's directory.
    pub(super) fn opening(cgroup: &str, errno: Errno) -> Self {
        let (cgroup, source) = (cgroup.to_owned(), errno.into());
        match errno {
            Errno::NOENT | Errno::NODEV => Self::CgroupGone { operation: "open", cgroup, source },
            _ => Self::NotOpened { cgroup, source },
        }
    }

    /// An error of `io.max`; `alive` is whether its cgroup still is.
    pub(super) fn io_max(operation: &'static str, cgroup: &str, disk: Dev, errno: Errno, alive: bool) -> Self {
        let (cgroup, source) = (cgroup.to_owned(), io::Error::from(errno));
        match errno {
            Errno::NOENT | Errno::NODEV if !alive => Self::CgroupGone { operation, cgroup, source },
            Errno::NOENT => Self::IoControllerOff { operation, cgroup, disk, source },
            Errno::NODEV => Self::DiskGone { operation, cgroup, disk, source },
            Errno::ROFS => Self::ReadOnly { operation, cgroup, disk, source },
            Errno::PERM | Errno::ACCESS => Self::Forbidden { operation, cgroup, disk, source },
            Errno::BUSY => Self::Busy { operation, cgroup, disk, source },
            Errno::INVAL | Errno::RANGE => Self::Malformed { operation, cgroup, disk, source },
            _ => Self::Io { operation, cgroup, disk, source },
        }
    }

    /// The reason of the decision.
    pub fn reason(&self) -> Reason {
        match self {
            Self::CgroupGone { .. } | Self::AnotherCgroup { .. } => Reason::CgroupGone,
            Self::IoControllerOff { .. } => Reason::IoControllerOff,
            Self::DiskGone { .. } => Reason::DiskGone,
            Self::ReadOnly { .. } => Reason::CgroupReadOnly,
            Self::ReadBackDiffers { .. } => Reason::ReadBackDiffers,
            Self::Root { .. } | Self::NotOpened { .. } | Self::NotUnderstood { .. } => Reason::IoMaxUnreadable,
            Self::Forbidden { operation, .. } | Self::Io { operation, .. } if *operation == "read" => {
                Reason::IoMaxUnreadable
            }
            Self::Forbidden { .. } | Self::Busy { .. } | Self::Malformed { .. } | Self::Io { .. } => {
                Reason::WriteRefused
            }
        }
    }
}
