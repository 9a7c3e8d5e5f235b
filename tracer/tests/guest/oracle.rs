//! What the kernel says by its own files: the other witness. Reads only `/proc`, `/sys` and stat(2).

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

/// One line of a mountinfo file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u64,
    /// Whose child it is; its own id when it is the first of its namespace.
    pub(crate) parent: u64,
    pub(crate) dev: String,
    pub(crate) path: Vec<u8>,
    pub(crate) fstype: String,
    pub(crate) shared: bool,
    /// Which directory of its file system it shows.
    pub(crate) root: Vec<u8>,
    /// Its own options, `rw,relatime`, without those of the file system.
    pub(crate) options: Vec<String>,
    /// Its peer group, when shared.
    pub(crate) group: Option<u64>,
    /// Its master's peer group.
    pub(crate) master: Option<u64>,
    /// It can not be bound.
    pub(crate) unbindable: bool,
}

/// The mounts that process `pid` sees, in the kernel's order.
pub(crate) fn mounts(pid: u32) -> Result<Vec<Mount>> {
    let file = format!("/proc/{pid}/mountinfo");
    let text = fs::read(&file).with_context(|| format!("cannot read {file}"))?;
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| parse_line(line).with_context(|| format!("in {file}: {}", String::from_utf8_lossy(line))))
        .collect()
}

/// The mount on top at `path` as `pid` sees it.
pub(crate) fn mount_at(pid: u32, path: &Path) -> Result<Option<Mount>> {
    let wanted = path.as_os_str().as_bytes();
    Ok(mounts(pid)?.into_iter().rfind(|mount| mount.path == wanted))
}

/// The mount on top at `path` as this process sees it; an error if there is none.
pub(crate) fn own_mount_at(path: &Path) -> Result<Mount> {
    mount_at(std::process::id(), path)?.with_context(|| format!("nothing is mounted at {}", path.display()))
}

/// The process id of a thread of the kernel's.
pub(crate) fn kernel_thread(name: &str) -> Result<u32> {
    let processes = fs::read_dir("/proc").context("cannot list /proc")?;
    let mut pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has_name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    pids.find(has_name).with_context(|| format!("no kernel thread {name}"))
}

/// The inode of a process's mount namespace.
pub(crate) fn namespace(pid: u32) -> Result<u64> {
    let link = format!("/proc/{pid}/ns/mnt");
    let target = fs::read_link(&link).with_context(|| format!("cannot read the link {link}"))?;
    let target = target.to_string_lossy();
    let inode = target.strip_prefix("mnt:[").and_then(|rest| rest.strip_suffix(']'));
    inode.and_then(|digits| digits.parse().ok()).with_context(|| format!("{link} names {target}, no mount namespace"))
}

/// The inode of this process's mount namespace.
pub(crate) fn own_namespace() -> Result<u64> {
    namespace(std::process::id())
}

/// `MAJ:MIN` of the file system that holds `path`.
pub(crate) fn dev_of(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot stat {}", path.display()))?;
    Ok(numbers(metadata.dev()))
}

/// `MAJ:MIN` that a device node stands for.
pub(crate) fn rdev_of(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot stat {}", path.display()))?;
    Ok(numbers(metadata.rdev()))
}

/// The name of this thread, as the kernel keeps it.
pub(crate) fn own_comm() -> Result<String> {
    let text = fs::read_to_string("/proc/thread-self/comm").context("cannot read /proc/thread-self/comm")?;
    Ok(text.trim_end().to_owned())
}

fn numbers(dev: u64) -> String {
    format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev))
}

/// `36 35 98:0 /root /path options optional... - fstype source super-options`
fn parse_line(line: &[u8]) -> Result<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let Some(dash) = fields.iter().position(|field| *field == b"-") else {
        bail!("no separator");
    };
    ensure!(dash >= 6 && fields.len() >= dash + 3, "too few fields");
    let tags = &fields[6..dash];
    Ok(Mount {
        id: text(fields[0])?.parse().context("the mount's id is no number")?,
        parent: text(fields[1])?.parse().context("the parent's id is no number")?,
        dev: text(fields[2])?.to_owned(),
        path: unescape(fields[4])?,
        fstype: text(fields[dash + 1])?.to_owned(),
        shared: tags.iter().any(|field| field.starts_with(b"shared:")),
        root: unescape(fields[3])?,
        options: text(fields[5])?.split(',').map(str::to_owned).collect(),
        group: tagged(tags, "shared:")?,
        master: tagged(tags, "master:")?,
        unbindable: tags.contains(&b"unbindable".as_slice()),
    })
}

/// The number behind a tag like `shared:`.
fn tagged(tags: &[&[u8]], tag: &str) -> Result<Option<u64>> {
    let found = tags.iter().find_map(|field| field.strip_prefix(tag.as_bytes()));
    let number = found.map(|number| text(number)?.parse().with_context(|| format!("{tag} has no number")));
    number.transpose()
}

fn text(field: &[u8]) -> Result<&str> {
    std::str::from_utf8(field).with_context(|| format!("{} is not UTF-8", field.escape_ascii()))
}

/// mountinfo writes some bytes as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        if first != b'\\' {
            out.push(first);
            rest = after;
            continue;
        }
        let digits = after.get(..3).context("a cut octal escape")?;
        out.push(u8::from_str_radix(text(digits)?, 8).context("an octal escape without octal digits")?);
        rest = &after[3..];
    }
    Ok(out)
}
