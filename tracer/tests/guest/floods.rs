//! A process that fails as fast as it can: what it does beyond what is told is counted, to the last call, and it drowns nobody else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::actor::Actor;
use super::node::cgroup_root;
use super::operation::Operation;
use super::program::Program;
use super::trial::trial;
use super::{ground, oracle};

/// Enough that some thousands are beyond what is told, unless the machine is very slow.
const FLOOD: u64 = 30_000;
/// Fewer than are told at once.
const TRICKLE: u64 = 300;
const QUIET_PAUSE: Duration = Duration::from_millis(50);
/// What a cgroup may fail in a second and be told each time, as `docs/events.md` says; as many again at once.
const TOLD_A_SECOND: u64 = 1000;
/// Under emulation.
const DRAINED: Duration = Duration::from_mins(1);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("floods::who_fails_fast_is_counted_and_drowns_nobody", who_fails_fast_is_counted)]
}

/// Calls by system call and errno.
type Kinds = BTreeMap<(String, i64), u64>;

/// What was shown of a process that failed many times.
struct Seen {
    /// What was shown by itself.
    told: Kinds,
    /// What was counted.
    counted: Kinds,
}

fn who_fails_fast_is_counted() -> Result<()> {
    let target = ground::directory("flooded")?;
    let cgroup = Cgroup::make("flood")?;
    let mut flooder = Actor::unprivileged()?;
    ground::write_file(&cgroup.0.join("cgroup.procs"), flooder.pid().to_string())?;
    let mut trace = Program::trace(&[])?;
    // The twin: the same calls, but few of them.
    both(&mut flooder, &target, TRICKLE)?;
    let few = shown_of(&flooder, &cgroup, &trace.drain()?)?;
    expect_all(&few, TRICKLE)?;
    ensure!(few.counted.is_empty(), "of so few none is only counted: {:?}", few.counted);

    let start = Instant::now();
    let quiet = both(&mut flooder, &target, FLOOD)?;
    let elapsed = start.elapsed();
    ground::touch_sentinel()?;
    let mut operations = trace.drain_to_sentinel_within(DRAINED)?;
    let finished = trace.terminate()?;
    operations.extend(finished.operations()?);
    let seen = shown_of(&flooder, &cgroup, &operations)?;
    let (told, counted) = (total(&seen.told), total(&seen.counted));
    eprintln!("{FLOOD} failing calls in {elapsed:?}: {told} told, {counted} counted");
    expect_all(&seen, FLOOD)?;
    let own = operations.iter().filter(|one| *one.at("/actor/pid") == std::process::id());
    let shown = own.filter(|one| one.at("/result/name") == "EINVAL").count() as u64;
    ensure!(shown == quiet, "of the other's {quiet} failing calls {shown} were shown");
    let (throttled, dropped) = (finished.stat("throttled")?, finished.stat("dropped")?);
    ensure!(counted == throttled && dropped == 0, "throttled={throttled} dropped={dropped}");
    // On the slowest machine this is all of them.
    let most = TOLD_A_SECOND * (elapsed.as_secs() + 2);
    ensure!(told <= most, "{told} were told in {elapsed:?}");
    Ok(())
}

/// Every call is either told or counted, by its kind: a third each of what the process does.
fn expect_all(seen: &Seen, calls: u64) -> Result<()> {
    let mut all = seen.told.clone();
    for (kind, calls) in &seen.counted {
        *all.entry(kind.clone()).or_default() += calls;
    }
    let (perm, missing) = (i64::from(Errno::PERM.raw_os_error()), i64::from(Errno::NOENT.raw_os_error()));
    let kinds = [("mount", perm), ("mount", missing), ("umount2", perm)];
    let expected: Kinds = kinds.into_iter().map(|(call, errno)| ((call.to_owned(), errno), calls / 3)).collect();
    ensure!(all == expected, "told {:?} and counted {:?} are not {expected:?}", seen.told, seen.counted);
    Ok(())
}

/// What these operations say of the process, which is alone in its cgroup. Nobody else fails that often.
fn shown_of(flooder: &Actor, cgroup: &Cgroup, operations: &[Operation]) -> Result<Seen> {
    let id = fs::metadata(&cgroup.0).context("the cgroup's number")?.ino().to_string();
    let throttled = operations.iter().filter(|one| one.op() == "throttled");
    let (own, others): (Vec<_>, Vec<_>) = throttled.partition(|one| *one.at("/throttled/cgroup_id") == *id);
    ensure!(others.is_empty(), "only cgroup {id} failed that often: {others:?}");
    let told = operations.iter().filter(|one| *one.at("/actor/pid") == flooder.pid());
    Ok(Seen { told: kinds(told, |_| Some(1))?, counted: kinds(own, |one| one.at("/throttled/calls").as_u64())? })
}

/// Both fail at once: the process so many times as fast as it can, and this one now and then; how often this one did.
fn both(flooder: &mut Actor, target: &Path, calls: u64) -> Result<u64> {
    let nowhere = target.join("missing");
    let (times, nowhere) = (calls.to_string(), nowhere.to_str().context("the path is UTF-8")?);
    let words = ["fail", &times, target.to_str().context("the path is UTF-8")?, nowhere];
    thread::scope(|scope| {
        let flood = scope.spawn(|| flooder.must(&words));
        let mut quiet = 0;
        while !flood.is_finished() || quiet == 0 {
            let refused = rustix::mount::unmount(target, UnmountFlags::empty());
            ensure!(refused == Err(Errno::INVAL), "an unmount of what is not mounted gave {refused:?}");
            quiet += 1;
            thread::sleep(QUIET_PAUSE);
        }
        flood.join().map_err(|_| anyhow!("the flooding thread panicked"))??;
        Ok(quiet)
    })
}

fn kinds<'a>(
    operations: impl IntoIterator<Item = &'a Operation>,
    calls: impl Fn(&Operation) -> Option<u64>,
) -> Result<Kinds> {
    let mut kinds = Kinds::new();
    for one in operations {
        let call = one.at("/syscall").as_str().with_context(|| format!("no call: {one:?}"))?;
        let errno = one.at("/result/errno").as_i64().with_context(|| format!("no errno: {one:?}"))?;
        *kinds.entry((call.to_owned(), errno)).or_default() +=
            calls(one).with_context(|| format!("no number: {one:?}"))?;
    }
    Ok(kinds)
}

fn total(kinds: &Kinds) -> u64 {
    kinds.values().sum()
}

/// A cgroup that is removed again.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(name: &str) -> Result<Self> {
        let path = cgroup_root()?.join(format!("{name}-{}", oracle::own_namespace()?));
        ground::make_directory(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
