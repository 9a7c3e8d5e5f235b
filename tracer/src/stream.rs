//! IN: the ring -> `Bytes` records, in ring order.
//!
//! The ring is edge-triggered: what a wake announces is drained whole before the next wait.

use std::io;

use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use tokio::io::unix::AsyncFd;

use crate::probe::ring::register;

/// The records of the ring.
pub struct Stream {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Stream {
    /// Registers the ring with the runtime.
    pub fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        Ok(Self { ring: register(ring)? })
    }

    /// Waits until the ring has something to read.
    ///
    /// Cancel safe: nothing is taken out of the ring here.
    pub async fn ready(&mut self) -> io::Result<()> {
        let mut guard = self.ring.readable_mut().await?;
        guard.clear_ready();
        Ok(())
    }

    /// The next record, if there is one now.
    pub fn take(&mut self) -> Option<Bytes> {
        self.ring.get_mut().next().map(|record| Bytes::copy_from_slice(&record))
    }
}
