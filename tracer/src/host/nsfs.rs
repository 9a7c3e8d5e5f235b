//! Mount namespaces as the kernel hands them out: their 64-bit ids, and from 6.12 on each one's neighbours, so that those
//! that no process is in are found too. One of the system-call wrappers: the ioctls of `linux/nsfs.h`.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, FromRawFd as _, OwnedFd},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::{
    io::Errno,
    ioctl::{Getter, Ioctl, IoctlOutput, Opcode, ioctl, opcode},
};

use crate::operation::Namespace;

/// `NSIO`.
const NSIO: u8 = 0xb7;
/// `NS_GET_MNTNS_ID`, 6.11 and newer.
const GET_MNTNS_ID: Opcode = opcode::read::<u64>(NSIO, 5);
/// `NS_MNT_GET_NEXT`, 6.12 and newer.
const GET_NEXT: Opcode = opcode::read::<MntNsInfo>(NSIO, 11);
/// `NS_MNT_GET_PREV`, 6.12 and newer.
const GET_PREV: Opcode = opcode::read::<MntNsInfo>(NSIO, 12);

/// `struct mnt_ns_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct MntNsInfo {
    size: u32,
    nr_mounts: u32,
    mnt_ns_id: u64,
}

/// The 64-bit id of an open mount namespace; `None` where the kernel does not tell.
pub fn id(namespace: impl AsFd) -> Option<u64> {
    // SAFETY: NS_GET_MNTNS_ID writes one __u64, and fails on what is no mount namespace.
    unsafe { ioctl(namespace, Getter::<GET_MNTNS_ID, u64>::new()) }.ok()
}

/// Every mount namespace; `None` where the kernel does not tell, or not this user.
pub fn every(proc: &Path) -> Option<Vec<Namespace>> {
    let own = File::open(proc.join("self/ns/mnt")).ok()?;
    all(own).ok().flatten()
}

/// Every mount namespace that this process may look into, from an open one; `None` where the kernel cannot tell.
fn all(from: File) -> io::Result<Option<Vec<Namespace>>> {
    let mut found = Vec::new();
    let all = each(from, |namespace, _| {
        found.push(namespace);
        false
    })?;
    Ok(all.then_some(found))
}

/// The mount namespace with this inode number, if there is one and this process may look into it; `None` also where the kernel cannot
/// tell.
pub fn find(from: File, inum: u32) -> io::Result<Option<File>> {
    let mut found = None;
    each(from, |namespace, file| {
        let is_it = namespace.inum == inum;
        if is_it {
            found = file.try_clone().ok();
        }
        is_it
    })?;
    Ok(found)
}

/// Shows every namespace, in the order of their ids, until enough was seen; whether the kernel tells them.
fn each(from: File, mut enough: impl FnMut(Namespace, &File) -> bool) -> io::Result<bool> {
    let mut at = from;
    loop {
        match neighbour::<GET_PREV>(&at) {
            Ok((before, _)) => at = before,
            Err(Errno::NOENT) => break,
            Err(Errno::NOTTY | Errno::INVAL) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut id = id(&at).ok_or_else(|| io::Error::other("the kernel does not tell the namespace's id"))?;
    while !enough(Namespace { inum: inum(&at)?, id }, &at) {
        match neighbour::<GET_NEXT>(&at) {
            Ok(next) => (at, id) = next,
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(true)
}

fn inum(namespace: &File) -> io::Result<u32> {
    u32::try_from(namespace.metadata()?.ino()).map_err(io::Error::other)
}

/// The next one in the order of ids, and its id.
fn neighbour<const OPCODE: Opcode>(namespace: &File) -> rustix::io::Result<(File, u64)> {
    // SAFETY: `Neighbour` is what these two ioctls take, and nothing else is made of it.
    let (descriptor, info) = unsafe { ioctl(namespace, Neighbour::<OPCODE>(MntNsInfo::default())) }?;
    Ok((File::from(descriptor), info.mnt_ns_id))
}

/// `NS_MNT_GET_NEXT` and `NS_MNT_GET_PREV`: a descriptor is the answer, and the structure is filled.
struct Neighbour<const OPCODE: Opcode>(MntNsInfo);

// SAFETY: both ioctls write one `struct mnt_ns_info`, which `MntNsInfo` is, and return a new descriptor that is nobody
// else's.
unsafe impl<const OPCODE: Opcode> Ioctl for Neighbour<OPCODE> {
    type Output = (OwnedFd, MntNsInfo);

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::from_mut(&mut self.0).cast()
    }

    unsafe fn output_from_ptr(answer: IoctlOutput, filled: *mut std::ffi::c_void) -> rustix::io::Result<Self::Output> {
        // SAFETY: the kernel has just made this descriptor for us, and `filled` is what `as_ptr` gave.
        Ok(unsafe { (OwnedFd::from_raw_fd(answer), filled.cast::<MntNsInfo>().read()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_header() {
        assert_eq!((GET_MNTNS_ID, GET_NEXT, GET_PREV), (0x8008_b705, 0x8010_b70b, 0x8010_b70c));
    }

    #[test]
    fn this_namespace_is_among_all_of_them() {
        let own = || File::open("/proc/self/ns/mnt").unwrap();
        let Ok(Some(all)) = all(own()) else { return };
        let own = Namespace { inum: inum(&own()).unwrap(), id: id(own()).unwrap() };
        assert!(all.contains(&own), "{own:?} is not in {all:?}");
    }
}
