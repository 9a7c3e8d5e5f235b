//! What differs between the architectures of processors: by which functions the kernel takes system calls in, where those find
//! their arguments, and how calls are numbered.
//!
//! The agent's target says which one it is. The programs' target is always BPF; for them `bpf_target_arch` says it, which aya-build
//! sets to the agent's.

#[cfg(any(target_arch = "aarch64", bpf_target_arch = "aarch64"))]
mod arm64;
#[cfg(any(target_arch = "x86_64", bpf_target_arch = "x86_64"))]
mod x86_64;

#[cfg(any(target_arch = "aarch64", bpf_target_arch = "aarch64"))]
pub use arm64::*;
#[cfg(any(target_arch = "x86_64", bpf_target_arch = "x86_64"))]
pub use x86_64::*;
