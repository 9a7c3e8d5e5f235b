//! Who keeps mounts, file systems and devices in use: working and root directories, programs, open and mapped files, from /proc, whose root is
//! injected. Nothing is opened, and no server is asked: it may be one that does not answer.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags};

use super::{
    kcmp,
    tasks::{TaskId, numbers},
};
use crate::{
    device::Dev,
    holders::{How, Reference, Wanted},
};

/// Everybody who keeps something.
#[derive(Debug, Default)]
pub struct References {
    /// By thread; what all threads of a process have in common is the first one's.
    pub found: Vec<(TaskId, Vec<Reference>)>,
    /// Threads that may not be looked into.
    pub refused: usize,
}

/// Looks at every thread of the node but those of this process.
pub fn scan(proc: &Path, wanted: &Wanted) -> io::Result<References> {
    let mut all = References::default();
    for pid in numbers(proc)?.into_iter().filter(|pid| *pid != std::process::id()) {
        // A process that has ended meanwhile has no threads.
        let tids = numbers(&proc.join(pid.to_string()).join("task")).unwrap_or_default();
        all.of_process(proc, pid, &tids, wanted);
    }
    Ok(all)
}

impl References {
    fn of_process(&mut self, proc: &Path, pid: u32, tids: &BTreeSet<u32>, wanted: &Wanted) {
        // Threads share their files, directories and memory, or have some of their own. A leader that has ended has none.
        let mut with_files: Option<u32> = None;
        let mut told: HashSet<(How, u32, Vec<u8>)> = HashSet::new();
        for tid in tids {
            let task = TaskId { pid, tid: *tid };
            let look = Look { dir: &task.dir(proc), process: &proc.join(pid.to_string()), wanted };
            let mut found = Vec::new();
            match look.link("cwd", How::WorkingDirectory) {
                Ok(reference) => found.extend(reference),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    self.refused += 1;
                    continue;
                }
                // It has ended, or is about to.
                Err(_) => continue,
            }
            found.extend(look.link("root", How::Root).ok().flatten());
            if with_files.is_none_or(|first| !kcmp::share_files(first, *tid)) {
                found.extend(look.open_files());
            }
            if with_files.is_none() {
                found.extend(look.link("exe", How::Executable).ok().flatten());
                found.extend(look.mapped_files());
            }
            with_files.get_or_insert(*tid);
            found.retain(|one| matches!(one.how, How::Reading | How::Writing) || told.insert(key(one)));
            if !found.is_empty() {
                self.found.push((task, found));
            }
        }
    }
}

fn key(reference: &Reference) -> (How, u32, Vec<u8>) {
    (reference.how, reference.mount, reference.path.clone())
}

/// A look at one thread.
struct Look<'a> {
    dir: &'a Path,
    /// Mapped files are listed by process alone.
    process: &'a Path,
    wanted: &'a Wanted,
}

impl Look<'_> {
    /// What a link of it leads to, if that is wanted.
    fn link(&self, name: &str, how: How) -> io::Result<Option<Reference>> {
        self.at(&self.dir.join(name), how)
    }

    fn at(&self, link: &Path, how: How) -> io::Result<Option<Reference>> {
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let stat = rustix::fs::statx(CWD, link, flags, StatxFlags::TYPE | StatxFlags::MNT_ID)?;
        // What the kernel counts here fits: it is the `int` of mountinfo.
        let mount = u32::try_from(stat.stx_mnt_id).unwrap_or_default();
        let superblock = Dev { major: stat.stx_dev_major, minor: stat.stx_dev_minor };
        let is_block = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::BlockDevice;
        let node = is_block.then_some(Dev { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor });
        let Wanted { mounts, superblocks, nodes } = self.wanted;
        if !mounts.contains(&mount)
            && !superblocks.contains(&superblock)
            && !node.is_some_and(|node| nodes.contains(&node))
        {
            return Ok(None);
        }
        let path = fs::read_link(link)?.as_os_str().as_bytes().to_vec();
        Ok(Some(Reference { how, mount, superblock, node, path }))
    }

    fn open_files(&self) -> Vec<Reference> {
        let file = |number: u32| {
            let mut reference = self.at(&self.dir.join("fd").join(number.to_string()), How::Reading).ok()??;
            if self.writes(number) {
                reference.how = How::Writing;
            }
            Some(reference)
        };
        numbers(&self.dir.join("fd")).unwrap_or_default().into_iter().filter_map(file).collect()
    }

    /// By the access mode of the file's flags, which are octal (`O_ACCMODE` is 3); `O_PATH` opens nothing.
    fn writes(&self, number: u32) -> bool {
        let info = fs::read_to_string(self.dir.join("fdinfo").join(number.to_string())).unwrap_or_default();
        let flags = info.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
        let path_only = libc::O_PATH.cast_unsigned();
        flags.is_some_and(|flags| flags & 3 != 0 && flags & path_only == 0)
    }

    /// Each file once, however many pieces of it are mapped.
    fn mapped_files(&self) -> Vec<Reference> {
        let maps = fs::read_to_string(self.dir.join("maps")).unwrap_or_default();
        let mut seen = HashSet::new();
        let pieces = maps.lines().filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let range = fields.next()?;
            let (dev, inode) = (fields.nth(2)?, fields.next()?);
            // By two mounts it has two paths.
            let path = fields.next();
            (inode != "0" && seen.insert((dev, inode, path))).then_some(range)
        });
        pieces
            .filter_map(|range| self.at(&self.process.join("map_files").join(unpadded(range)?), How::Mapped).ok()?)
            .collect()
    }
}

/// A range of addresses as `map_files` calls it: without the zeros that `maps` fills up with.
fn unpadded(range: &str) -> Option<String> {
    let (from, to) = range.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(format!("{:x}-{:x}", number(from)?, number(to)?))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, process::Command};

    use rustix::fs::Statx;

    use super::*;

    fn stat(path: &Path) -> Statx {
        rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).unwrap()
    }

    fn on(path: &Path) -> Wanted {
        let id = u32::try_from(stat(path).stx_mnt_id).unwrap();
        Wanted { mounts: HashSet::from([id]), ..Wanted::default() }
    }

    fn of(references: &References, pid: u32) -> Vec<(How, String)> {
        let its = references.found.iter().filter(|(task, _)| task.pid == pid).flat_map(|(_, found)| found);
        its.map(|one| (one.how, String::from_utf8_lossy(&one.path).into_owned())).collect()
    }

    #[test]
    fn a_working_directory_and_an_open_file_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("written");
        let out = File::create(&file).unwrap();
        let mut child = Command::new("sleep").arg("60").current_dir(dir.path()).stdout(out).spawn().unwrap();
        let found = scan(Path::new("/proc"), &on(dir.path())).unwrap();
        let its = of(&found, child.id());
        let nowhere = scan(Path::new("/proc"), &Wanted::default()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(its.contains(&(How::WorkingDirectory, dir.path().display().to_string())), "{its:?}");
        assert!(its.contains(&(How::Writing, file.display().to_string())), "{its:?}");
        assert!(nowhere.found.is_empty(), "nobody holds nothing");
    }

    #[test]
    fn map_files_has_no_zeros_in_front() {
        assert_eq!(unpadded("00400000-0040b000").as_deref(), Some("400000-40b000"));
        assert_eq!(unpadded("x"), None);
    }
}
