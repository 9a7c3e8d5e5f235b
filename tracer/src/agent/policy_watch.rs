//! Watches the policy's file by its directory, and reads it again when something has changed there.
//!
//! A watch of the file itself would end with the file: editors put a new one in its place, and a config map's volume puts
//! a new directory behind the link `..data`. So both the directory that was named and the one that holds the file in
//! the end are watched, and whatever happens there is only a reason to read the file. What is read counts, not what
//! happened: the same bytes, or the same error, are nothing new.

use std::{
    fs, future,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::inotify::{self, WatchFlags};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep_until},
};

use crate::{
    host::inotify::instance,
    limit::{
        policy::{Policy, PolicyError},
        policy_file,
    },
    output::say::{chain, note},
};

/// How long it must be quiet: editors write in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// How long an unquiet directory can put it off: a change reaches running pods within a second.
const LONGEST: Duration = Duration::from_millis(500);
/// How often to look for a directory that is not there.
const ABSENT: Duration = Duration::from_secs(1);
/// Whatever gives a file, or a link on its way, another content or name.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);
/// Room for the events of one read(2), in bytes; what they say is not looked at.
const EVENT_BYTES: usize = 4096;

/// The policy's file, watched.
#[derive(Debug)]
pub(super) struct PolicyWatch {
    file: PathBuf,
    /// `None` when the kernel gave none: the policy stays what it is.
    inotify: Option<AsyncFd<OwnedFd>>,
    seen: Seen,
    /// When to look, and when at the latest.
    due: Option<(Instant, Instant)>,
}

/// What was found last.
#[derive(Debug)]
enum Seen {
    /// This policy, which is the valid one.
    Policy(Policy),
    /// This error; the policy before it is still valid.
    Broken { valid: Policy, said: String },
}

impl PolicyWatch {
    /// Watches the file that `valid` was read from. It may have changed since, so it is looked at soon.
    pub(super) fn new(file: PathBuf, valid: Policy) -> Self {
        let inotify = instance().map_err(|error| {
            note(format_args!(
                "note: the policy {} cannot be watched, so a change needs a restart; raise \
                 fs.inotify.max_user_instances: {error}",
                file.display()
            ));
        });
        let mut watch = Self { file, inotify: inotify.ok(), seen: Seen::Policy(valid), due: None };
        watch.look_soon();
        watch
    }

    /// Waits until the file holds another policy. One that is broken is said, once, and waited over.
    ///
    /// Cancel safe: what is known stands in `self` at every await.
    pub(super) async fn changed(&mut self) -> Policy {
        loop {
            let event = tokio::select! {
                () = event(self.inotify.as_ref()) => true,
                () = until(self.due.map(|(at, _)| at)) => false,
            };
            if event {
                self.look_soon();
            } else if let Some(policy) = self.look() {
                return policy;
            }
        }
    }

    fn look_soon(&mut self) {
        let now = Instant::now();
        let latest = self.due.map_or(now + LONGEST, |(_, latest)| latest);
        self.due = Some((latest.min(now + QUIET), latest));
    }

    /// Watches first and reads then: what changes in between is an event.
    fn look(&mut self) -> Option<Policy> {
        let there = self.watch_directories();
        let absent = Instant::now() + ABSENT;
        self.due = (!there && self.inotify.is_some()).then_some((absent, absent));
        self.seen.see(policy_file::load(&self.file), &self.file)
    }

    /// The directory that was named, and the one that links lead to. Whether the first is there.
    fn watch_directories(&self) -> bool {
        let Some(inotify) = &self.inotify else { return true };
        let watch = |file: &Path| {
            let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            inotify::add_watch(inotify, directory, EVENTS | WatchFlags::ONLYDIR).is_ok()
        };
        let there = watch(&self.file);
        if let Ok(real) = fs::canonicalize(&self.file) {
            watch(&real);
        }
        there
    }
}

impl Seen {
    /// Takes what was found; the policy, if it is another one. Says what is new.
    fn see(&mut self, found: Result<Policy, PolicyError>, file: &Path) -> Option<Policy> {
        let (Self::Policy(valid) | Self::Broken { valid, .. }) = &*self;
        match found {
            Ok(policy) => {
                let (was_broken, same) = (matches!(self, Self::Broken { .. }), policy == *valid);
                if was_broken || !same {
                    let (mode, rules) = (policy.mode.name(), policy.rules.len());
                    note(format_args!("policy: {} is valid now: mode={mode} rules={rules}", file.display()));
                }
                *self = Self::Policy(policy.clone());
                (!same).then_some(policy)
            }
            Err(error) => {
                let now = chain(&error);
                if !matches!(&*self, Self::Broken { said, .. } if *said == now) {
                    note(format_args!("policy: {now}; until then the policy that was valid before stays"));
                }
                *self = Self::Broken { valid: valid.clone(), said: now };
                None
            }
        }
    }
}

/// Waits for events, and takes them all.
async fn event(inotify: Option<&AsyncFd<OwnedFd>>) {
    let Some(inotify) = inotify else { return future::pending().await };
    let mut bytes = [0; EVENT_BYTES];
    loop {
        let Ok(mut ready) = inotify.readable().await else { return future::pending().await };
        // An error: nothing is there after all, or a signal came.
        if let Ok(Ok(_)) = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut bytes)?)) {
            return;
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tokio::time::timeout;

    /// Far above what a change takes.
    const LONG: Duration = Duration::from_secs(10);
    /// Above the longest that a change takes.
    const NOTHING_COMES: Duration = Duration::from_millis(1500);

    fn text(name: &str) -> String {
        format!("rules:\n- {{ name: {name}, match: {{ volume: x }}, limits: {{ writeBps: 2M }} }}\n")
    }

    fn policy(name: &str) -> Policy {
        Policy::parse(text(name).as_bytes(), "p").unwrap()
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    async fn next(watch: &mut PolicyWatch) -> Policy {
        timeout(LONG, watch.changed()).await.expect("no change was seen")
    }

    async fn nothing(watch: &mut PolicyWatch) {
        assert!(timeout(NOTHING_COMES, watch.changed()).await.is_err(), "a change was seen");
    }

    #[test]
    fn a_file_that_is_written_or_replaced_is_read_again() {
        run(async {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("policy.yaml");
            fs::write(&file, text("a")).unwrap();
            let mut watch = PolicyWatch::new(file.clone(), policy("a"));
            nothing(&mut watch).await;
            fs::write(&file, text("b")).unwrap();
            assert_eq!(next(&mut watch).await, policy("b"));
            fs::write(dir.path().join("new"), text("c")).unwrap();
            fs::rename(dir.path().join("new"), &file).unwrap();
            assert_eq!(next(&mut watch).await, policy("c"));
        });
    }

    #[test]
    fn what_changed_before_the_watch_began_is_seen() {
        run(async {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("policy.yaml");
            fs::write(&file, text("b")).unwrap();
            let mut watch = PolicyWatch::new(file, policy("a"));
            assert_eq!(next(&mut watch).await, policy("b"));
        });
    }

    /// As the kubelet updates a config map's volume.
    #[test]
    fn the_swap_of_a_link_on_the_way_is_seen() {
        run(async {
            let dir = tempfile::tempdir().unwrap();
            let version = |number: u32, name: &str| {
                let data = dir.path().join(format!("..{number}"));
                fs::create_dir(&data).unwrap();
                fs::write(data.join("policy.yaml"), text(name)).unwrap();
                symlink(format!("..{number}"), dir.path().join("..data_tmp")).unwrap();
                fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
            };
            version(1, "a");
            symlink("..data/policy.yaml", dir.path().join("policy.yaml")).unwrap();
            let mut watch = PolicyWatch::new(dir.path().join("policy.yaml"), policy("a"));
            nothing(&mut watch).await;
            version(2, "b");
            fs::remove_dir_all(dir.path().join("..1")).unwrap();
            assert_eq!(next(&mut watch).await, policy("b"));
        });
    }

    #[test]
    fn a_change_behind_a_link_to_another_directory_is_seen() {
        run(async {
            let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::write(there.path().join("real"), text("a")).unwrap();
            let file = here.path().join("policy.yaml");
            symlink(there.path().join("real"), &file).unwrap();
            let mut watch = PolicyWatch::new(file, policy("a"));
            nothing(&mut watch).await;
            fs::write(there.path().join("real"), text("b")).unwrap();
            assert_eq!(next(&mut watch).await, policy("b"));
        });
    }

    #[test]
    fn a_directory_that_goes_and_comes_back_is_found() {
        run(async {
            let dir = tempfile::tempdir().unwrap();
            let (old, away) = (dir.path().join("etc"), dir.path().join("away"));
            fs::create_dir(&old).unwrap();
            fs::write(old.join("policy.yaml"), text("a")).unwrap();
            let mut watch = PolicyWatch::new(old.join("policy.yaml"), policy("a"));
            nothing(&mut watch).await;
            fs::rename(&old, &away).unwrap();
            nothing(&mut watch).await;
            fs::create_dir(&old).unwrap();
            fs::write(old.join("policy.yaml"), text("b")).unwrap();
            assert_eq!(next(&mut watch).await, policy("b"));
        });
    }

    #[test]
    fn a_directory_that_never_rests_is_looked_at_all_the_same() {
        run(async {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("policy.yaml");
            fs::write(&file, text("b")).unwrap();
            let mut watch = PolicyWatch::new(file, policy("a"));
            watch.watch_directories();
            let noise = async {
                loop {
                    fs::write(dir.path().join("log"), "x").unwrap();
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                policy_read = next(&mut watch) => assert_eq!(policy_read, policy("b")),
                () = noise => {}
            }
        });
    }

    #[test]
    fn a_broken_policy_leaves_the_old_one_and_is_said_once() {
        let said = |seen: &Seen| match seen {
            Seen::Broken { valid, said } => Some((valid.clone(), said.clone())),
            Seen::Policy(_) => None,
        };
        let (file, broken) = (Path::new("p"), || Policy::parse(b"moed: x\n", "p"));
        let mut seen = Seen::Policy(policy("a"));
        assert_eq!(seen.see(broken(), file), None);
        let first = said(&seen).unwrap();
        assert_eq!(first.0, policy("a"));
        assert!(first.1.starts_with("p:1:1: `moed` is not a key of the policy"), "{}", first.1);
        assert_eq!(seen.see(broken(), file), None);
        assert_eq!(said(&seen).unwrap(), first);
        assert_eq!(seen.see(Ok(policy("a")), file), None, "the old one is good again, and not new");
        assert!(said(&seen).is_none());
        seen.see(broken(), file);
        assert_eq!(seen.see(Ok(policy("b")), file), Some(policy("b")));
    }
}
