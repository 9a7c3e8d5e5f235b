//! PURE: an event of the kernel about a device, as its netlink socket gives it -> what became of a disk, or a named reason why not.
//! See `lib/kobject_uevent.c`: a line `ACTION@DEVPATH`, and behind it `KEY=VALUE`, each with a zero at its end.

use super::Disk;
use crate::device::Dev;

/// What became of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskEvent {
    /// The kernel's count of all such events, by which it is before or after a look at the disks.
    pub seqnum: u64,
    /// The disk as the event has it.
    pub disk: Disk,
    /// Whether it went. Otherwise it came, or something about it changed.
    pub gone: bool,
}

/// Why an event that is about a disk cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UeventError {
    /// No event of the kernel's begins like this.
    #[error("it does not begin with ACTION@DEVPATH")]
    NoHead,
    /// Something that each event of a disk has.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A number that is none.
    #[error("its {0} is no number")]
    NoNumber(&'static str),
}

/// What an event says of a disk; `None` when it is about something else: another device, a partition, or a path of NVMe
/// that the kernel hides, which has no number.
pub fn decode(bytes: &[u8]) -> Result<Option<DiskEvent>, UeventError> {
    let mut fields = bytes.split(|byte| *byte == 0);
    let head = fields.next().unwrap_or_default();
    if !head.contains(&b'@') {
        return Err(UeventError::NoHead);
    }
    let fields: Vec<(&[u8], &[u8])> = fields.filter_map(pair).collect();
    let value = |key: &str| fields.iter().find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| *value);
    if value("SUBSYSTEM") != Some(b"block") || value("DEVTYPE") != Some(b"disk") {
        return Ok(None);
    }
    let number = |key: &'static str| value(key).map(|text| decimal(text).ok_or(UeventError::NoNumber(key))).transpose();
    let short = |key: &'static str| {
        let number = number(key)?;
        number.map(|number| u32::try_from(number).map_err(|_| UeventError::NoNumber(key))).transpose()
    };
    let (Some(major), Some(minor)) = (short("MAJOR")?, short("MINOR")?) else { return Ok(None) };
    let action = value("ACTION").ok_or(UeventError::Missing("ACTION"))?;
    let name = value("DEVNAME").ok_or(UeventError::Missing("DEVNAME"))?;
    let disk = Disk {
        dev: Dev { major, minor },
        name: String::from_utf8_lossy(name).into_owned(),
        diskseq: number("DISKSEQ")?,
    };
    let seqnum = number("SEQNUM")?.ok_or(UeventError::Missing("SEQNUM"))?;
    Ok(Some(DiskEvent { seqnum, disk, gone: action == b"remove" }))
}

fn pair(field: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = field.iter().position(|byte| *byte == b'=')?;
    Some((&field[..at], &field[at + 1..]))
}

/// Digits alone: `parse` would take a sign.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As 6.18 sends it.
    const ADD: &[u8] =
        b"add@/devices/virtual/block/loop7\0ACTION=add\0DEVPATH=/devices/virtual/block/loop7\0SUBSYSTEM=block\0\
        MAJOR=7\0MINOR=7\0DEVNAME=loop7\0DEVTYPE=disk\0DISKSEQ=23\0SEQNUM=1234\0";

    fn without(key: &str) -> Vec<u8> {
        let fields = ADD.split(|byte| *byte == 0).filter(|field| !field.starts_with(format!("{key}=").as_bytes()));
        fields.collect::<Vec<_>>().join(&0)
    }

    fn with(from: &str, to: &str) -> Vec<u8> {
        String::from_utf8(ADD.to_vec()).unwrap().replace(from, to).into_bytes()
    }

    #[test]
    fn a_disk_comes_changes_and_goes() {
        let disk = Disk { dev: Dev { major: 7, minor: 7 }, name: "loop7".to_owned(), diskseq: Some(23) };
        let event = DiskEvent { seqnum: 1234, disk: disk.clone(), gone: false };
        assert_eq!(decode(ADD), Ok(Some(event.clone())));
        assert_eq!(decode(&with("add", "change")), Ok(Some(event.clone())));
        assert_eq!(decode(&with("add", "remove")), Ok(Some(DiskEvent { gone: true, ..event.clone() })));
        let disk = Disk { diskseq: None, ..disk };
        assert_eq!(decode(&without("DISKSEQ")), Ok(Some(DiskEvent { disk, ..event })), "before Linux 5.15");
    }

    #[test]
    fn what_is_no_disk_is_passed_over() {
        for bytes in [
            with("SUBSYSTEM=block", "SUBSYSTEM=net"),
            with("DEVTYPE=disk", "DEVTYPE=partition"),
            without("SUBSYSTEM"),
            without("DEVTYPE"),
            without("MAJOR"),
            without("MINOR"),
        ] {
            assert_eq!(decode(&bytes), Ok(None), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_broken_says_where() {
        for (bytes, why) in [
            (b"libudev\0\xfe\xed".to_vec(), UeventError::NoHead),
            (Vec::new(), UeventError::NoHead),
            (without("ACTION"), UeventError::Missing("ACTION")),
            (without("DEVNAME"), UeventError::Missing("DEVNAME")),
            (without("SEQNUM"), UeventError::Missing("SEQNUM")),
            (with("MAJOR=7", "MAJOR=+7"), UeventError::NoNumber("MAJOR")),
            (with("MINOR=7", "MINOR=4294967296"), UeventError::NoNumber("MINOR")),
            (with("DISKSEQ=23", "DISKSEQ="), UeventError::NoNumber("DISKSEQ")),
            (with("SEQNUM=1234", "SEQNUM=18446744073709551616"), UeventError::NoNumber("SEQNUM")),
        ] {
            assert_eq!(decode(&bytes), Err(why), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_a_reason(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        /// Cut anywhere, it is no other disk: it is understood as it was, or not, but for a number's last digits, which a
        /// socket does not cut.
        #[test]
        fn a_cut_event_is_no_other_disk(length in 0..ADD.len()) {
            if let Ok(Some(event)) = decode(&ADD[..length]) {
                prop_assert_eq!(event.disk.dev, Dev { major: 7, minor: 7 });
                prop_assert_eq!(event.disk.name, "loop7");
            }
        }

        #[test]
        fn a_broken_byte_is_no_panic(at in 0..ADD.len(), byte: u8) {
            let mut bytes = ADD.to_vec();
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
