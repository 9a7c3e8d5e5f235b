//! What a process takes while it has nothing to do, from `/proc/PID`.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::record::{Idle, Memory};

/// Long enough that the goal, a thousandth of a processor, is three ticks of the usual hundred a second.
const WATCHED: Duration = Duration::from_secs(30);
/// What the start left to do is done by then.
const SETTLE: Duration = Duration::from_secs(3);

/// Watches an idle process for half a minute.
pub(super) fn watch(pid: u32) -> Result<Idle> {
    std::thread::sleep(SETTLE);
    let (ticks, switches) = (ticks(pid)?, switches(pid)?);
    let start = Instant::now();
    std::thread::sleep(WATCHED);
    Ok(Idle {
        seconds: start.elapsed().as_secs_f64(),
        ticks: self::ticks(pid)?.saturating_sub(ticks),
        ticks_per_second: u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(u32::MAX),
        switches: self::switches(pid)?.saturating_sub(switches),
        memory: memory_of(pid)?,
    })
}

/// What a process holds now.
pub(super) fn memory_of(pid: u32) -> Result<Memory> {
    Ok(memory(&read(&format!("/proc/{pid}/smaps"))?))
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}; did the process end?"))
}

fn ticks(pid: u32) -> Result<u32> {
    let path = format!("/proc/{pid}/stat");
    cpu_ticks(&read(&path)?).with_context(|| format!("{path} has no times"))
}

/// Of all its threads.
fn switches(pid: u32) -> Result<u32> {
    let tasks = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))?;
    let status = entries.flatten().map(|task| fs::read_to_string(task.path().join("status")).unwrap_or_default());
    Ok(status.map(|status| field(&status, "voluntary_ctxt_switches:")).sum())
}

/// utime and stime, fields 14 and 15; the name in field 2 may hold spaces.
fn cpu_ticks(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}

/// Sums over all mappings.
fn memory(smaps: &str) -> Memory {
    let mut memory = Memory { anon: 0, file: 0, rings: 0 };
    let mut in_ring = false;
    for line in smaps.lines() {
        // The head of a mapping begins with its addresses, all other lines with a name.
        if line.split_whitespace().next().is_some_and(|word| !word.ends_with(':')) {
            in_ring = line.contains("bpf-map");
        } else if in_ring {
            memory.rings += field(line, "Rss:");
        } else {
            let anon = field(line, "Anonymous:");
            memory.anon += anon;
            // `Rss:` stands before its part `Anonymous:`.
            memory.file = (memory.file + field(line, "Rss:")).saturating_sub(anon);
        }
    }
    memory
}

/// The number behind a name, in a text of lines; 0 where the kernel does not say.
fn field(text: &str, name: &str) -> u32 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 166 0 0 0 17 5 0 0 20 0 1 0 100 0";
        assert_eq!(cpu_ticks(stat), Some(22));
        assert_eq!(cpu_ticks("42"), None);
    }

    #[test]
    fn rings_are_told_from_other_memory() {
        let smaps = "7f37-7f38 r--s 00001000 00:0e 23    anon_inode:bpf-map\nSize:   16388 kB\nRss:   16388 kB\n\
                     Anonymous:   0 kB\n\
                     7f38-7f39 rw-s 00000000 00:0e 23    anon_inode:bpf-map\nRss:       4 kB\n\
                     7f40-7f41 r-xp 00000000 00:1a 9     /bin/mount-tracer\nRss:    2772 kB\nAnonymous:   12 kB\n\
                     7f42-7f43 rw-p 00000000 00:00 0     [heap]\nRss:     500 kB\nAnonymous:  500 kB\n";
        let memory = memory(smaps);
        assert_eq!(memory, Memory { anon: 512, file: 2760, rings: 16392 });
        assert_eq!(memory.without_rings(), 3272);
    }
}
