//! PURE: volumes whose pod has no cgroup yet, bounded in time and number.

use crate::{correlate::Sighting, host::Facts, limit::decide::POD_WAIT_US, operation::MountKey, pods::PodUid};

/// Volumes that may wait at once: more than a node can mount within the time that they wait.
pub const MAX_WAITING: usize = 4096;

/// What waits, oldest first.
#[derive(Debug, Default)]
pub struct Waiting {
    volumes: Vec<Waits>,
}

#[derive(Debug)]
struct Waits {
    since_ns: u64,
    sighting: Sighting,
}

impl Waiting {
    /// Lets a volume wait from `now_ns` on; gives it back when there is no room.
    pub fn push(&mut self, sighting: Sighting, now_ns: u64) -> Result<(), Box<Sighting>> {
        if self.volumes.len() >= MAX_WAITING {
            return Err(Box::new(sighting));
        }
        self.volumes.push(Waits { since_ns: now_ns, sighting });
        Ok(())
    }

    /// The volumes of a pod whose cgroup has come.
    pub fn take(&mut self, pod: &PodUid) -> Vec<Sighting> {
        self.volumes.extract_if(.., |waits| waits.sighting.pod_uid == *pod).map(|waits| waits.sighting).collect()
    }

    /// Whether the volume of this mount waits.
    pub fn has(&self, mount: MountKey) -> bool {
        self.volumes.iter().any(|waits| waits.sighting.mount == mount)
    }

    /// The node has said more of a volume that may wait.
    pub fn learn(&mut self, mount: MountKey, facts: &Facts) {
        for waits in self.volumes.iter_mut().filter(|waits| waits.sighting.mount == mount) {
            waits.sighting.facts = Some(facts.clone());
        }
    }

    /// This mount is no volume in use any more.
    pub fn forget(&mut self, mount: MountKey) {
        self.volumes.retain(|waits| waits.sighting.mount != mount);
    }

    /// The volumes that have waited long enough.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Sighting> {
        let late = |waits: &mut Waits| now_ns >= expiry_ns(waits);
        self.volumes.extract_if(.., late).map(|waits| waits.sighting).collect()
    }

    /// When the next one will have waited long enough, `CLOCK_BOOTTIME` in nanoseconds.
    pub fn next_expiry_ns(&self) -> Option<u64> {
        self.volumes.iter().map(expiry_ns).min()
    }
}

fn expiry_ns(waits: &Waits) -> u64 {
    waits.since_ns.saturating_add(POD_WAIT_US * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Dev;

    const MOUNT: MountKey = MountKey { id_unique: None, id: 7 };

    fn sighting(pod: &str, path: &str) -> Sighting {
        Sighting {
            mount: MOUNT,
            pod_uid: PodUid::parse(pod).unwrap(),
            volume: "pvc-1".to_owned(),
            plugin: None,
            fstype: None,
            path: path.as_bytes().to_vec(),
            dev: Dev { major: 259, minor: 0 },
            end_ns: 0,
            facts: None,
        }
    }

    const A: &str = "0b7cf5a4-6c4e-4d6e-9f0a-3f1d2c4b5a69";
    const B: &str = "1b7cf5a4-6c4e-4d6e-9f0a-3f1d2c4b5a69";

    #[test]
    fn a_volume_waits_for_its_own_pod() {
        let mut waiting = Waiting::default();
        waiting.push(sighting(A, "/a"), 0).unwrap();
        waiting.push(sighting(B, "/b"), 0).unwrap();
        assert_eq!(waiting.take(&PodUid::parse(A).unwrap()), [sighting(A, "/a")]);
        assert_eq!(waiting.take(&PodUid::parse(A).unwrap()), []);
    }

    #[test]
    fn it_waits_for_a_minute_and_no_longer() {
        let mut waiting = Waiting::default();
        waiting.push(sighting(A, "/a"), 5).unwrap();
        assert_eq!(waiting.next_expiry_ns(), Some(60_000_000_005));
        assert_eq!(waiting.expire(60_000_000_004), []);
        assert_eq!(waiting.expire(60_000_000_005).len(), 1);
        assert_eq!(waiting.next_expiry_ns(), None);
    }

    #[test]
    fn what_is_unmounted_is_forgotten() {
        let mut waiting = Waiting::default();
        waiting.push(sighting(A, "/a"), 0).unwrap();
        waiting.forget(MountKey { id: 8, ..MOUNT });
        assert!(waiting.has(MOUNT), "another mount may have been at the same path");
        waiting.forget(MOUNT);
        assert_eq!(waiting.next_expiry_ns(), None);
    }

    #[test]
    fn there_is_an_end_to_the_room() {
        let mut waiting = Waiting::default();
        for _ in 0..MAX_WAITING {
            waiting.push(sighting(A, "/a"), 0).unwrap();
        }
        assert!(waiting.push(sighting(B, "/b"), 0).is_err());
    }
}
