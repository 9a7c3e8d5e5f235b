//! Hands the ring's descriptor to the runtime: the one step of reading it that is `unsafe`.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;

/// Registers the ring, so that it can be waited for.
pub fn register(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring owns its descriptor and keeps it open, the same one, for as long as it lives; the result owns the
    // ring.
    Ok(unsafe { AsyncFd::register(ring) }?)
}
