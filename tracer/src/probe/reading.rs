//! Which thread reads a mount table: what it lists of `/proc/PID/mounts` is told.

use aya::{
    Pod,
    maps::{Array, MapData},
};

use super::load::ProbeError;

/// Tells the programs which thread reads a mount table.
pub struct Reading(Array<MapData, ReadingValue>);

/// The thread as the kernel has it, and the last mount that was told.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ReadingValue {
    thread: u64,
    last: u64,
}

// SAFETY: two integers, without padding.
unsafe impl Pod for ReadingValue {}

impl Reading {
    pub(super) fn new(map: Array<MapData, ReadingValue>) -> Self {
        Self(map)
    }

    /// From here on, what this thread lists of `/proc/PID/mounts` is told; nothing is with `None`.
    pub fn set(&mut self, thread: Option<u64>) -> Result<(), ProbeError> {
        let value = ReadingValue { thread: thread.unwrap_or(0), last: 0 };
        self.0.set(0, value, 0).map_err(|source| ProbeError::Map { name: "READING", source })
    }
}
