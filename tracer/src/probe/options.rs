//! How to load.

use super::hooks::Method;

/// Default size of the ring of what changes in mount tables, in bytes: 200,000 mounts by one call, or 35,000 by as many.
pub const TABLES_BYTES: u32 = 16 << 20;
/// Default size of the ring of calls, in bytes: 20,000 calls in one burst.
pub const CALLS_BYTES: u32 = 8 << 20;

/// How to load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How function probes are attached; by what works when not said.
    pub method: Option<Method>,
    /// Size of each of the two rings in bytes, a power of two from a page on; [`TABLES_BYTES`] and [`CALLS_BYTES`] when not said.
    pub ring_bytes: Option<u32>,
}

impl Options {
    /// Size of the ring of what changes in mount tables.
    pub(super) fn tables_bytes(self) -> u32 {
        self.ring_bytes.unwrap_or(TABLES_BYTES)
    }

    /// Size of the ring of calls.
    pub(super) fn calls_bytes(self) -> u32 {
        self.ring_bytes.unwrap_or(CALLS_BYTES)
    }
}
