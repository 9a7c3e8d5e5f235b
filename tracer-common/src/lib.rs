//! Layout, ids and names that cross the kernel boundary.
#![no_std]
