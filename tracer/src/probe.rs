//! IN: gets the eBPF programs into the kernel. Reads the kernel's BTF, resolves what differs from kernel to kernel,
//! loads, attaches, and says of each hook whether it holds.
//!
//! One of the rooms that may be `unsafe`; it touches nothing on the node but its own programs.

pub mod btf;
pub mod hooks;
pub mod load;
pub mod losses;
pub mod options;
pub mod reading;
pub mod refusal;
pub mod ring;
pub mod running;
pub mod self_test;
mod throttled;
