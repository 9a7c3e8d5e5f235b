//! The mount tables as the kernel tells them: `/proc/PID/mountinfo` on every kernel, and since 6.12 `statmount(2)` of what
//! `listmount(2)` gives, which also tells the mounts that mountinfo hides. Nothing of this is how the agent reads tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::super::oracle::{self, Mount};
use super::super::{kernel, raw};

/// `STATX_MNT_ID_UNIQUE` of `linux/stat.h`.
const UNIQUE_ID: u32 = 0x4000;
/// `STATMOUNT_SB_BASIC`, `STATMOUNT_MNT_BASIC`, `STATMOUNT_MNT_ROOT` of `linux/mount.h`.
const WANTED: u64 = 0x1 | 0x2 | 0x8;
/// Where the strings begin in `struct statmount`.
const STRINGS: usize = 512;
/// `MS_UNBINDABLE`, as `mnt_propagation` has it.
const UNBINDABLE: u64 = 1 << 17;
/// `MOUNT_ATTR_*` of `linux/mount.h` and mountinfo's words for them; relatime is none of the times of access.
const ATTRIBUTES: [(u64, &str); 8] = [
    (0x1, "ro"),
    (0x2, "nosuid"),
    (0x4, "nodev"),
    (0x8, "noexec"),
    (0x10, "noatime"),
    (0x80, "nodiratime"),
    (0x10_0000, "idmapped"),
    (0x20_0000, "nosymfollow"),
];
const TIMES: u64 = 0x70;
/// What mountinfo shows behind the path of a directory that was removed.
const DELETED: &[u8] = b"//deleted";

/// A place within a file system: `MAJ:MIN` and a path from its root on.
pub(crate) type Place = (String, Vec<u8>);

/// A mount as the kernel tells it. What it does not tell, or not so that it can be compared, is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelMount {
    pub(crate) unique: Option<u64>,
    pub(crate) parent: u64,
    pub(crate) dev: String,
    /// In mountinfo's words, without `rw`.
    pub(crate) attributes: BTreeSet<String>,
    pub(crate) unbindable: bool,
    pub(crate) group: Option<u64>,
    pub(crate) master: Option<u64>,
    /// Which directory of its file system it shows.
    pub(crate) root: Option<Place>,
    /// On which directory of its parent's file system it is.
    pub(crate) point: Option<Place>,
}

/// A namespace's table.
#[derive(Clone, Debug)]
pub(crate) struct KernelTable {
    pub(crate) mntns: u64,
    /// The mount that is the reading process's root: mountinfo shows this one and what is below it.
    pub(crate) root: u64,
    /// Whether the hidden mounts are in it as well.
    pub(crate) whole: bool,
    /// By id.
    pub(crate) mounts: BTreeMap<u64, KernelMount>,
}

/// The mount namespaces that have a process or a thread in them: the inode, and one of their threads.
pub(crate) fn namespaces() -> Result<BTreeMap<u64, u32>> {
    let mut found = BTreeMap::new();
    for process in numbers_in(Path::new("/proc"))? {
        // What ends meanwhile is in no namespace.
        for thread in numbers_in(Path::new(&format!("/proc/{process}/task"))).unwrap_or_default() {
            if let Ok(inode) = oracle::namespace(thread) {
                found.entry(inode).or_insert(thread);
            }
        }
    }
    Ok(found)
}

fn numbers_in(directory: &Path) -> Result<Vec<u32>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// The table of the namespace that a process is in, by all that this kernel offers.
pub(crate) fn read(pid: u32) -> Result<KernelTable> {
    let mut table = by_mountinfo(pid)?;
    if kernel::is_at_least(6, 12)? {
        let whole = by_statmount(pid).with_context(|| format!("statmount of the namespace of process {pid}"))?;
        join(&mut table, whole);
    }
    Ok(table)
}

/// The table that mountinfo shows a process.
pub(crate) fn by_mountinfo(pid: u32) -> Result<KernelTable> {
    let mounts = oracle::mounts(pid)?;
    let by_id: BTreeMap<u64, &Mount> = mounts.iter().map(|mount| (mount.id, mount)).collect();
    ensure!(by_id.len() == mounts.len(), "mountinfo of process {pid} shows a mount twice");
    let tops: Vec<u64> =
        mounts.iter().filter(|m| m.parent == m.id || !by_id.contains_key(&m.parent)).map(|m| m.id).collect();
    let [root] = tops[..] else { anyhow::bail!("mountinfo of process {pid} shows the roots {tops:?}") };
    let told = |mount: &Mount| of_line(mount, by_id.get(&mount.parent).copied().filter(|_| mount.id != root));
    let table = mounts.iter().map(|mount| (mount.id, told(mount))).collect();
    Ok(KernelTable { mntns: oracle::namespace(pid)?, root, whole: false, mounts: table })
}

fn of_line(mount: &Mount, parent: Option<&Mount>) -> KernelMount {
    let point = parent.filter(|parent| !is_deleted(&parent.root)).and_then(|parent| {
        let below = mount.path.strip_prefix(without_end_slash(&parent.path))?;
        let path = [without_end_slash(&parent.root), without_end_slash(below)].concat();
        Some((parent.dev.clone(), path))
    });
    KernelMount {
        unique: None,
        parent: mount.parent,
        dev: mount.dev.clone(),
        attributes: mount.options.iter().filter(|option| *option != "rw").cloned().collect(),
        unbindable: mount.unbindable,
        group: mount.group,
        master: mount.master,
        root: place(&mount.dev, &mount.root),
        point,
    }
}

/// A place, `None` if it has no path any more.
fn place(dev: &str, path: &[u8]) -> Option<Place> {
    (!is_deleted(path)).then(|| (dev.to_owned(), without_end_slash(path).to_vec()))
}

fn is_deleted(path: &[u8]) -> bool {
    path.ends_with(DELETED)
}

fn without_end_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

/// All mounts of the namespace that a process is in, by their ids; no places where they are mounted.
pub(crate) fn by_statmount(pid: u32) -> Result<BTreeMap<u64, KernelMount>> {
    let file = File::open(format!("/proc/{pid}/ns/mnt")).with_context(|| format!("cannot open /proc/{pid}/ns/mnt"))?;
    let namespace = raw::namespace_id(file.as_fd()).context("cannot get a namespace's id")?;
    let root = unique_id(Path::new(&format!("/proc/{pid}/root")))?;
    let top = first_of(namespace, root)?;
    let mut mounts = BTreeMap::from([told(namespace, top)?]);
    let mut after = 0;
    loop {
        let ids = raw::listmount(namespace, top, after).context("listmount")?;
        let Some(last) = ids.last() else { return Ok(mounts) };
        after = *last;
        for id in ids {
            let (id, mount) = told(namespace, id)?;
            ensure!(mounts.insert(id, mount).is_none(), "two mounts of namespace {namespace} have the id {id}");
        }
    }
}

/// The unique id of the mount that a path leads to (6.8 and newer).
pub(crate) fn unique_id(path: &Path) -> Result<u64> {
    let wanted = StatxFlags::from_bits_retain(UNIQUE_ID);
    let found = rustix::fs::statx(CWD, path, AtFlags::empty(), wanted);
    Ok(found.with_context(|| format!("statx of {}", path.display()))?.stx_mnt_id)
}

/// The mount that all others of its namespace are below: it is its own parent.
fn first_of(namespace: u64, mount: u64) -> Result<u64> {
    let mut mount = mount;
    loop {
        let parent = word(&statmount(namespace, mount)?, 48);
        if parent == mount {
            return Ok(mount);
        }
        mount = parent;
    }
}

fn statmount(namespace: u64, mount: u64) -> Result<Vec<u8>> {
    raw::statmount(namespace, mount, WANTED).with_context(|| format!("statmount of mount {mount}"))
}

/// A mount by its unique id: its other id, and what is told of it. The numbers are offsets into `struct statmount`.
fn told(namespace: u64, mount: u64) -> Result<(u64, KernelMount)> {
    let answer = statmount(namespace, mount)?;
    let number = |offset: usize| word(&answer, offset) & u64::from(u32::MAX);
    let dev = format!("{}:{}", number(16), number(20));
    let text = answer.get(STRINGS + usize::try_from(number(104))?..).context("a string outside of the answer")?;
    let root = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let mount = KernelMount {
        unique: Some(word(&answer, 40)),
        parent: number(60),
        attributes: words_of(word(&answer, 64)),
        unbindable: word(&answer, 72) & UNBINDABLE != 0,
        group: Some(word(&answer, 80)).filter(|group| *group != 0),
        master: Some(word(&answer, 88)).filter(|master| *master != 0),
        root: place(&dev, root),
        point: None,
        dev,
    };
    Ok((number(56), mount))
}

fn word(answer: &[u8], offset: usize) -> u64 {
    let bytes = answer.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_ne_bytes)
}

fn words_of(attributes: u64) -> BTreeSet<String> {
    let named = ATTRIBUTES.iter().filter(|(bit, _)| attributes & bit != 0).map(|(_, word)| *word);
    let relatime = (attributes & TIMES == 0).then_some("relatime");
    named.chain(relatime).map(str::to_owned).collect()
}

/// Adds what only `statmount(2)` tells to what mountinfo shows.
fn join(table: &mut KernelTable, whole: BTreeMap<u64, KernelMount>) {
    table.whole = true;
    let shown = std::mem::take(&mut table.mounts);
    table.mounts = whole;
    for (id, line) in shown {
        if let Some(mount) = table.mounts.get_mut(&id) {
            mount.point = line.point;
        }
    }
}
