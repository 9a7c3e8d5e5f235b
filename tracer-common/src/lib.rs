//! THE WIRE: layout, ids and names that cross the kernel boundary, and nothing else.
//!
//! Both sides use this crate; it knows neither aya nor the agent. Records are `repr(C)`, hold no padding, no bool and
//! no Rust enum: `zerocopy` refuses to derive `IntoBytes` for a type with padding, and `tests/golden.rs` pins every
//! offset.
#![no_std]

pub mod arch;
pub mod fact;
pub mod hook;
pub mod map;
pub mod offset;
