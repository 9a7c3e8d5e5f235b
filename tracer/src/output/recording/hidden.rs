//! PURE: a record of the ring without what may be a secret in its source.

use tracer_common::fact::{CallEnd, Header, MountFact, kind};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::output::escape::hidden_source;

/// The record, with its source as it is shown. One that cannot be understood is kept: it carries no source that could be
/// found in it.
pub(super) fn without_secrets(record: &[u8]) -> Vec<u8> {
    shown(record).unwrap_or_else(|| record.to_vec())
}

fn shown(record: &[u8]) -> Option<Vec<u8>> {
    let (header, _) = Header::read_from_prefix(record).ok()?;
    if header.bytes as usize != record.len() {
        return None;
    }
    match header.kind {
        kind::ATTACH | kind::MOVE | kind::CHANGE | kind::DETACH | kind::SEED | kind::TARGET => {
            let (mut fact, tail) = MountFact::read_from_prefix(record).ok()?;
            let before = usize::from(fact.mount.path.bytes) + usize::from(fact.mount.root.bytes);
            let (walks, source) = tail.split_at_checked(before)?;
            let (source, rest) = source.split_at_checked(fact.mount.source_bytes as usize)?;
            let source = hide(source);
            fact.mount.source_bytes = u32::try_from(source.len()).ok()?;
            Some(joined(fact.as_bytes(), &[walks, &source, rest]))
        }
        kind::CALL_END => {
            let (mut end, tail) = CallEnd::read_from_prefix(record).ok()?;
            let (source, rest) = tail.split_at_checked(end.source_bytes as usize)?;
            let source = hide(source);
            end.source_bytes = u32::try_from(source.len()).ok()?;
            Some(joined(end.as_bytes(), &[&source, rest]))
        }
        _ => None,
    }
}

/// A source with its NUL.
fn hide(source: &[u8]) -> Vec<u8> {
    let Some((text, [0])) = source.split_last_chunk::<1>() else { return source.to_vec() };
    [&*hidden_source(text), &[0]].concat()
}

/// A record of a fixed part and what follows it, with its length.
fn joined(fixed: &[u8], tail: &[&[u8]]) -> Vec<u8> {
    let mut record = [&[fixed], tail].concat().concat();
    let bytes = u32::try_from(record.len()).unwrap_or(u32::MAX);
    if let Some(length) = record.get_mut(4..8) {
        length.copy_from_slice(&bytes.to_ne_bytes());
    }
    record
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::FromZeros as _;

    use super::*;
    use crate::{
        decode::{Fact, decode},
        operation::SectionFact,
    };

    fn attach(source: &[u8]) -> Vec<u8> {
        let mut fact = MountFact::new_zeroed();
        fact.header.kind = kind::ATTACH;
        fact.mount.path.bytes = 4;
        fact.mount.source_bytes = u32::try_from(source.len() + 1).unwrap();
        joined(fact.as_bytes(), &[b"mnt\0", source, &[0]])
    }

    #[test]
    fn a_source_is_kept_as_it_is_shown() {
        for (source, kept) in [
            (b"/dev/sda1".as_slice(), b"/dev/sda1".as_slice()),
            (b"//user:secret@host/share", b"//***@host/share"),
            (b"https://host/x?token=secret", b"https://host/x?***"),
        ] {
            let Ok(Fact::Section(_, SectionFact::Mount(_, mount))) = decode(&without_secrets(&attach(source))) else {
                panic!("no mount any more");
            };
            assert_eq!((mount.source.as_deref(), mount.path.unwrap().as_slice()), (Some(kept), b"/mnt".as_slice()));
        }
        let mut end = CallEnd::new_zeroed();
        (end.header.kind, end.syscall, end.source_bytes, end.target_bytes) = (kind::CALL_END, 1, 15, 2);
        let record = joined(end.as_bytes(), &[b"//u:secret@h/s\0", b"t\0"]);
        let Ok(Fact::CallEnd(end)) = decode(&without_secrets(&record)) else { panic!("no call any more") };
        assert_eq!(end.claimed.source.as_deref(), Some(b"//***@h/s".as_slice()));
        assert_eq!(end.claimed.target.as_deref(), Some(b"t".as_slice()));
    }

    proptest! {
        #[test]
        fn any_bytes_stay_decodable_as_they_were(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&without_secrets(&bytes)).is_ok(), decode(&bytes).is_ok());
        }
    }
}
