//! One line of `trace -o json`, as a test asks about it.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// One operation; questions are JSON pointers, so that a test reads as the contract does.
pub(crate) struct Operation(pub(crate) Value);

/// What a test knows about one effect from the kernel's own files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Expected {
    pub(crate) mntns: u64,
    pub(crate) path: String,
    pub(crate) mount_id: u64,
}

impl Operation {
    /// The kind of operation, or nothing when the line lacks it.
    pub(crate) fn op(&self) -> &str {
        self.0.get("op").and_then(Value::as_str).unwrap_or_default()
    }

    /// What a pointer leads to; null when it leads nowhere.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The effects, none when the line has no list.
    pub(crate) fn effects(&self) -> &[Value] {
        self.at("/effects").as_array().map_or(&[], Vec::as_slice)
    }

    /// Whether an effect or the target is at this path.
    pub(crate) fn touches(&self, path: &Path) -> bool {
        let is_it = |value: Option<&Value>| value.and_then(Value::as_str) == path.to_str();
        is_it(self.0.pointer("/target/path")) || self.effects().iter().any(|effect| is_it(effect.get("path")))
    }

    /// An error with the whole line unless the pointer leads to this value.
    pub(crate) fn expect(&self, pointer: &str, wanted: impl Into<Value>) -> Result<()> {
        let wanted = wanted.into();
        let found = self.at(pointer);
        ensure!(*found == wanted, "{pointer} is {found}, expected {wanted}, in {self:?}");
        Ok(())
    }

    /// Success with a number of effects.
    pub(crate) fn expect_success(&self, op: &str, effects: usize) -> Result<()> {
        self.expect("/op", op)?;
        self.expect("/result/errno", 0)?;
        let found = self.effects().len();
        ensure!(found == effects, "{found} effects, expected {effects}, in {self:?}");
        Ok(())
    }

    /// Failure, which leaves no effect.
    pub(crate) fn expect_failure(&self, op: &str, errno: i32, name: &str) -> Result<()> {
        self.expect("/op", op)?;
        self.expect("/result/errno", errno)?;
        self.expect("/result/name", name)?;
        ensure!(self.effects().is_empty(), "a failed call has effects: {self:?}");
        Ok(())
    }

    /// Where each effect is, in order; an error if one lacks a part.
    pub(crate) fn places(&self) -> Result<Vec<Expected>> {
        let mut places = self.effects().iter().map(place).collect::<Result<Vec<_>>>()?;
        places.sort();
        Ok(places)
    }
}

fn place(effect: &Value) -> Result<Expected> {
    let number = |key: &str| effect.get(key).and_then(Value::as_u64);
    Ok(Expected {
        mntns: number("mntns").with_context(|| format!("no mntns in {effect}"))?,
        path: effect.get("path").and_then(Value::as_str).with_context(|| format!("no path in {effect}"))?.to_owned(),
        mount_id: number("mount_id").with_context(|| format!("no mount_id in {effect}"))?,
    })
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The bytes that a string of the output stands for: `\xNN` is a byte, everything else is itself.
pub(crate) fn bytes_of(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let digits = rest.get(at + 1..at + 4).and_then(|escape| escape.strip_prefix('x'));
        let digits = digits.with_context(|| format!("a backslash that begins no \\xNN, in {text:?}"))?;
        out.push(u8::from_str_radix(digits, 16).with_context(|| format!("\\x{digits} is no byte, in {text:?}"))?);
        rest = &rest[at + 4..];
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// An error unless the pointer leads to a string that stands for exactly this path.
pub(crate) fn expect_path(operation: &Operation, pointer: &str, wanted: &Path) -> Result<()> {
    let text = operation.at(pointer).as_str();
    let text = text.with_context(|| format!("{pointer} is no string in {operation:?}"))?;
    let found = bytes_of(text)?;
    ensure!(found == wanted.as_os_str().as_bytes(), "{pointer} is {text:?}, expected {}", wanted.display());
    Ok(())
}
