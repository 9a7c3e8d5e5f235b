//! PURE: the bytes of a mountinfo file -> mounts, or a named reason why not, with the place. See `proc_pid_mountinfo(5)`.
//!
//! An error never carries what was read: there may be a secret in it.

use crate::{
    device::Dev,
    listed::Listed,
    operation::{Mount, Namespace, Objects},
    options::{Options, Shown},
    output::flags,
};

/// A line that is not as the kernel writes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, byte {offset} of the file: {problem}")]
pub struct MountinfoError {
    /// Counted from 1.
    pub line: usize,
    /// Of the file, counted from 0.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The line ends before it.
    #[error("the line ends before the {0}")]
    Missing(&'static str),
    /// It is no number of 32 bits.
    #[error("the {0} is no number")]
    NoNumber(&'static str),
    /// It is not MAJOR:MINOR.
    #[error("the device is not MAJOR:MINOR")]
    NoDevice,
}

/// The mounts of a file, all in this namespace.
pub fn parse(bytes: &[u8], namespace: Namespace) -> Result<Vec<Listed>, MountinfoError> {
    let mut mounts = Vec::new();
    let mut offset = 0;
    for (line, text) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if !text.is_empty() {
            let mut fields = Fields { line: line + 1, base: offset, text, at: Some(0) };
            mounts.push(fields.listed(namespace)?);
        }
        offset += text.len() + 1;
    }
    Ok(mounts)
}

/// What is left of a line.
struct Fields<'a> {
    line: usize,
    /// Where the line begins in the file.
    base: usize,
    text: &'a [u8],
    /// Where the next field begins; `None` behind the last one.
    at: Option<usize>,
}

/// What stands between the options and the separator.
#[derive(Default)]
struct Tags {
    shared: Option<u32>,
    master: Option<u32>,
    unbindable: bool,
}

impl<'a> Fields<'a> {
    /// `36 35 98:0 /root /path options tags... - fstype source options`.
    fn listed(&mut self, namespace: Namespace) -> Result<Listed, MountinfoError> {
        let id = self.number("mount's id")?;
        let parent_id = self.number("parent's id")?;
        let dev = self.device()?;
        let root = unescape(self.next("root")?);
        let path = unescape(self.next("mount point")?);
        let own = self.next("mount's options")?;
        let tags = self.tags()?;
        let fstype = unescape(self.next("file system's type")?);
        let source = unescape(self.next("source")?);
        let mount = Mount {
            told_ns: 0,
            objects: Objects::default(),
            ns_mounts: 0,
            id,
            id_unique: None,
            parent_id,
            parent_id_unique: None,
            namespace: Some(namespace),
            dev,
            rdev: None,
            flags: flags::of_options(own),
            shared: tags.shared,
            master: tags.master,
            unbindable: tags.unbindable,
            fstype,
            source: Some(source),
            path: Ok(path),
            root: Ok(root),
        };
        let idmapped = own.split(|byte| *byte == b',').any(|option| option == b"idmapped");
        let options = Options { vfs: Shown::read(own), fs: Some(Shown::read(self.rest()?)) };
        Ok(Listed { mount, idmapped, options, behind: None })
    }

    fn error(&self, at: usize, problem: Problem) -> MountinfoError {
        MountinfoError { line: self.line, offset: self.base + at, problem }
    }

    /// The next field; an empty source leaves two blanks in a row.
    fn next(&mut self, name: &'static str) -> Result<&'a [u8], MountinfoError> {
        let at = self.at.ok_or_else(|| self.error(self.text.len(), Problem::Missing(name)))?;
        let rest = &self.text[at..];
        let end = rest.iter().position(|byte| *byte == b' ');
        self.at = end.map(|end| at + end + 1);
        Ok(&rest[..end.unwrap_or(rest.len())])
    }

    /// The superblock's options: all that is left, for a file system that does not escape a blank.
    fn rest(&mut self) -> Result<&'a [u8], MountinfoError> {
        let at = self.at.take();
        at.map(|at| &self.text[at..])
            .ok_or_else(|| self.error(self.text.len(), Problem::Missing("file system's options")))
    }

    fn number(&mut self, name: &'static str) -> Result<u32, MountinfoError> {
        let at = self.at.unwrap_or(self.text.len());
        let field = self.next(name)?;
        decimal(field).ok_or_else(|| self.error(at, Problem::NoNumber(name)))
    }

    fn device(&mut self) -> Result<Dev, MountinfoError> {
        let at = self.at.unwrap_or(self.text.len());
        let mut numbers = self.next("device")?.split(|byte| *byte == b':').map(decimal);
        match (numbers.next().flatten(), numbers.next().flatten(), numbers.next()) {
            (Some(major), Some(minor), None) => Ok(Dev { major, minor }),
            _ => Err(self.error(at, Problem::NoDevice)),
        }
    }

    /// Up to the separator; tags of a later kernel are passed over, as the manual asks for.
    fn tags(&mut self) -> Result<Tags, MountinfoError> {
        let mut tags = Tags::default();
        loop {
            let at = self.at.unwrap_or(self.text.len());
            let tag = self.next("separator")?;
            let group = |digits, name| decimal(digits).ok_or_else(|| self.error(at, Problem::NoNumber(name)));
            if tag == b"-" {
                return Ok(tags);
            } else if let Some(digits) = tag.strip_prefix(b"shared:") {
                tags.shared = Some(group(digits, "peer group")?);
            } else if let Some(digits) = tag.strip_prefix(b"master:") {
                tags.master = Some(group(digits, "master's peer group")?);
            }
            tags.unbindable |= tag == b"unbindable";
        }
    }
}

/// Digits alone: `parse` would take a sign.
fn decimal(field: &[u8]) -> Option<u32> {
    let digits = str::from_utf8(field).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// What stood there before the kernel wrote some bytes as a backslash and three octal digits. A backslash without them
/// stands for itself: not every file system escapes its own.
pub fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let escaped = if *first == b'\\' { behind.get(..3).and_then(octal) } else { None };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &behind[3..] } else { behind };
    }
    bytes
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
