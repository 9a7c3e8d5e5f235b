//! PURE: a device number, as the kernel keeps it and as everybody writes it.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Serialize, Serializer};

/// A device's number. Printed as `MAJOR:MINOR`, which is what `io.max` and sysfs take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dev {
    /// The driver's number; 0 for file systems without a block device.
    pub major: u32,
    /// The driver's own count.
    pub minor: u32,
}

impl Dev {
    /// From the kernel's internal `dev_t`: 12 bits of major, 20 bits of minor (`MINORBITS` of `linux/kdev_t.h`).
    pub fn from_kernel(dev: u32) -> Self {
        Self { major: dev >> 20, minor: dev & 0x000f_ffff }
    }

    /// From a `st_dev` of stat(2).
    pub fn from_stat(dev: u64) -> Self {
        Self { major: rustix::fs::major(dev), minor: rustix::fs::minor(dev) }
    }
}

impl fmt::Display for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Serialize for Dev {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A device number is two decimal numbers with a colon between.
#[derive(Debug, thiserror::Error)]
#[error("not a device number: write MAJOR:MINOR, for example 8:16")]
pub struct DevError(#[source] Option<ParseIntError>);

impl FromStr for Dev {
    type Err = DevError;

    fn from_str(text: &str) -> Result<Self, DevError> {
        let (major, minor) = text.split_once(':').ok_or(DevError(None))?;
        let number = |text: &str| text.parse().map_err(|error| DevError(Some(error)));
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_encoding_has_twenty_bits_of_minor() {
        assert_eq!(Dev::from_kernel(8 << 20 | 16).to_string(), "8:16");
        assert_eq!(Dev::from_kernel(259 << 20 | 0xf_ffff).to_string(), "259:1048575");
    }

    #[test]
    fn a_number_is_read_back() {
        assert_eq!("259:300".parse::<Dev>().unwrap(), Dev { major: 259, minor: 300 });
        assert!("259".parse::<Dev>().is_err());
        assert!("8:-1".parse::<Dev>().is_err());
    }
}
