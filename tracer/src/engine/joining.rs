//! PURE: the volumes that the kubelet mounts, and what Kubernetes tells of them. A mount may come before its pod is known, or before its claim
//! is: it waits, for so long and among so many, and is then counted by the reason why nothing is known of it.

use std::collections::VecDeque;

use super::{Effect, Engine};
use crate::{
    operation::Operation,
    pods::{
        PodUid,
        view::{Known, PodView, Update, Whose, Why},
    },
};

/// How long a volume waits: the agent begins to ask within 30 s after its start, and an answer may take as long.
const PATIENCE_NS: u64 = 60_000_000_000;
/// Volumes that wait at most.
const MOST_WAITING: usize = 4096;

/// Volumes, by what Kubernetes tells of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    claims: u64,
    own: u64,
    unresolved: [u64; Why::ALL.len()],
}

impl Joined {
    /// Each with its name: `claim`, `own` for those that have none, and the reasons why nothing is known.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let reasons = Why::ALL.iter().zip(self.unresolved).map(|(why, volumes)| (why.name(), volumes));
        [("claim", self.claims), ("own", self.own)].into_iter().chain(reasons)
    }
}

/// What is known of pods, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// `None` where nobody asks Kubernetes: then nothing waits either.
    view: Option<PodView>,
    /// Until when (`CLOCK_BOOTTIME` in nanoseconds), oldest first.
    waiting: VecDeque<(u64, PodUid, String)>,
    joined: Joined,
}

impl Joining {
    /// The kubelet has mounted a volume.
    fn mounted(&mut self, pod: &PodUid, directory: &str, now_ns: u64) {
        let Some(view) = &self.view else { return };
        match view.claim_of(pod, directory) {
            Err(why) if why.may_pass() && self.waiting.len() < MOST_WAITING => {
                self.waiting.push_back((now_ns.saturating_add(PATIENCE_NS), pod.clone(), directory.to_owned()));
            }
            found => count(&mut self.joined, &found),
        }
    }

    /// The API server told something.
    fn told(&mut self, update: Update) {
        let Some(view) = &mut self.view else { return };
        view.apply(update);
        let joined = &mut self.joined;
        self.waiting.retain(|(_, pod, directory)| {
            let found = view.claim_of(pod, directory);
            let waits = found.is_err_and(Why::may_pass);
            if !waits {
                count(joined, &found);
            }
            waits
        });
    }

    /// Time has come: who has waited for long enough goes on without.
    pub(super) fn expire(&mut self, now_ns: u64) {
        let Some(view) = &self.view else { return };
        while let Some((_, pod, directory)) = self.waiting.pop_front_if(|(until_ns, ..)| *until_ns <= now_ns) {
            count(&mut self.joined, &view.claim_of(&pod, &directory));
        }
    }

    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        self.waiting.front().map(|(until_ns, ..)| *until_ns)
    }
}

fn count(joined: &mut Joined, found: &Result<Whose<'_>, Why>) {
    match found {
        Ok(Whose::Claim(_)) => joined.claims += 1,
        Ok(Whose::Pod(_)) => joined.own += 1,
        Err(why) => {
            if let Some(at) = Why::ALL.iter().position(|one| one == why) {
                joined.unresolved[at] += 1;
            }
        }
    }
}

impl Engine {
    /// The same that is told of pods.
    #[must_use]
    pub fn with_pods(mut self) -> Self {
        self.joining.view = Some(PodView::default());
        self
    }

    /// What is known of pods; `None` where nobody asks Kubernetes.
    pub fn pods(&self) -> Option<&PodView> {
        self.joining.view.as_ref()
    }

    /// How much is known of pods, and what became of the volumes.
    pub fn joined(&self) -> (Known, Joined) {
        (self.joining.view.as_ref().map(PodView::known).unwrap_or_default(), self.joining.joined)
    }

    pub(super) fn pods_told(&mut self, update: Update) -> Vec<Effect> {
        self.joining.told(update);
        Vec::new()
    }

    /// The volumes that an operation mounts.
    pub(super) fn volumes_of(&mut self, operation: &Operation, now_ns: u64) {
        let Some(limiter) = self.limiter.as_ref().filter(|_| self.joining.view.is_some()) else { return };
        for sighting in limiter.sightings(operation) {
            self.joining.mounted(&sighting.pod_uid, &sighting.volume, now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pods::view::tests::{claim, pod};

    fn joining() -> Joining {
        Joining { view: Some(PodView::default()), ..Joining::default() }
    }

    fn counts(joining: &Joining) -> Vec<(&'static str, u64)> {
        joining.joined.by_name().filter(|(_, volumes)| *volumes > 0).collect()
    }

    fn told_of_pod() -> Update {
        Update::Pod(Box::new(pod(0, "data")))
    }

    fn told_of_claim() -> Update {
        Update::Claim(Box::new(claim("data", "c1", Some("pvc-1"))))
    }

    #[test]
    fn a_volume_waits_for_its_pod_and_its_claim() {
        let mut joining = joining();
        joining.mounted(&pod(0, "").uid, "pvc-1", 0);
        joining.told(told_of_pod());
        assert_eq!((counts(&joining), joining.next_deadline_ns()), (vec![], Some(PATIENCE_NS)));
        joining.told(told_of_claim());
        assert_eq!((counts(&joining), joining.next_deadline_ns()), (vec![("claim", 1)], None));
        joining.mounted(&pod(0, "").uid, "pvc-1", 1);
        joining.mounted(&pod(0, "").uid, "other", 1);
        assert_eq!(counts(&joining), [("claim", 2), ("not_in_spec", 1)], "at once");
    }

    #[test]
    fn it_waits_for_so_long() {
        let mut joining = joining();
        joining.mounted(&pod(0, "").uid, "pvc-1", 0);
        joining.mounted(&pod(1, "").uid, "pvc-1", 1);
        joining.told(told_of_pod());
        joining.expire(PATIENCE_NS - 1);
        assert_eq!(counts(&joining), []);
        joining.expire(PATIENCE_NS);
        assert_eq!(counts(&joining), [("claim_unknown", 1)]);
        joining.expire(PATIENCE_NS + 1);
        assert_eq!(counts(&joining), [("pod_unknown", 1), ("claim_unknown", 1)]);
        assert_eq!(joining.next_deadline_ns(), None);
    }

    #[test]
    fn there_is_an_end_to_the_room() {
        let mut joining = joining();
        for _ in 0..=MOST_WAITING {
            joining.mounted(&pod(0, "").uid, "pvc-1", 0);
        }
        assert_eq!(counts(&joining), [("pod_unknown", 1)]);
        joining.told(told_of_pod());
        joining.told(told_of_claim());
        assert_eq!(counts(&joining), [("claim", MOST_WAITING as u64), ("pod_unknown", 1)]);
    }

    #[test]
    fn where_nobody_asks_nothing_waits() {
        let mut joining = Joining::default();
        joining.mounted(&pod(0, "").uid, "pvc-1", 0);
        joining.told(told_of_pod());
        assert_eq!((joining.next_deadline_ns(), counts(&joining)), (None, vec![]));
    }

    proptest! {
        #[test]
        fn each_volume_is_counted_once(steps in prop::collection::vec((0..5_usize, 0..2_usize, 0..90_u64), 0..60)) {
            let (mut joining, mut mounted, mut now_ns) = (joining(), 0, 0);
            for (step, number, seconds) in steps {
                now_ns += seconds * 1_000_000_000;
                match step {
                    0 | 1 => {
                        joining.mounted(&pod(number, "").uid, "pvc-1", now_ns);
                        mounted += 1;
                    }
                    2 => joining.told(Update::Pod(Box::new(pod(number, "data")))),
                    3 => joining.told(told_of_claim()),
                    _ => joining.told(Update::PodGone(pod(number, "").uid)),
                }
                joining.expire(now_ns);
                let counted: u64 = joining.joined.by_name().map(|(_, volumes)| volumes).sum();
                prop_assert_eq!(counted + joining.waiting.len() as u64, mounted);
                prop_assert!(joining.next_deadline_ns().is_none_or(|at| at > now_ns));
            }
            joining.expire(u64::MAX);
            prop_assert!(joining.waiting.is_empty());
        }
    }
}
