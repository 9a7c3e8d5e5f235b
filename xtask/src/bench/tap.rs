//! Reads what a process prints and notes when each line was complete.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::latency::Line;

/// As much as a pipe holds.
const CHUNK: usize = 64 << 10;

/// The lines so far, being read by a thread.
pub(super) struct Tap {
    lines: Arc<Mutex<Vec<Line>>>,
    thread: JoinHandle<()>,
}

impl Tap {
    pub(super) fn on(output: OwnedFd) -> Self {
        let lines = Arc::default();
        let thread = std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || read(File::from(output), &lines)
        });
        Self { lines, thread }
    }

    pub(super) fn any(&self, is_it: impl Fn(&str) -> bool) -> bool {
        locked(&self.lines).iter().any(|line| is_it(&line.text))
    }

    /// What is there now.
    pub(super) fn text(&self) -> String {
        locked(&self.lines).iter().map(|line| line.text.trim()).collect::<Vec<_>>().join(" / ")
    }

    /// All lines, once the process has closed its end.
    pub(super) fn finish(self) -> Vec<Line> {
        let _ = self.thread.join();
        std::mem::take(&mut *locked(&self.lines))
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(Duration::try_from(now).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

fn locked(lines: &Mutex<Vec<Line>>) -> MutexGuard<'_, Vec<Line>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A terminal whose other side is closed gives an error where a pipe gives its end.
fn read(mut output: File, lines: &Mutex<Vec<Line>>) {
    let mut buffer = vec![0; CHUNK];
    let mut begun = Vec::new();
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        let seen_ns = now();
        locked(lines).extend(complete(&mut begun, &buffer[..count], seen_ns));
    }
}

/// The lines that this chunk completes; what follows the last one stays begun.
fn complete(begun: &mut Vec<u8>, chunk: &[u8], seen_ns: u64) -> Vec<Line> {
    begun.extend_from_slice(chunk);
    let Some(end) = begun.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
    let rest = begun.split_off(end + 1);
    let whole = std::mem::replace(begun, rest);
    String::from_utf8_lossy(&whole).lines().map(|text| Line { seen_ns, text: text.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_seen_when_its_end_is() {
        let mut begun = Vec::new();
        assert!(complete(&mut begun, b"one", 1).is_empty());
        let lines = complete(&mut begun, b" two\r\nthree\nfo", 2);
        let found: Vec<(u64, &str)> = lines.iter().map(|line| (line.seen_ns, line.text.as_str())).collect();
        assert_eq!(found, [(2, "one two"), (2, "three")]);
        assert_eq!(complete(&mut begun, b"ur\n", 3)[0].text, "four");
    }
}
