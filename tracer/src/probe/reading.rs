//! Which thread reads a mount table: what it lists of `/proc/PID/mounts` is told.

use aya::{
    Pod,
    maps::{Array, MapData},
};
use tracer_common::map;

use super::load::ProbeError;

/// Tells the programs which thread reads a mount table.
pub struct Reading(Array<MapData, ReadingValue>);

/// The value of the map.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct ReadingValue(map::Reading);

// SAFETY: no padding, by `tracer_common::map`.
unsafe impl Pod for ReadingValue {}

impl Reading {
    pub(super) fn new(map: Array<MapData, ReadingValue>) -> Self {
        Self(map)
    }

    /// From here on, what this thread lists of `/proc/PID/mounts` is told; nothing is with `None`.
    pub fn set(&mut self, thread: Option<u64>) -> Result<(), ProbeError> {
        let value = ReadingValue(map::Reading { thread: thread.unwrap_or(0), last: 0 });
        self.0.set(0, value, 0).map_err(|source| ProbeError::Map { name: "READING", source })
    }
}
