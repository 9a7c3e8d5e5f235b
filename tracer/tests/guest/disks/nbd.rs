//! A network block device, served by a thread of this process over loopback, with the protocol's old form alone
//! (`doc/proto.md` of nbd): requests of 28 bytes, answers of 16.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::super::raw;
use super::devices::open;
use super::mapper::sectors;

/// `linux/nbd.h`.
const SET_SOCK: u64 = 0xab00;
const SET_BLKSIZE: u64 = 0xab01;
const DO_IT: u64 = 0xab03;
const CLEAR_SOCK: u64 = 0xab04;
const SET_SIZE_BLOCKS: u64 = 0xab07;
const DISCONNECT: u64 = 0xab08;
const REQUEST: [u8; 4] = 0x2560_9513_u32.to_be_bytes();
const REPLY: [u8; 4] = 0x6744_6698_u32.to_be_bytes();
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISC: u16 = 2;
const BLOCK: u64 = 4096;
const STARTS: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// The device, and both of the threads that it lives by.
pub(super) struct Nbd {
    /// `/dev/nbd0`.
    pub(super) device: PathBuf,
    file: File,
    threads: Vec<JoinHandle<()>>,
}

impl Nbd {
    /// So many MiB of zeros.
    pub(super) fn new(mib: u64) -> Result<Self> {
        let device = PathBuf::from("/dev/nbd0");
        let file = open(&device)?;
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
        let client = TcpStream::connect(listener.local_addr()?).context("cannot reach the own server")?;
        let (server, _) = listener.accept()?;
        let mut store = vec![0; usize::try_from(mib << 20)?];
        let serving = thread::spawn(move || while answer(&server, &mut store).is_ok_and(|goes_on| goes_on) {});
        raw::ioctl_number(file.as_fd(), SET_BLKSIZE, BLOCK).context("NBD_SET_BLKSIZE")?;
        raw::ioctl_number(file.as_fd(), SET_SIZE_BLOCKS, (mib << 20) / BLOCK).context("NBD_SET_SIZE_BLOCKS")?;
        raw::ioctl_number(file.as_fd(), SET_SOCK, u64::from(client.as_raw_fd().cast_unsigned()))
            .context("NBD_SET_SOCK")?;
        let held = file.try_clone()?;
        // It returns when the device is disconnected.
        let driving = thread::spawn(move || {
            let _ = raw::ioctl_number(held.as_fd(), DO_IT, 0);
            drop(client);
        });
        let nbd = Self { device, file, threads: vec![driving, serving] };
        nbd.started()?;
        Ok(nbd)
    }

    fn started(&self) -> Result<()> {
        let deadline = Instant::now() + STARTS;
        while sectors(&self.device)? == 0 || !Path::new("/sys/block/nbd0/pid").exists() {
            ensure!(Instant::now() < deadline, "nbd0 did not start within {STARTS:?}");
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Drop for Nbd {
    fn drop(&mut self) {
        for request in [DISCONNECT, CLEAR_SOCK] {
            let _ = raw::ioctl_number(self.file.as_fd(), request, 0);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One request; whether there may be more.
fn answer(mut stream: &TcpStream, store: &mut [u8]) -> Result<bool> {
    let mut head = [0; 28];
    stream.read_exact(&mut head)?;
    ensure!(head[..4] == REQUEST, "no request: {head:?}");
    let what = u16::from_be_bytes([head[6], head[7]]);
    let at = usize::try_from(u64::from_be_bytes(head[16..24].try_into()?))?;
    let length = usize::try_from(u32::from_be_bytes(head[24..28].try_into()?))?;
    if what == DISC {
        return Ok(false);
    }
    let part = store.get_mut(at..at + length).context("a request beyond the end")?;
    if what == WRITE {
        stream.read_exact(part)?;
    }
    let reply = [&REPLY[..], &[0; 4], &head[8..16]].concat();
    stream.write_all(&reply)?;
    if what == READ {
        stream.write_all(part)?;
    }
    Ok(true)
}
