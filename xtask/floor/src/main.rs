//! The floor of the benches: an empty probe at the end of mount and umount, and a bare reader that notes when each
//! record arrived. It says `ready` on stderr, ends when its input does, and then prints a line `SENT RECEIVED`, both
//! in nanoseconds of `CLOCK_BOOTTIME`, for each record.
//!
//! Runs in guests only: `cargo xtask bench trace` brings it there.

use std::{
    io::{self, Write as _},
    os::fd::AsFd,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::{
    Btf, Ebpf, include_bytes_aligned,
    maps::{MapData, RingBuf},
    programs::FExit,
};
use rustix::{
    event::epoll,
    time::{ClockId, clock_gettime},
};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/wake-floor-ebpf"));

/// Program and the kernel's function.
const PROBES: [(&str, &str); 2] = [("mount_exit", "path_mount"), ("umount_exit", "path_umount")];

/// What an epoll event is about.
const RING: u64 = 0;
const INPUT: u64 = 1;

/// Records of one round, so that noting one allocates nothing.
const ROOM: usize = 1 << 16;

/// When a record was sent and when it was in our hands.
struct Arrival {
    sent_ns: u64,
    received_ns: u64,
}

fn main() -> Result<()> {
    let mut ebpf = Ebpf::load(OBJECT).context("cannot load the empty probe; this needs root")?;
    attach(&mut ebpf)?;
    let map = ebpf.take_map("RING").context("the object has no map RING; build it anew")?;
    let ring = RingBuf::try_from(map).context("cannot open the ring")?;
    eprintln!("ready");
    print(&read(ring)?).context("cannot print what arrived")
}

fn attach(ebpf: &mut Ebpf) -> Result<()> {
    let types = Btf::from_sys_fs().context("cannot read the kernel's types at /sys/kernel/btf/vmlinux")?;
    for (name, function) in PROBES {
        let program = ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
        let program: &mut FExit = program.try_into().with_context(|| format!("{name} is no fexit program"))?;
        program.load(function, &types).with_context(|| format!("the kernel refused the probe of {function}"))?;
        program.attach().with_context(|| format!("cannot attach to {function}"))?;
    }
    Ok(())
}

/// Takes records until the input ends.
fn read(mut ring: RingBuf<MapData>) -> Result<Vec<Arrival>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll_create1")?;
    watch(&epoll, ring.as_fd(), RING)?;
    watch(&epoll, io::stdin().as_fd(), INPUT)?;
    let mut arrivals = Vec::with_capacity(ROOM);
    let mut events = Vec::with_capacity(2);
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).context("epoll_wait")?;
        while let Some(record) = ring.next() {
            let received_ns = now();
            let bytes = record.first_chunk().context("a record is shorter than its stamp")?;
            arrivals.push(Arrival { sent_ns: u64::from_ne_bytes(*bytes), received_ns });
        }
        if events.iter().any(|event: &epoll::Event| event.data.u64() == INPUT) {
            return Ok(arrivals);
        }
    }
}

fn watch(epoll: &impl AsFd, what: impl AsFd, data: u64) -> Result<()> {
    epoll::add(epoll, what, epoll::EventData::new_u64(data), epoll::EventFlags::IN).context("epoll_ctl")
}

fn print(arrivals: &[Arrival]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for Arrival { sent_ns, received_ns } in arrivals {
        writeln!(out, "{sent_ns} {received_ns}")?;
    }
    out.flush()
}

/// `CLOCK_BOOTTIME` in nanoseconds.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(Duration::try_from(now).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}
