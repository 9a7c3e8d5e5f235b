//! The kernel's own events about devices, from its netlink socket, and what is there when events were lost. Reads; writes nothing. One
//! of the system-call wrappers: registering the socket is unsafe.

use std::{io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind,
        netlink::{KOBJECT_UEVENT, SocketAddrNetlink},
        recvfrom, socket_with, sockopt,
    },
};
use tokio::io::unix::AsyncFd;

use super::disk::uevent::{DiskEvent, decode};

/// The group of the kernel's own events; in the other one udev sends what it makes of them.
const KERNEL: u32 = 1;
/// The longest event is `UEVENT_BUFFER_SIZE` of `linux/kobject.h`, and its head is a path.
const LONGEST: usize = 2048 + 4096;
/// Room for what comes while nobody reads, in bytes, of which the kernel takes twice as many: some 2,000 events, which it counts by their
/// buffers of 768 bytes at least.
const ROOM: usize = 1 << 20;

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something became of a disk.
    Event(DiskEvent),
    /// Events had no room, or one of a disk could not be understood: what is there has to be looked up.
    Lost,
}

/// The socket.
#[derive(Debug)]
pub struct Uevents(AsyncFd<OwnedFd>);

impl Uevents {
    /// From now on; within a runtime.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        // Without the right to more there is less room, and sooner a loss, which is heard of.
        if sockopt::set_socket_recv_buffer_size_force(&socket, ROOM).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, ROOM)?;
        }
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL))?;
        // SAFETY: an `OwnedFd` keeps one descriptor open as long as it lives, and `AsyncFd` owns it.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    /// Waits until something may be there.
    ///
    /// Cancel safe: nothing is taken out.
    pub async fn ready(&self) -> io::Result<()> {
        // What has come before is taken out until nothing is there, so that the next one wakes again.
        self.0.readable().await.map(|mut ready| ready.clear_ready())
    }

    /// The next one that is there already, whether it was waited for or not; what is about no disk is passed over.
    pub fn take(&self) -> io::Result<Option<Heard>> {
        let mut bytes = [0; LONGEST];
        loop {
            match recvfrom(self.0.get_ref(), &mut bytes, RecvFlags::empty()) {
                Ok((length, _, from)) => {
                    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
                    // Other processes may send to the group too, by their own numbers.
                    if from.is_none_or(|from| from.pid() != 0) {
                        continue;
                    }
                    match decode(&bytes[..length]) {
                        Ok(Some(event)) => return Ok(Some(Heard::Event(event))),
                        Ok(None) => {}
                        Err(_) => return Ok(Some(Heard::Lost)),
                    }
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::NOBUFS) => return Ok(Some(Heard::Lost)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Anybody may listen. Nothing is sure to happen meanwhile.
    #[tokio::test]
    async fn a_socket_is_opened_and_may_be_silent() {
        let events = Uevents::open().unwrap();
        while let Some(heard) = events.take().unwrap() {
            assert!(matches!(heard, Heard::Event(_)), "{heard:?}");
        }
    }
}
