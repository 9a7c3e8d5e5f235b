//! A second oracle, from Linux 6.15 on: the kernel's own events of what comes and goes in a namespace (fanotify's mount events), which
//! mount-tracer does not use, against the effects that `trace` shows. Both are multisets: of each mount in each namespace, how often it
//! came, went and moved.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::super::ground::{self, Mounted};
use super::super::operation::Operation;
use super::super::program::Program;
use super::super::{kernel, oracle, raw};
use super::kernel_tables;
use super::run::{Bounded, Tree};
use super::worker::Crew;
use super::workload::Workload;

const WORKERS: usize = 8;
const OPERATIONS: usize = 1000;
const SEED: u64 = 15;
/// So few that what one operation does in all namespaces can be listed.
const MOST_MOUNTS: u32 = 80;
/// How long `trace` may take to print what eight processes did.
const PRINTED: Duration = Duration::from_mins(3);

/// `linux/fanotify.h`: a mount came, a mount went; both in one event say that it moved.
const ATTACH: u64 = 0x0100_0000;
const DETACH: u64 = 0x0200_0000;
/// `FAN_EVENT_INFO_TYPE_MNT`, and `FAN_Q_OVERFLOW`.
const INFO_OF_MOUNT: u8 = 7;
const OVERFLOW: u64 = 0x4000;
/// `struct fanotify_event_metadata` and `struct fanotify_event_info_mnt`.
const METADATA: usize = 24;
const EVENT: usize = METADATA + 16;
const ROOM: usize = 1024 * EVENT;

/// What happened to a mount: where (the inode of the namespace), its unique id, and what.
type Happened = (u64, u64, &'static str);
type Counts = BTreeMap<Happened, u64>;

/// The workers' namespaces, which live as long as this does.
struct Watched(BTreeMap<u64, (File, OwnedFd)>);

impl Watched {
    fn new(pids: &[u32]) -> Result<Self> {
        let one = |pid: &u32| -> Result<_> {
            let path = format!("/proc/{pid}/ns/mnt");
            let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
            let events = raw::mount_events(namespace.as_fd()).with_context(|| format!("fanotify refuses {path}"))?;
            Ok((oracle::namespace(*pid)?, (namespace, events)))
        };
        pids.iter().map(one).collect::<Result<_>>().map(Self)
    }

    /// What the kernel said so far of mounts from this unique id on.
    fn told(&self, since: u64) -> Result<Counts> {
        let mut counts = Counts::new();
        for (inode, (_, events)) in &self.0 {
            for (mask, mount) in read(events)? {
                let kind = match mask & (ATTACH | DETACH) {
                    ATTACH => "attach",
                    DETACH => "detach",
                    _ => "move",
                };
                if mount >= since {
                    *counts.entry((*inode, mount, kind)).or_default() += 1;
                }
            }
        }
        Ok(counts)
    }
}

/// All events that a group holds: the mask, and the mount's unique id.
fn read(group: &OwnedFd) -> Result<Vec<(u64, u64)>> {
    let mut room = vec![0; ROOM];
    let mut events = Vec::new();
    loop {
        let bytes = match rustix::io::read(group, &mut room) {
            Err(rustix::io::Errno::AGAIN) => return Ok(events),
            bytes => bytes.context("cannot read fanotify's events")?,
        };
        let (whole, rest) = room[..bytes].as_chunks::<EVENT>();
        ensure!(rest.is_empty(), "an event of another length: {rest:?}");
        for event in whole {
            let word = |at: usize| event[at..].first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
            ensure!(word(8) & OVERFLOW == 0, "fanotify lost events");
            ensure!(event[METADATA] == INFO_OF_MOUNT, "an event about no mount: {event:?}");
            events.push((word(8), word(METADATA + 8)));
        }
    }
}

/// What `trace` showed of these namespaces, likewise.
fn shown(operations: &[Operation], watched: &Watched, since: u64) -> Result<Counts> {
    let mut counts = Counts::new();
    for operation in operations {
        let (effects, total) = (operation.effects(), operation.at("/effects_total"));
        let seq = operation.at("/seq");
        ensure!(*operation.at("/complete") == true, "a part of operation {seq} was lost");
        let listed = total.as_u64().is_none_or(|total| total == effects.len() as u64);
        ensure!(listed, "operation {seq} lists {} of its {total} effects", effects.len());
        for (inode, mount, kind) in effects.iter().filter_map(happened) {
            if mount >= since && watched.0.contains_key(&inode) {
                *counts.entry((inode, mount, kind)).or_default() += 1;
            }
        }
    }
    Ok(counts)
}

fn happened(effect: &Value) -> Option<Happened> {
    let kind = ["attach", "detach", "move"].into_iter().find(|kind| effect["kind"] == *kind)?;
    Some((effect["mntns"].as_u64()?, effect["mount_id_unique"].as_str()?.parse().ok()?, kind))
}

/// In what the two differ. The kernel does not tell moves of what stands on a mount that is put beneath or taken away, so that `trace`
/// may show more of them.
fn differences(told: &Counts, shown: &Counts) -> Vec<String> {
    let all = told.keys().chain(shown.keys().filter(|key| !told.contains_key(key)));
    all.filter_map(|key| {
        let [told, shown] = [told, shown].map(|counts| counts.get(key).copied().unwrap_or(0));
        let agree = if key.2 == "move" { told <= shown } else { told == shown };
        let (inode, mount, kind) = key;
        (!agree).then(|| format!("mntns {inode} mount {mount}: {told} times {kind} by the kernel, {shown} by trace"))
    })
    .collect()
}

pub(super) fn tells_the_same() -> Result<()> {
    if !kernel::is_at_least(6, 15)? {
        return Ok(());
    }
    let _bounded = Bounded::to(MOST_MOUNTS)?;
    let mut trace = Program::trace(&[])?;
    let tree = Tree::new()?;
    let workload = Workload::random(SEED, WORKERS, OPERATIONS);
    let mut crew = Crew::start(workload.workers, &tree.0)?;
    crew.must(&workload.setup)?;
    let watched = Watched::new(&crew.pids())?;
    // What was there before the kernel was asked it does not know to be there.
    let since = first_id_from_now_on()?;
    let done = crew.at_once(&workload.steps, || Ok(()))?;
    let succeeded = done.iter().filter(|(_, errno)| *errno == 0).count();
    ground::touch_sentinel()?;
    let mut operations = trace.drain_to_sentinel_within(PRINTED)?;
    let finished = trace.terminate()?;
    ensure!(finished.stat("records_lost")? == 0, "{:?}", finished.errors);
    // What a call whose end the kernel skipped has changed is shown at the end; that skip is a gap without a loss in any table.
    operations.extend(finished.operations()?);
    operations.retain(|operation| operation.op() != "gap");
    let (told, shown) = (watched.told(since)?, shown(&operations, &watched, since)?);

    let count = |kind: &str| told.iter().filter(|((.., one), _)| *one == kind).map(|(_, count)| count).sum::<u64>();
    let [came, went, moved] = ["attach", "detach", "move"].map(count);
    eprintln!("{succeeded} operations; fanotify told {came} that came, {went} that went, {moved} that moved");
    ensure!(came > 0 && went > 0 && moved > 0, "one kind did not occur at all");
    let differing = differences(&told, &shown);
    ensure!(differing.is_empty(), "{} differences: {:#?}", differing.len(), &differing[..differing.len().min(20)]);
    // The twin: one of each kind less, on the one side or the other, is found.
    for kind in ["attach", "detach", "move"] {
        let one = told.keys().find(|key| key.2 == kind).context("each kind occurred")?;
        let without = |counts: &Counts| -> Counts {
            counts.iter().filter(|(key, _)| *key != one).map(|(k, v)| (*k, *v)).collect()
        };
        ensure!(!differences(&told, &without(&shown)).is_empty(), "a missing {kind} of trace's is not found");
        let found = !differences(&without(&told), &shown).is_empty();
        ensure!(found || kind == "move", "a missing {kind} of the kernel's is not found");
    }
    Ok(())
}

/// Unique ids count upwards.
fn first_id_from_now_on() -> Result<u64> {
    let at = ground::directory("since")?;
    let mounted = Mounted::tmpfs(&at)?;
    let id = kernel_tables::unique_id(&at)?;
    mounted.unmount()?;
    Ok(id)
}
