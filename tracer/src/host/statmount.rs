//! The mounts of a namespace by `listmount(2)` and `statmount(2)`, from 6.11 on of any namespace by its 64-bit id: the only
//! way into one without a process, and the only source of ids that are never used again. One of the system-call wrappers.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use crate::{
    device::Dev,
    listed::Listed,
    operation::{Mount, Namespace, Objects, PathGap, Whereabouts},
    options::{Options, Shown},
    output::flags,
};

/// The same numbers on every architecture but alpha.
const STATMOUNT: libc::c_long = 457;
const LISTMOUNT: libc::c_long = 458;
/// `LSMT_ROOT` of `linux/mount.h`: all below the namespace's root.
const ROOT: u64 = u64::MAX;
/// Ids that are asked for at once.
const BATCH: usize = 512;
/// Bytes for a mount's structure and its strings at first, and at most: an overlay of 500 layers has 64 KiB of options.
const BUFFER: usize = 4 << 10;
const MAX_BUFFER: usize = 1 << 20;
/// Where the strings begin: the size of `struct statmount`.
const STRINGS: usize = 512;

/// `STATMOUNT_*` of `linux/mount.h`.
const SB_BASIC: u64 = 0x1;
const MNT_BASIC: u64 = 0x2;
const MNT_ROOT: u64 = 0x8;
const MNT_POINT: u64 = 0x10;
const FS_TYPE: u64 = 0x20;
const MNT_OPTS: u64 = 0x80;
const FS_SUBTYPE: u64 = 0x100;
const SB_SOURCE: u64 = 0x200;
const EVERYTHING: u64 = SB_BASIC | MNT_BASIC | MNT_ROOT | MNT_POINT | FS_TYPE | MNT_OPTS | FS_SUBTYPE | SB_SOURCE;

/// `MOUNT_ATTR_IDMAP`.
const IDMAP: u64 = 0x10_0000;
/// `MS_SHARED` and `MS_UNBINDABLE`, which `mnt_propagation` is made of.
const SHARED: u64 = 1 << 20;
const UNBINDABLE: u64 = 1 << 17;
/// `SB_*` that a file system's options begin with: `show_sb_opts` of `fs/proc_namespace.c`.
const SB_FLAGS: [(u32, &str); 4] = [(1 << 4, "sync"), (1 << 7, "dirsync"), (1 << 6, "mand"), (1 << 25, "lazytime")];
const SB_RDONLY: u32 = 1;

/// `struct mnt_id_req`, `MNT_ID_REQ_SIZE_VER1`.
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    mnt_id: u64,
    param: u64,
    mnt_ns_id: u64,
}

/// The ids of a mount that are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unique {
    /// Its own.
    pub id: u64,
    /// Its parent's.
    pub parent_id: u64,
    /// The parent's id as mountinfo has it: another one means that the mount is another.
    pub parent: u32,
}

/// The unique ids of a namespace's mounts, by their ids in mountinfo.
pub fn unique_ids(namespace: u64) -> io::Result<HashMap<u32, Unique>> {
    let answers = each(namespace, MNT_BASIC)?;
    let unique = |answer: &Answer| {
        let ids = Unique { id: answer.u64(40)?, parent_id: answer.u64(48)?, parent: answer.u32(60)? };
        Some((answer.u32(56)?, ids))
    };
    Ok(answers.iter().filter_map(unique).collect())
}

/// Bytes of a path that is handed on at most.
const PATH_BYTES: usize = 16 << 10;

/// Where a mount is now, seen from its namespace's root; `None` when it is gone, out of reach, or this kernel does not say it.
pub fn path(of: Whereabouts) -> Option<Vec<u8>> {
    let answer = statmount(of.namespace, of.mount, MNT_POINT).ok()?;
    answer.string(MNT_POINT, 108).filter(|path| (1..=PATH_BYTES).contains(&path.len()))
}

/// The mounts of a namespace, as a process that enters it sees them.
pub fn mounts(namespace: Namespace) -> io::Result<Vec<Listed>> {
    let mut mounts = each(namespace.id, EVERYTHING)?.iter().filter_map(|answer| answer.listed(namespace)).collect();
    leave_out_covered_roots(&mut mounts);
    Ok(mounts)
}

/// Below the root that processes have, the kernel keeps another one (`nullfs` from 7.0 on), which no mountinfo shows.
fn leave_out_covered_roots(mounts: &mut Vec<Listed>) {
    let is_root = |listed: &Listed| listed.mount.path.as_deref() == Ok(b"/");
    // The lowest of all is its own parent.
    let covers = |one: &&Listed| is_root(one) && one.mount.parent_id != one.mount.id;
    let covered: HashSet<u32> = mounts.iter().filter(covers).map(|one| one.mount.parent_id).collect();
    mounts.retain(|one| !is_root(one) || !covered.contains(&one.mount.id));
}

/// An answer for each mount that is still there when it is asked about.
fn each(namespace: u64, mask: u64) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for id in ids(namespace)? {
        match statmount(namespace, id, mask) {
            Ok(answer) => answers.push(answer),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

fn ids(namespace: u64) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    loop {
        let mut batch = [0_u64; BATCH];
        let last = ids.last().copied().unwrap_or(0);
        let request = Request::new(namespace, ROOT, last);
        // SAFETY: listmount(2) reads the request and writes at most BATCH ids, and both live as long as the call.
        let count = unsafe { libc::syscall(LISTMOUNT, &raw const request, batch.as_mut_ptr(), BATCH, 0_u64) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        ids.extend(&batch[..count.min(BATCH)]);
        if count < BATCH {
            return Ok(ids);
        }
    }
}

fn statmount(namespace: u64, id: u64, mask: u64) -> io::Result<Answer> {
    let request = Request::new(namespace, id, mask);
    let mut room = BUFFER;
    loop {
        let mut bytes = vec![0_u8; room];
        // SAFETY: statmount(2) reads the request and writes at most `room` bytes, and both live as long as the call.
        let failed = unsafe { libc::syscall(STATMOUNT, &raw const request, bytes.as_mut_ptr(), room, 0_u64) } != 0;
        let error = failed.then(io::Error::last_os_error);
        match error {
            None => return Ok(Answer(bytes)),
            Some(error) if error.raw_os_error() == Some(libc::EOVERFLOW) && room < MAX_BUFFER => room *= 8,
            Some(error) => return Err(error),
        }
    }
}

impl Request {
    fn new(namespace: u64, mnt_id: u64, param: u64) -> Self {
        // 32 bytes: no architecture has another size.
        Self { size: 32, spare: 0, mnt_id, param, mnt_ns_id: namespace }
    }
}

/// `struct statmount` with its strings behind it, as the kernel filled it.
struct Answer(Vec<u8>);

impl Answer {
    fn u32(&self, at: usize) -> Option<u32> {
        self.0.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.0.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
    }

    fn has(&self, what: u64) -> bool {
        self.u64(8).is_some_and(|mask| mask & what != 0)
    }

    /// A string that was asked for, if the kernel knows this one.
    fn string(&self, what: u64, at: usize) -> Option<Vec<u8>> {
        let begin = self.u32(at).filter(|_| self.has(what))?;
        let text = self.0.get(STRINGS.checked_add(usize::try_from(begin).ok()?)?..)?;
        Some(text.iter().copied().take_while(|byte| *byte != 0).collect())
    }

    /// A group of peers; 0 is none.
    fn group(&self, at: usize) -> Option<u32> {
        self.u64(at).and_then(|group| u32::try_from(group).ok()).filter(|group| *group != 0)
    }

    fn listed(&self, namespace: Namespace) -> Option<Listed> {
        let (attributes, propagation) = (self.u64(64)?, self.u64(72)?);
        let flags = flags::of_public(attributes);
        let idmapped = attributes & IDMAP != 0;
        let own = flags::to_options(flags) + if idmapped { ",idmapped" } else { "" };
        let mount = Mount {
            told_ns: 0,
            objects: Objects::default(),
            ns_mounts: 0,
            id: self.u32(56)?,
            id_unique: self.u64(40),
            parent_id: self.u32(60)?,
            parent_id_unique: self.u64(48),
            namespace: Some(namespace),
            dev: Dev { major: self.u32(16)?, minor: self.u32(20)? },
            rdev: None,
            flags,
            shared: self.group(80).filter(|_| propagation & SHARED != 0),
            master: self.group(88),
            unbindable: propagation & UNBINDABLE != 0,
            fstype: self.fstype(),
            source: self.string(SB_SOURCE, 124),
            // Empty where it is out of reach of the namespace's root.
            path: self.string(MNT_POINT, 108).filter(|path| !path.is_empty()).ok_or(PathGap::Unreachable),
            root: self.string(MNT_ROOT, 104).ok_or(PathGap::Unreadable),
        };
        let options = Options { vfs: Shown::read(own.as_bytes()), fs: self.options() };
        Some(Listed { mount, idmapped, options, behind: None })
    }

    /// With its subtype: `fuse.sshfs`.
    fn fstype(&self) -> Vec<u8> {
        let mut fstype = self.string(FS_TYPE, 36).unwrap_or_default();
        if let Some(subtype) = self.string(FS_SUBTYPE, 120).filter(|subtype| !subtype.is_empty()) {
            fstype.push(b'.');
            fstype.extend(subtype);
        }
        fstype
    }

    /// Those of the file system. The kernel leaves out a string that would be empty, and one that it does not know.
    fn options(&self) -> Option<Shown> {
        let flags = self.u32(32)?;
        let access = if flags & SB_RDONLY == 0 { "rw" } else { "ro" };
        let named = SB_FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word);
        let mut text = [access].into_iter().chain(named).collect::<Vec<_>>().join(",").into_bytes();
        if let Some(rest) = self.string(MNT_OPTS, 4) {
            text.push(b',');
            text.extend(rest);
        }
        Some(Shown::read(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Namespace = Namespace { inum: 4_026_532_201, id: 6 };

    /// An answer with these numbers and strings at their places.
    fn answer(mask: u64, numbers: &[(usize, u64)], strings: &[(usize, &[u8])]) -> Answer {
        let mut bytes = vec![0; STRINGS + 1];
        bytes[8..16].copy_from_slice(&mask.to_ne_bytes());
        for (at, number) in numbers {
            bytes[*at..at + 8].copy_from_slice(&number.to_ne_bytes());
        }
        for (at, text) in strings {
            let begin = u32::try_from(bytes.len() - STRINGS).unwrap();
            bytes[*at..at + 4].copy_from_slice(&begin.to_ne_bytes());
            bytes.extend(*text);
            bytes.push(0);
        }
        Answer(bytes)
    }

    #[test]
    fn an_answer_becomes_a_mount() {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let numbers = [(16, pair(259, 1)), (32, 1 << 4), (40, 5_000_000_001), (48, 5_000_000_000), (56, pair(36, 35))];
        let more = [(64, 0x10_0002), (72, SHARED), (80, 7), (88, 9)];
        let strings: [(usize, &[u8]); 6] =
            [(4, b"size=4k,password=x"), (36, b"fuse"), (104, b"/"), (108, b"/a b"), (120, b"sshfs"), (124, b"u@h:/x")];
        let listed = answer(EVERYTHING, &[numbers.as_slice(), &more].concat(), &strings).listed(HERE).unwrap();
        let mount = &listed.mount;
        assert_eq!((mount.id, mount.parent_id, mount.id_unique), (36, 35, Some(5_000_000_001)));
        assert_eq!((mount.dev.to_string().as_str(), mount.fstype.as_slice()), ("259:1", b"fuse.sshfs".as_slice()));
        assert_eq!((mount.shared, mount.master, mount.unbindable, listed.idmapped), (Some(7), Some(9), false, true));
        assert_eq!(mount.path.as_deref().unwrap(), b"/a b");
        assert_eq!(mount.source.as_deref(), Some(b"u@h:/x".as_slice()));
        assert_eq!(listed.options.vfs.text(), "rw,nosuid,relatime,idmapped");
        assert_eq!(listed.options.fs.unwrap().text(), "rw,sync,size=4k,(1 hidden)");
    }

    #[test]
    fn what_the_kernel_does_not_know_is_unknown() {
        let mount = answer(SB_BASIC | MNT_BASIC, &[(40, 1)], &[(124, b"never read")]).listed(HERE).unwrap().mount;
        assert_eq!((mount.source, mount.shared, mount.master), (None, None, None));
        assert_eq!((mount.path, mount.root), (Err(PathGap::Unreachable), Err(PathGap::Unreadable)));
    }

    #[test]
    fn an_answer_that_is_cut_or_points_nowhere_is_none() {
        assert!(Answer(vec![0; 50]).listed(HERE).is_none());
        let mut lost = answer(EVERYTHING, &[], &[]);
        lost.0[124..128].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(lost.listed(HERE).unwrap().mount.source, None);
    }

    #[test]
    fn a_root_that_another_covers_is_left_out() {
        let listed = |id: u32, parent: u32, path: &[u8]| {
            let ids = u64::from(id) | u64::from(parent) << 32;
            answer(EVERYTHING, &[(56, ids)], &[(108, path)]).listed(HERE).unwrap()
        };
        let mut mounts = vec![listed(1, 1, b"/a"), listed(2, 9, b"/"), listed(3, 2, b"/"), listed(4, 3, b"/b")];
        leave_out_covered_roots(&mut mounts);
        assert_eq!(mounts.iter().map(|one| one.mount.id).collect::<Vec<_>>(), [1, 3, 4]);
        let mut alone = vec![listed(2, 2, b"/")];
        leave_out_covered_roots(&mut alone);
        assert_eq!(alone.len(), 1, "its own parent");
    }

    #[test]
    fn the_request_has_the_size_that_it_says() {
        assert_eq!(size_of::<Request>(), 32);
    }
}
