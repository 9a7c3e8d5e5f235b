//! Bytes that others chose, made harmless: printable, valid UTF-8, and still reversible.
//!
//! A backslash becomes `\x5c`, so that every `\xNN` in the output is an escape and stands for exactly one byte. Escaped
//! are control characters, bytes that are not UTF-8, and the characters that change the direction or the layout of
//! what stands around them.

use std::{borrow::Cow, fmt::Write as _};

use tracer_common::fact::SOURCE_BYTES;

/// In place of what is not shown.
const HIDDEN: &[u8] = b"***";

/// The text of `bytes`.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_harmless(c) {
                out.push(c);
            } else {
                let mut buffer = [0; 4];
                push_bytes(&mut out, c.encode_utf8(&mut buffer).as_bytes());
            }
        }
        push_bytes(&mut out, chunk.invalid());
    }
    out
}

/// A source, escaped, without what may be a secret in it.
pub fn escape_source(bytes: &[u8]) -> String {
    escape(&hidden_source(bytes))
}

/// A source without what may be a secret in it: the user part of a URL, of `//user:password@host` and of
/// `user:password@host:/path`, a query string, a fragment. A path is none of these, and stays whole.
pub fn hidden_source(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.starts_with(b"/") && !bytes.starts_with(b"//") {
        return Cow::Borrowed(bytes);
    }
    let slashes = find(bytes, b"//").map(|at| at + 2);
    let (head, rest) = bytes.split_at(slashes.unwrap_or(0));
    let host = &rest[..find(rest, b"/").unwrap_or(rest.len())];
    let last_at = |text: &[u8]| text.iter().rposition(|byte| *byte == b'@');
    let at = match slashes {
        Some(_) => last_at(host).or_else(|| last_at(rest)),
        None => last_at(host).filter(|at| host[..*at].contains(&b':')),
    };
    // One that a probe has cut may have lost the `@` behind its password. A longer one comes from a mount table, whole.
    let cut = bytes.len() + 1 == SOURCE_BYTES;
    if at.is_none() && cut && (slashes.is_some() || host.contains(&b':')) {
        return Cow::Owned([head, HIDDEN].concat());
    }
    if at.is_none() && slashes.is_none() && find(bytes, b":/").is_none() {
        return Cow::Borrowed(bytes);
    }
    let (user, path) = at.map_or((&b""[..], rest), |at| (b"***@", &rest[at + 1..]));
    match path.iter().position(|byte| b"?#".contains(byte)) {
        Some(end) => Cow::Owned([head, user, &path[..=end], HIDDEN].concat()),
        None => Cow::Owned([head, user, path].concat()),
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// Unicode's format characters change how their neighbours are shown: bidirectional overrides, zero-width ones, tags.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\\' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes every escape back.
    fn unescape(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            if *first == b'\\' {
                let (digits, tail) = tail[1..].split_at(2);
                out.push(u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap());
                rest = tail;
            } else {
                out.push(*first);
                rest = tail;
            }
        }
        out
    }

    #[test]
    fn what_could_do_harm_is_escaped() {
        assert_eq!(escape(b"/mnt/a b"), "/mnt/a b");
        assert_eq!(escape("/möhre".as_bytes()), "/möhre");
        assert_eq!(escape(b"a\x1b[2J\n"), "a\\x1b[2J\\x0a");
        assert_eq!(escape(b"\xff\\"), "\\xff\\x5c");
        assert_eq!(escape("\u{202e}".as_bytes()), "\\xe2\\x80\\xae");
        assert_eq!(escape("\u{9b}".as_bytes()), "\\xc2\\x9b");
    }

    #[test]
    fn a_sources_secrets_stay_inside() {
        assert_eq!(escape_source(b"/dev/sda1"), "/dev/sda1");
        assert_eq!(escape_source(b"host:/export@2"), "host:/export@2");
        assert_eq!(escape_source(b"//user:pass@host/share"), "//***@host/share");
        assert_eq!(escape_source(b"https://u:p@ss@host/x?token=1"), "https://***@host/x?***");
        assert_eq!(escape_source(b"https://u:p/w@host/x"), "https://***@host/x", "a slash in the password");
        assert_eq!(escape_source(b"//host/share"), "//host/share");
        assert_eq!(escape_source(b"https://host/x#token=1"), "https://host/x#***");
        assert_eq!(escape_source(b"host:/x?token=1"), "host:/x?***");
        assert_eq!(escape_source(b"user:pass@host:/x"), "***@host:/x");
        assert_eq!(escape_source(b"user@host:/x"), "user@host:/x");
        assert_eq!(escape_source(b"/srv//a:b@c?d#e"), "/srv//a:b@c?d#e", "a path");
        assert_eq!(escape_source(b"a#b?c"), "a#b?c", "no host");
        let every: Vec<u8> = (1..=u8::MAX).collect();
        assert_eq!(escape_source(&every), escape(&every), "as long as one that was cut, and nothing of the kind");
        let cut = [b"https://user:".as_slice(), &[b's'; 242]].concat();
        assert_eq!(escape_source(&cut), "https://***");
        assert_eq!(escape_source(&[b"user:".as_slice(), &[b's'; 250]].concat()), "***");
        let monitors = format!("{}:/volumes", "10.0.0.1:6789,".repeat(20));
        assert_eq!(escape_source(monitors.as_bytes()), monitors, "longer than what a probe copies");
        let long = format!("https://user:{}@host/x", "s".repeat(300));
        assert_eq!(escape_source(long.as_bytes()), "https://***@host/x");
    }

    proptest! {
        #[test]
        fn what_is_hidden_stays_hidden(bytes: Vec<u8>) {
            let once = hidden_source(&bytes).into_owned();
            prop_assert_eq!(&*hidden_source(&once), &*once);
        }

        #[test]
        fn every_escape_can_be_taken_back(bytes: Vec<u8>) {
            let text = escape(&bytes);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(unescape(&text), bytes);
        }
    }
}
