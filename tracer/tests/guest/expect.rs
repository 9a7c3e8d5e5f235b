//! What a trial expects of an operation: one effect for each mount that the kernel's own files show, and no other.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::operation::{Operation, bytes_of};
use super::oracle::{self, Mount};
use std::collections::BTreeSet;
use std::path::Path;

/// The options of mountinfo that have a public name. `rw` has none, and strict access times are the lack of others.
const NAMES: [(&str, &str); 8] = [
    ("ro", "MOUNT_ATTR_RDONLY"),
    ("nosuid", "MOUNT_ATTR_NOSUID"),
    ("nodev", "MOUNT_ATTR_NODEV"),
    ("noexec", "MOUNT_ATTR_NOEXEC"),
    ("noatime", "MOUNT_ATTR_NOATIME"),
    ("nodiratime", "MOUNT_ATTR_NODIRATIME"),
    ("relatime", "MOUNT_ATTR_RELATIME"),
    ("nosymfollow", "MOUNT_ATTR_NOSYMFOLLOW"),
];

/// A mount in a namespace, as the kernel shows it, and what should have become of it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    kind: &'static str,
    mntns: u64,
    mount: Mount,
    propagated: Option<bool>,
}

impl Wanted {
    /// The mount on top at `path` in the trial's own namespace: asked for.
    pub(crate) fn own(kind: &'static str, path: &Path) -> Result<Self> {
        Ok(Self { kind, mntns: oracle::own_namespace()?, mount: oracle::own_mount_at(path)?, propagated: Some(false) })
    }

    /// The mount on top at `path` as process `pid` sees it: asked for.
    pub(crate) fn of(kind: &'static str, pid: u32, path: &Path) -> Result<Self> {
        let mount = oracle::mount_at(pid, path)?;
        let mount = mount.with_context(|| format!("process {pid} sees no mount at {}", path.display()))?;
        Ok(Self { kind, mntns: oracle::namespace(pid)?, mount, propagated: Some(false) })
    }

    /// The mount on top at `path` as process `pid` sees it: brought there by propagation.
    pub(crate) fn copy(kind: &'static str, pid: u32, path: &Path) -> Result<Self> {
        Ok(Self { propagated: Some(true), ..Self::of(kind, pid, path)? })
    }

    /// A mount of which nobody can say whence it came.
    pub(crate) fn seen(kind: &'static str, mntns: u64, mount: Mount) -> Self {
        Self { kind, mntns, mount, propagated: None }
    }

    /// It is among the effects.
    pub(crate) fn expect_in(&self, operation: &Operation) -> Result<()> {
        expect_effect(operation, self)
    }

    /// Whether it was asked for cannot be said.
    pub(crate) fn of_any_origin(self) -> Self {
        Self { propagated: None, ..self }
    }
}

/// All of several paths in the trial's own namespace.
pub(crate) fn all_own(kind: &'static str, paths: &[&Path]) -> Result<Vec<Wanted>> {
    paths.iter().map(|path| Wanted::own(kind, path)).collect()
}

/// A call that succeeded, with exactly these effects.
pub(crate) fn expect_effects(operation: &Operation, op: &str, syscall: &str, wanted: &[Wanted]) -> Result<()> {
    operation.expect_success(op, wanted.len())?;
    operation.expect("/syscall", syscall)?;
    operation.expect("/cause", "syscall")?;
    expect_all(operation, wanted)
}

/// An operation of this kind, with exactly these effects.
pub(crate) fn expect_all_of(operation: &Operation, op: &str, wanted: &[Wanted]) -> Result<()> {
    operation.expect("/op", op)?;
    expect_all(operation, wanted)
}

/// Without a call, for this reason, exactly these effects.
pub(crate) fn expect_uncalled(operation: &Operation, op: &str, cause: &str, wanted: &[Wanted]) -> Result<()> {
    operation.expect("/cause", cause)?;
    operation.expect("/syscall", Value::Null)?;
    operation.expect("/result/errno", Value::Null)?;
    expect_all_of(operation, op, wanted)
}

fn expect_all(operation: &Operation, wanted: &[Wanted]) -> Result<()> {
    operation.expect("/complete", true)?;
    operation.expect("/effects_total", wanted.len())?;
    wanted.iter().try_for_each(|wanted| expect_effect(operation, wanted))
}

/// The effect on this mount, wherever in the list it is.
fn expect_effect(operation: &Operation, wanted: &Wanted) -> Result<()> {
    let is_it = |effect: &&Value| effect["mntns"] == wanted.mntns && effect["mount_id"] == wanted.mount.id;
    let effect = operation.effects().iter().find(is_it);
    let effect = effect.with_context(|| format!("no effect on {wanted:?} in {operation:?}"))?;
    let differences: Vec<String> = differences(effect, wanted)?;
    ensure!(differences.is_empty(), "{}, in {effect}, of {operation:?}", differences.join("; "));
    Ok(())
}

fn differences(effect: &Value, wanted: &Wanted) -> Result<Vec<String>> {
    let mut pairs = vec![("kind", effect["kind"].clone(), Value::from(wanted.kind))];
    if let Some(propagated) = wanted.propagated {
        pairs.push(("propagated", effect["propagated"].clone(), propagated.into()));
    }
    let mut found = unequal(pairs);
    found.extend(mount_differences(effect, &wanted.mount)?);
    Ok(found)
}

/// How an object of the binary's differs from the mount that it should be about.
pub(crate) fn mount_differences(effect: &Value, mount: &Mount) -> Result<Vec<String>> {
    let pairs = vec![
        ("dev", effect["dev"].clone(), mount.dev.as_str().into()),
        ("fstype", effect["fstype"].clone(), mount.fstype.as_str().into()),
        ("shared", effect["propagation"]["shared"].clone(), mount.group.into()),
        ("master", effect["propagation"]["master"].clone(), mount.master.into()),
        ("unbindable", effect["propagation"]["unbindable"].clone(), mount.unbindable.into()),
    ];
    let mut found = unequal(pairs);
    found.extend(path_difference(effect, "path", &mount.path)?);
    found.extend(path_difference(effect, "root", &mount.root)?);
    found.extend(attribute_difference(effect, mount));
    Ok(found)
}

fn unequal(pairs: Vec<(&str, Value, Value)>) -> Vec<String> {
    let unequal = pairs.into_iter().filter(|(_, found, wanted)| found != wanted);
    unequal.map(|(key, found, wanted)| format!("{key} is {found}, expected {wanted}")).collect()
}

fn path_difference(effect: &Value, key: &str, wanted: &[u8]) -> Result<Option<String>> {
    let text = effect[key].as_str().with_context(|| format!("no {key} in {effect}"))?;
    let differs = bytes_of(text)? != wanted;
    Ok(differs.then(|| format!("{key} is {text:?}, expected {}", wanted.escape_ascii())))
}

fn attribute_difference(effect: &Value, mount: &Mount) -> Option<String> {
    let shown: BTreeSet<&str> = effect["attributes"].as_array()?.iter().filter_map(Value::as_str).collect();
    let has = |option: &str| mount.options.iter().any(|known| known == option);
    let wrong: Vec<&str> =
        NAMES.iter().filter(|(option, name)| has(option) != shown.contains(name)).map(|(_, name)| *name).collect();
    (!wrong.is_empty()).then(|| format!("attributes are {shown:?}, mountinfo says {:?}", mount.options))
}
