//! What the kernel itself uses files and block devices for: loop devices, swap, devices that are made of others. Reads sysfs and `/proc/swaps`;
//! roots are injected.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags};

use crate::{device::Dev, holders::User, mountinfo::unescape};

/// All of them. What goes away meanwhile is none.
pub fn users(sys: &Path, proc: &Path) -> io::Result<Vec<User>> {
    let root = proc.join("1/root");
    let mut users = swaps(proc, &root)?;
    for entry in fs::read_dir(sys.join("class/block"))?.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().replace('!', "/");
        if let Ok(backing) = fs::read(entry.path().join("loop/backing_file")) {
            let path = backing.strip_suffix(b"\n").unwrap_or(&backing).to_vec();
            let dev = device_at(&root, &path);
            users.push(User::Loop { name: name.clone(), file: (path, dev) });
        }
        users.extend(below(&entry.path()).into_iter().map(|below| User::Stacked { name: name.clone(), below }));
    }
    Ok(users)
}

/// A disk and its partitions, or a partition alone.
pub fn with_partitions(sys: &Path, dev: Dev) -> Vec<Dev> {
    let dir = sys.join("dev/block").join(dev.to_string());
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let partitions = entries.filter(|entry| entry.path().join("partition").exists());
    partitions.filter_map(|entry| number(&entry.path())).chain([dev]).collect()
}

fn below(dir: &Path) -> Vec<Dev> {
    let slaves = fs::read_dir(dir.join("slaves")).into_iter().flatten().filter_map(Result::ok);
    slaves.filter_map(|slave| number(&slave.path())).collect()
}

fn number(dir: &Path) -> Option<Dev> {
    fs::read_to_string(dir.join("dev")).ok()?.trim().parse().ok()
}

fn swaps(proc: &Path, root: &Path) -> io::Result<Vec<User>> {
    let text = match fs::read(proc.join("swaps")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let lines = text.split(|byte| *byte == b'\n').skip(1);
    let paths = lines.filter_map(|line| line.split(u8::is_ascii_whitespace).next()).filter(|path| !path.is_empty());
    Ok(paths.map(unescape).map(|path| User::Swap { dev: device_at(root, &path), path }).collect())
}

/// The number of a block device at a path of pid 1's, or that of a file's file system.
fn device_at(root: &Path, path: &[u8]) -> Option<Dev> {
    let below = path.strip_prefix(b"/")?;
    let path: PathBuf = root.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(below));
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(CWD, path, flags, StatxFlags::TYPE).ok()?;
    Some(match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::BlockDevice => Dev { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor },
        _ => Dev { major: stat.stx_dev_major, minor: stat.stx_dev_minor },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::block::tests::Node;

    #[test]
    fn loops_swaps_and_stacks_are_found() {
        let node = Node::new();
        node.device("virtual/block/loop0", "7:0");
        node.write("sys/devices/virtual/block/loop0/loop/backing_file", "/images/a b\n");
        node.device("virtual/block/dm-0", "253:0");
        node.device("pci0/block/sda", "8:0");
        node.partition("pci0/block/sda/sda1", "8:1");
        node.slave("virtual/block/dm-0", "pci0/block/sda/sda1");
        node.write("proc/swaps", "Filename Type Size Used Priority\n/swap\\040file file 1 0 -2\n");
        node.write("proc/1/root/images/a b", "");
        let found = users(&node.path("sys"), &node.path("proc")).unwrap();
        let own = device_at(&node.path("proc/1/root"), b"/images/a b");
        assert!(own.is_some());
        assert!(
            found.contains(&User::Loop { name: "loop0".to_owned(), file: (b"/images/a b".to_vec(), own) }),
            "{found:?}"
        );
        assert!(found.contains(&User::Swap { path: b"/swap file".to_vec(), dev: None }), "{found:?}");
        let below = "8:1".parse().unwrap();
        assert!(found.contains(&User::Stacked { name: "dm-0".to_owned(), below }), "{found:?}");
        assert_eq!(found.len(), 3);
        assert_eq!(with_partitions(&node.path("sys"), "8:0".parse().unwrap()), [below, "8:0".parse().unwrap()]);
    }
}
