//! A node: a guest with Debian's own root file system, systemd, containerd and podman, in which containers run as in a cluster.
//! The kernel is one of those that all guests have.

mod image;
pub(crate) mod rootfs;

/// Process 1 until the root file system is there.
pub(super) const INIT: &str = include_str!("node/init.sh");
/// What the unit of the root file system starts.
pub(super) const START: &str = include_str!("node/start.sh");
/// What the initramfs needs to reach the root file system, and containerd to make those of containers.
pub(super) const MODULES: [&str; 3] = ["nvme", "ext4", "overlay"];
/// The serial number of the disk with the root file system.
pub(super) const DISK: &str = "root";
/// What the kernel tells systemd: what to start, to say only what fails, and to end the guest when it cannot go on.
pub(super) const KERNEL_OPTIONS: &str = "systemd.unit=guest.service systemd.show_status=error systemd.crash_action=reboot \
                                         systemd.firstboot=no";
