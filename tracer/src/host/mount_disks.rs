//! The disks of the mounts of whole tables, and what protects them. Reads sysfs, and of each btrfs one mount through a thread
//! that sees it; writes nothing. The root of /proc is injected.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::OwnedFd,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags},
    io::Errno,
};

use super::{
    Disk, NoDisk, Protected,
    block::Block,
    btrfs::{self, Fsid},
    disk::{Behind, Used},
};
use crate::{
    device::Dev,
    listed::{MountTable, Task},
    operation::Mount,
    output::say::chain,
};

/// How often a walk is tried that the kernel gives up because something is renamed just then.
const TRIES: usize = 8;

/// Says of each mount which disks it lies on. `kubelet` is its directory, which protects its disk. What could not be told is
/// returned in words.
pub fn look_up(tables: &mut [MountTable], proc: &Path, block: &Block, kubelet: &Path) -> Vec<String> {
    let mut notes = Vec::new();
    let protected = block.protected(&[kubelet.to_owned()]).map_err(|error| {
        notes.push(format!("which disks the node itself needs is not known: {}", chain(&error)));
    });
    let fsids = fsids(tables, proc);
    let mut known: HashMap<(Dev, Vec<u8>), Result<Vec<Disk>, NoDisk>> = HashMap::new();
    for listed in tables.iter_mut().flat_map(|table| &mut table.mounts) {
        let Mount { dev, fstype, .. } = &listed.mount;
        let found = known.entry((*dev, fstype.clone())).or_insert_with(|| {
            block.disks(*dev, fstype, fsids.get(dev).copied()).map_err(|error| {
                if error.kind() == NoDisk::Unreadable {
                    notes.push(chain(&error));
                }
                error.kind()
            })
        });
        listed.behind = Some(behind(found, protected.as_ref().ok()));
    }
    notes
}

fn behind(found: &Result<Vec<Disk>, NoDisk>, protected: Option<&Protected>) -> Behind {
    let used = |disk: &Disk| {
        let protected = protected.map(|protected| protected.get(&disk.dev).cloned().unwrap_or_default());
        Used { disk: disk.clone(), protected }
    };
    found.as_ref().map(|disks| disks.iter().map(used).collect()).map_err(|why| *why)
}

/// The devices of each btrfs that is mounted, by its number; one that no mount leads to is missing.
pub fn devices_of_btrfs(tables: &[MountTable], proc: &Path, block: &Block) -> BTreeMap<Dev, Vec<Dev>> {
    let each = fsids(tables, proc).into_iter();
    each.filter_map(|(dev, fsid)| Some((dev, block.devices_of_btrfs(fsid).ok()?))).collect()
}

/// Which btrfs has which number, as far as one of its mounts can be reached.
fn fsids(tables: &[MountTable], proc: &Path) -> BTreeMap<Dev, Fsid> {
    let mut found = BTreeMap::new();
    for table in tables {
        let Some(task) = &table.task else { continue };
        for mount in table.mounts.iter().map(|listed| &listed.mount).filter(|mount| mount.fstype == b"btrfs") {
            if found.contains_key(&mount.dev) {
                continue;
            }
            if let Ok(fsid) = open(task, mount, proc).and_then(|place| btrfs::fsid(&place, proc)) {
                found.insert(mount.dev, fsid);
            }
        }
    }
    found
}

/// The root of a mount through a thread, if it is that mount and no other.
fn open(task: &Task, mount: &Mount, proc: &Path) -> io::Result<OwnedFd> {
    let path = mount.path.as_deref().map_err(|_| io::ErrorKind::NotFound)?;
    let root = proc.join(task.pid.to_string()).join("task").join(task.tid.to_string()).join("root");
    let place = walk(&root, Path::new(std::ffi::OsStr::from_bytes(path)))?;
    let stat = rustix::fs::statx(&place, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    let told = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    if told && stat.stx_mnt_id == u64::from(mount.id) { Ok(place) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Without a question to any file system: one that does not answer would hold this up for ever. The kernel keeps the
/// directories on the way to a mount at hand.
fn walk(root: &PathBuf, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let mut at_hand = ResolveFlags::CACHED;
    for _ in 0..TRIES {
        match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve | at_hand) {
            Err(Errno::AGAIN) => {}
            // Before Linux 5.12 it cannot be asked for.
            Err(Errno::INVAL) if !at_hand.is_empty() => at_hand = ResolveFlags::empty(),
            opened => return Ok(opened?),
        }
    }
    Err(Errno::AGAIN.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::block::tests::{Node, dev},
        listed::Listed,
        mountinfo,
        operation::Namespace,
    };

    fn table(mountinfo: &str) -> MountTable {
        let namespace = Namespace { inum: 7, id: 0 };
        let mounts = mountinfo::parse(mountinfo.as_bytes(), namespace).unwrap();
        MountTable { namespace, task: None, processes: None, mounts }
    }

    fn looked_up(node: &Node, mountinfo: &str) -> (Vec<Listed>, Vec<String>) {
        let mut tables = [table(mountinfo)];
        let notes = look_up(&mut tables, &node.path("proc"), &node.block(), Path::new("/var/lib/kubelet"));
        let [table] = tables;
        (table.mounts, notes)
    }

    #[test]
    fn each_mount_has_its_disks_or_a_reason() {
        let node = Node::new();
        node.device("pci0/block/sda", "8:0");
        node.write("sys/devices/pci0/block/sda/diskseq", "9\n");
        node.partition("pci0/block/sda/sda1", "8:1");
        node.write("proc/swaps", "Filename\tType\n/dev/sda1 partition 1 0 -2\n");
        let (mounts, notes) = looked_up(
            &node,
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:21 / /proc rw - proc proc rw\n24 22 0:40 / /b rw - btrfs /dev/sdb rw\n\
             25 22 8:16 / /gone rw - xfs /dev/sdb rw\n26 22 8:1 / /f rw - fuseblk /dev/sda1 rw\n",
        );
        let disk = Disk { dev: dev("8:0"), name: "sda".to_owned(), diskseq: Some(9) };
        let protected = Some(vec!["holds the swap /dev/sda1".to_owned()]);
        let found: Vec<Behind> = mounts.into_iter().filter_map(|listed| listed.behind).collect();
        let wanted = [
            Ok(vec![Used { disk, protected }]),
            Err(NoDisk::Kernel),
            Err(NoDisk::Unreached),
            Err(NoDisk::Gone),
            Err(NoDisk::Process),
        ];
        assert_eq!(found, wanted);
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn what_cannot_be_read_is_said_once_and_unknown() {
        let node = Node::new();
        node.device("pci0/block/sda", "8:0");
        node.device("pci0/block/sdb", "8:16");
        node.write("sys/devices/pci0/block/sdb/dev", "nonsense\n");
        node.write("proc/swaps", "Filename\tType\n/no/such partition 1 0 -2\n");
        let (mounts, notes) = looked_up(
            &node,
            "22 1 8:0 / / rw - ext4 /dev/sda rw\n23 22 8:16 / /b rw - ext4 /dev/sdb rw\n24 22 8:16 / /c rw - ext4 /dev/sdb rw\n",
        );
        let disk = Disk { dev: dev("8:0"), name: "sda".to_owned(), diskseq: None };
        assert_eq!(mounts[0].behind, Some(Ok(vec![Used { disk, protected: None }])));
        assert_eq!((&mounts[1].behind, &mounts[2].behind), (&Some(Err(NoDisk::Unreadable)), &mounts[1].behind));
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("which disks the node itself needs is not known: "), "{notes:?}");
        assert!(notes[1].starts_with("cannot understand \"nonsense\""), "{notes:?}");
    }
}
