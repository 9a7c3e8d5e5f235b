//! PURE: from the kernel's stamps to wall time. The two readings come in, once.

use jiff::Timestamp;

/// The distance between boot time and wall time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall_minus_boot_ns: i128,
}

impl Clock {
    /// From two readings taken together: `CLOCK_REALTIME` and `CLOCK_BOOTTIME` in nanoseconds.
    pub fn new(wall_ns: i128, boot_ns: u64) -> Self {
        Self { wall_minus_boot_ns: wall_ns - i128::from(boot_ns) }
    }

    /// Wall time at boot, in nanoseconds since 1970.
    pub fn boot_at_ns(self) -> i128 {
        self.wall_minus_boot_ns
    }

    /// RFC 3339 in UTC with nanoseconds.
    pub fn wall(self, boot_ns: u64) -> String {
        format!("{:.9}", self.timestamp(boot_ns))
    }

    /// The time of day in UTC, to milliseconds.
    pub fn time_of_day(self, boot_ns: u64) -> String {
        self.timestamp(boot_ns).strftime("%H:%M:%S%.3f").to_string()
    }

    /// The wall time; the end of time where the sum is beyond what a calendar holds.
    pub fn timestamp(self, boot_ns: u64) -> Timestamp {
        Timestamp::from_nanosecond(self.wall_minus_boot_ns + i128::from(boot_ns)).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_becomes_wall_time() {
        let clock = Clock::new(1_700_000_000_000_000_000, 1_000);
        assert_eq!(clock.wall(1_000), "2023-11-14T22:13:20.000000000Z");
        assert_eq!(clock.wall(1_001), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(clock.time_of_day(5_001_000), "22:13:20.005");
    }
}
