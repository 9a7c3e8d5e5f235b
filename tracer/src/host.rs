//! Read-only views of the node, each with its roots injected. Nothing here writes.

pub mod block;
pub mod block_users;
pub mod btrfs;
pub mod cgroup_handles;
pub mod cgroups;
pub mod disk;
pub mod facts;
pub mod inhabitants;
pub mod inotify;
pub mod io_stat;
pub mod kcmp;
pub mod mount_disks;
pub mod mount_tables;
pub mod namespaces;
pub mod node;
pub mod nsfs;
pub mod preemption;
pub mod references;
pub mod setattr;
pub mod statmount;
pub mod tasks;
pub mod uevents;
pub mod visit;
pub mod volume;

pub use disk::{Disk, NoDisk, Protected};
pub use facts::Facts;
