//! A node: a guest with Debian's own root file system, systemd, containerd and podman, in which containers run as in a cluster.
//! The kernel is one of those that all guests have.

mod image;
pub(crate) mod rootfs;
mod tar;
