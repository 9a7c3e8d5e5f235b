//! What varies from run to run: names, sizes, the limit. PURE: the same seed gives the same plan.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

const MIB: u64 = 1 << 20;
/// Limits are whole pages, so that they are seldom round numbers.
const PAGE: u64 = 4096;

/// A disk alone has to be this much faster than the limit, or the limit would show nothing.
const FASTER: u64 = 5;
/// The limit that a slow disk gets has at least this many bytes per second: with less, what is written in a few seconds is no measure.
const LEAST: u64 = MIB;

/// Who names the pods' cgroups on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    Systemd,
    Cgroupfs,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) driver: Driver,
    pub(super) pod_uid: String,
    pub(super) container: String,
    pub(super) volume: String,
    /// Bytes per second, for reads and writes each.
    pub(super) read_limit: u64,
    pub(super) write_limit: u64,
    /// Bytes; of the loop device, where there is no disk.
    pub(super) disk_size: u64,
}

/// A seed that nobody chose.
pub(super) fn seed_from_clock() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(now.as_secs())
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = SplitMix64(seed);
        let driver = if random.below(2) == 0 { Driver::Systemd } else { Driver::Cgroupfs };
        let words: Vec<String> = (0..4).map(|_| format!("{:016x}", random.next())).collect();
        Self {
            seed,
            driver,
            pod_uid: uuid(&mut random),
            container: words.concat(),
            volume: format!("pvc-{}", uuid(&mut random)),
            read_limit: 2 * MIB + random.below(4 * MIB / PAGE) * PAGE,
            write_limit: 2 * MIB + random.below(4 * MIB / PAGE) * PAGE,
            disk_size: (192 + random.below(129)) * MIB,
        }
    }

    /// With limits that can be seen on a disk that alone writes so many bytes per second; none if it is too slow for any.
    pub(super) fn fitting(&self, rate: u64) -> Option<Self> {
        let most = rate / FASTER / PAGE * PAGE;
        let fit = |limit: u64| limit.min(most);
        (most >= LEAST).then(|| Self {
            read_limit: fit(self.read_limit),
            write_limit: fit(self.write_limit),
            ..self.clone()
        })
    }

    /// What a disk has to write per second alone, at least.
    pub(super) fn least_rate() -> u64 {
        LEAST * FASTER
    }
}

/// A random UUID, version 4.
fn uuid(random: &mut SplitMix64) -> String {
    let (high, low) = (random.next(), random.next());
    let version = (high & 0x0fff) | 0x4000;
    let variant = ((low >> 48) & 0x3fff) | 0x8000;
    format!(
        "{:08x}-{:04x}-{version:04x}-{variant:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        low & 0xffff_ffff_ffff
    )
}

/// Vigna's generator: small, and good enough for names.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is small against 2^64.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn one_seed_one_plan_within_bounds() {
        for seed in 0..1000 {
            let plan = Plan::new(seed);
            assert_eq!(plan, Plan::new(seed));
            for limit in [plan.read_limit, plan.write_limit] {
                assert!((2 * MIB..6 * MIB).contains(&limit));
            }
            let dashes: Vec<usize> = plan.pod_uid.match_indices('-').map(|(at, _)| at).collect();
            assert_eq!((plan.pod_uid.len(), dashes), (36, vec![8, 13, 18, 23]));
            assert_eq!(&plan.pod_uid[14..15], "4");
            assert_eq!(plan.container.len(), 64);
        }
    }

    #[test]
    fn a_slow_disk_gets_a_smaller_limit() {
        let plan = Plan::new(1);
        assert_eq!(plan.fitting(100 * MIB), Some(plan.clone()));
        assert_eq!(plan.fitting(Plan::least_rate() - 1), None);
        for rate in [Plan::least_rate(), 8 * MIB, 14 * MIB + 123] {
            let slow = plan.fitting(rate).unwrap();
            assert!(slow.write_limit * FASTER <= rate && slow.write_limit >= LEAST && slow.read_limit >= LEAST);
            assert_eq!(Plan { read_limit: plan.read_limit, write_limit: plan.write_limit, ..slow }, plan);
        }
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(Plan::new(1).pod_uid, Plan::new(2).pod_uid);
        assert!((0..20).any(|seed| Plan::new(seed).driver == Driver::Systemd));
        assert!((0..20).any(|seed| Plan::new(seed).driver == Driver::Cgroupfs));
    }
}
