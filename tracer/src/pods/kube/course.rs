//! PURE: what a request is followed by, and when: the course of one list and watch, of one watch on a name, of one look. Touches nothing.
//!
//! Waiting times are spread by a number that comes as an argument, so that nodes which failed together do not come back together.

use std::time::Duration;

use super::ask::{Ask, What};

/// How long is waited for what. Only tests wait for other times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Before the first question of all, at most: agents that start together (a rollout, a cluster that comes back) are spread over it.
    pub start: Duration,
    /// After a first failure, about.
    pub again: Duration,
    /// After many failures, about.
    pub longest: Duration,
    /// Until something is looked at again, or asked for again that is forbidden or that the cluster does not have, about.
    pub look: Duration,
    /// A watch that was shorter has failed: a server that ends each at once is not asked without an end.
    pub short: Duration,
    /// How long an answer may take.
    pub answer: Duration,
    /// How long the server is asked to keep a watch, about.
    pub watch: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(30),
            again: Duration::from_secs(1),
            longest: Duration::from_mins(1),
            look: Duration::from_mins(10),
            short: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            // As client-go: between 5 and 10 minutes (minWatchTimeout of tools/cache/reflector.go).
            watch: Duration::from_secs(450),
        }
    }
}

/// The longest time that a server is believed when it says how long to stay away.
const RETRY_AFTER: Duration = Duration::from_mins(10);
/// Failures behind which waiting times do not grow any more.
const MOST_DOUBLED: u32 = 16;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A list was read, up to this version.
    Listed(Box<str>),
    /// A single object was read, or there is none.
    Looked,
    /// A watch has ended in order, after this time.
    Over(Duration),
    /// The version is too old for the server.
    Expired,
    /// The server says no, and perhaps for how long.
    Refused(u16, Option<Duration>),
    /// Nothing, or nothing that can be understood, came back.
    Failed,
}

/// How something is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A list, and then a watch from its version on.
    List,
    /// A watch that begins with what there is, so that no list is needed: for one name.
    Watch,
    /// A look now and then.
    Look,
    /// A look, and no other one when it has been answered.
    Once,
}

/// One course.
#[derive(Debug)]
pub struct Course {
    what: What,
    how: How,
    pace: Pace,
    /// Up to which version all is known; `None` where it has to be begun anew.
    version: Option<Box<str>>,
    /// Whether a watch from the beginning would miss what is gone by now: a list tells that.
    anew: bool,
    failures: u32,
}

impl Course {
    /// A course at its beginning.
    pub fn new(what: What, how: How, pace: Pace) -> Self {
        Self { what, how, pace, version: None, anew: false, failures: 0 }
    }

    /// The next request. `random` is any number.
    pub fn next(&self, random: u64) -> Ask {
        match (self.how, &self.version) {
            (How::Look | How::Once, _) => Ask::Get(self.what.clone()),
            (How::List, None) => Ask::List(self.what.clone()),
            (How::Watch, None) if self.anew => Ask::List(self.what.clone()),
            (How::List | How::Watch, version) => Ask::Watch {
                what: self.what.clone(),
                version: version.clone().unwrap_or_else(|| "0".into()),
                lasts: spread(self.pace.watch, random),
            },
        }
    }

    /// Whether a watch that lasted so long has failed, however it ended.
    pub fn is_short(&self, lasted: Duration) -> bool {
        lasted < self.pace.short
    }

    /// A watch has told all up to this version.
    pub fn told(&mut self, version: Box<str>) {
        self.version = Some(version);
    }

    /// A request has ended; how long to wait until the next one, `None` where there is none.
    pub fn ended(&mut self, end: &End, random: u64) -> Option<Duration> {
        Some(match end {
            End::Listed(version) => {
                (self.version, self.anew, self.failures) = (Some(version.clone()), false, 0);
                Duration::ZERO
            }
            End::Looked => {
                self.failures = 0;
                if self.how == How::Once {
                    return None;
                }
                spread(self.pace.look, random)
            }
            End::Over(lasted) if !self.is_short(*lasted) => {
                self.failures = 0;
                spread(self.pace.again, random)
            }
            End::Expired => {
                (self.version, self.anew) = (None, true);
                self.failed(random)
            }
            // A volume comes with its claim, if not at once.
            End::Refused(404, _) if self.how == How::Once => self.failed(random),
            // A kind that is forbidden, or that the cluster does not have, may come: somebody changes a role, or updates the cluster.
            End::Refused(403 | 404, _) => {
                (self.version, self.anew) = (None, true);
                spread(self.pace.look, random)
            }
            End::Refused(_, Some(after)) => self.failed(random).max(later((*after).min(RETRY_AFTER), random)),
            End::Over(_) | End::Refused(_, None) | End::Failed => self.failed(random),
        })
    }

    /// Twice as long after each failure.
    fn failed(&mut self, random: u64) -> Duration {
        let doubled = self.pace.again.saturating_mul(1 << self.failures.min(MOST_DOUBLED));
        self.failures += 1;
        spread(doubled.min(self.pace.longest), random)
    }
}

/// Between two thirds and four thirds of a time.
pub fn spread(about: Duration, random: u64) -> Duration {
    about.mul_f64(2.0 / 3.0 * (1.0 + fraction(random)))
}

/// Between a time and a fifth more.
fn later(least: Duration, random: u64) -> Duration {
    least.mul_f64(1.0 + fraction(random) / 5.0)
}

/// A number from 0 up to 1, of any number.
pub fn fraction(random: u64) -> f64 {
    f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests;
