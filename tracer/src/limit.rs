//! Limits on disks: what the policy wants, what is decided, what was written. All pure but for
//! [`policy_file`], which reads one file, and [`apply`], the only room that writes to the node.

pub mod apply;
pub mod decide;
pub mod ledger;
pub mod limiter;
pub mod limits;
pub mod order;
pub mod policy;
pub mod policy_file;
pub mod quantity;

pub use limits::Limits;
