//! An inotify instance that the runtime can wait for. The one system-call wrapper of its kind: registering is unsafe.

use std::{io, os::fd::OwnedFd};

use rustix::fs::inotify::{CreateFlags, init};
use tokio::io::unix::AsyncFd;

/// A new instance without watches, registered with the runtime.
pub fn instance() -> io::Result<AsyncFd<OwnedFd>> {
    let instance = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    // SAFETY: an `OwnedFd` keeps one descriptor open as long as it lives, and `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register(instance) }?)
}
