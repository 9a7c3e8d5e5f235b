//! What `who` is asked about: as typed, and as the node has it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, StatxFlags},
    io::Errno,
};

use super::{
    super::nearest::nearest,
    claims::{self, ClaimsError, Volume},
};
use crate::{
    device::Dev,
    holders::Target,
    host::{block::Block, block_users, mount_disks},
    listed::{Listed, MountTable},
    output::escape::escape,
};

/// What may be typed.
const FORMS: &str = "write a path or a device's node with a slash in front, --device MAJOR:MINOR, --mount ID, or --claim NAMESPACE/NAME";
/// Where a running agent answers.
const SOCKET: &str = "/run/mount-tracer/agent.sock";
/// The node's own processes.
const PROC: &str = "/proc";
/// Neighbours of a path that is not there that are looked at.
const SIBLINGS: usize = 4096;
/// Names that are shown when what was asked about is not there.
const NEAREST: usize = 3;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// The mount that a path lies on.
    Path(PathBuf),
    /// A block device, by its node.
    Node(PathBuf),
    /// A block device, by its number.
    Device(Dev),
    /// A mount, by either of its ids.
    Mount(u64),
    /// A claim, `NAMESPACE/NAME`.
    Claim(String),
}

/// Why it cannot be told what is meant on this node.
#[derive(Debug, thiserror::Error)]
pub(super) enum SoughtError {
    /// There is no such path.
    #[error("cannot look at {}{}", shown(path), meant(near))]
    NoPath {
        /// It.
        path: PathBuf,
        /// Those most like it.
        near: Vec<String>,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no block device; leave out --device for the mount that it lies on", shown(path))]
    NoBlockDevice {
        /// It.
        path: PathBuf,
    },
    /// There is no such device.
    #[error("there is no block device {dev}{}; `lsblk` lists those there are", meant(near))]
    NoDevice {
        /// Its number.
        dev: Dev,
        /// Those of the same driver.
        near: Vec<String>,
    },
    /// There is no such mount.
    #[error("no mount has the id {id}; `mount-tracer list --all -o wide` lists those there are")]
    NoMount {
        /// It.
        id: u64,
    },
    /// No pod of this node uses such a claim.
    #[error(
        "no pod of this node uses a claim {claim}{}; the agent knows of those that it was told of (docs/kubernetes.md)",
        meant(near)
    )]
    NoClaim {
        /// It.
        claim: String,
        /// Those most like it.
        near: Vec<String>,
    },
    /// The agent has not told.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// The mount is in no table that can be read.
    #[error("{} lies on a mount that is in no mount table: it was unmounted lazily; ask for its device", shown(path))]
    Detached {
        /// It.
        path: PathBuf,
    },
}

/// A path as it can be printed: whoever makes a file chooses its name.
fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

fn meant(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}", near.join(" or ")) }
}

impl Sought {
    /// A bare word: a path, or a device if it is the node of one.
    pub(super) fn of_name(name: &str) -> Result<Self, String> {
        let path = absolute(name)?;
        Ok(if node(&path, &[]).is_ok() { Self::Node(path) } else { Self::Path(path) })
    }

    pub(super) fn of_path(path: &str) -> Result<Self, String> {
        absolute(path).map(Self::Path)
    }

    pub(super) fn of_device(device: &str) -> Result<Self, String> {
        match device.parse() {
            Ok(dev) => Ok(Self::Device(dev)),
            Err(_) => absolute(device).map(Self::Node),
        }
    }

    pub(super) fn of_claim(claim: &str) -> Result<Self, String> {
        match claim.split_once('/') {
            Some((namespace, name)) if ![namespace, name].contains(&"") && !name.contains('/') => {
                Ok(Self::Claim(claim.to_owned()))
            }
            _ => Err(format!("`{claim}` is no claim; write --claim NAMESPACE/NAME")),
        }
    }

    /// As it was typed.
    pub(super) fn typed(&self) -> String {
        match self {
            Self::Path(path) | Self::Node(path) => shown(path),
            Self::Device(dev) => dev.to_string(),
            Self::Mount(id) => format!("mount {id}"),
            Self::Claim(claim) => format!("claim {claim}"),
        }
    }

    /// What it is on this node.
    pub(super) fn find(&self, tables: &[MountTable], sys: &Path) -> Result<Target, SoughtError> {
        match self {
            Self::Path(path) => mount_of(path, tables),
            Self::Node(path) => devices(node(path, tables)?, tables, sys),
            Self::Device(dev) => devices(*dev, tables, sys),
            Self::Claim(claim) => file_systems(claim, &claims::volumes(Path::new(SOCKET))?),
            Self::Mount(id) => {
                let is_it = |listed: &&Listed| u64::from(listed.mount.id) == *id || listed.mount.id_unique == Some(*id);
                let found = tables.iter().flat_map(|table| &table.mounts).find(is_it);
                found.map(|listed| Target::Mount(listed.mount.id)).ok_or(SoughtError::NoMount { id: *id })
            }
        }
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') { Ok(text.into()) } else { Err(format!("cannot tell what `{text}` is; {FORMS}")) }
}

/// What a path leads to, without asking a server or mounting anything.
fn look(path: &Path, tables: &[MountTable]) -> Result<rustix::fs::Statx, SoughtError> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(CWD, path, flags, StatxFlags::TYPE | StatxFlags::MNT_ID).map_err(|errno| {
        let near = if errno == Errno::NOENT { near(path, tables) } else { Vec::new() };
        SoughtError::NoPath { path: path.to_owned(), near, source: errno.into() }
    })
}

fn mount_of(path: &Path, tables: &[MountTable]) -> Result<Target, SoughtError> {
    let stat = look(path, tables)?;
    let id = u32::try_from(stat.stx_mnt_id).unwrap_or_default();
    let known = tables.iter().flat_map(|table| &table.mounts).any(|listed| listed.mount.id == id);
    if known { Ok(Target::Mount(id)) } else { Err(SoughtError::Detached { path: path.to_owned() }) }
}

fn node(path: &Path, tables: &[MountTable]) -> Result<Dev, SoughtError> {
    let stat = look(path, tables)?;
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::BlockDevice => Ok(Dev { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor }),
        _ => Err(SoughtError::NoBlockDevice { path: path.to_owned() }),
    }
}

/// A device with its partitions, and the file systems on them.
fn devices(dev: Dev, tables: &[MountTable], sys: &Path) -> Result<Target, SoughtError> {
    if !sys.join("dev/block").join(dev.to_string()).exists() {
        return Err(SoughtError::NoDevice { dev, near: neighbours(dev, sys) });
    }
    let nodes: BTreeSet<Dev> = block_users::with_partitions(sys, dev).into_iter().collect();
    // A btrfs has a number of its own, and its source names one of its devices at most: whoever mounts may write anything there.
    let block = Block::new(sys, PROC);
    let several = mount_disks::devices_of_btrfs(tables, Path::new(PROC), &block);
    let on =
        several.into_iter().filter(|(_, devices)| devices.iter().any(|dev| nodes.contains(dev))).map(|(dev, _)| dev);
    let superblocks = nodes.iter().copied().chain(on).collect();
    Ok(Target::Devices { nodes, superblocks })
}

/// Those of a claim, and the devices that they are on.
fn file_systems(claim: &str, volumes: &[Volume]) -> Result<Target, SoughtError> {
    let its = volumes.iter().filter(|volume| volume.claim().as_deref() == Some(claim));
    let superblocks: BTreeSet<Dev> = its.map(|volume| volume.dev).collect();
    if superblocks.is_empty() {
        let near = most_like(claim, volumes.iter().filter_map(Volume::claim).collect());
        return Err(SoughtError::NoClaim { claim: claim.to_owned(), near });
    }
    let nodes = superblocks.iter().copied().filter(|dev| dev.major != 0).collect();
    Ok(Target::Devices { nodes, superblocks })
}

/// The mount points and the neighbours in its directory that are most like a path that is not there.
fn near(path: &Path, tables: &[MountTable]) -> Vec<String> {
    let mounts = tables.iter().take(1).flat_map(|table| &table.mounts);
    let mut known: Vec<String> = mounts.filter_map(|listed| Some(escape(listed.mount.path.as_ref().ok()?))).collect();
    let siblings = path.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten();
    known.extend(siblings.take(SIBLINGS).filter_map(|entry| Some(shown(&entry.ok()?.path()))));
    most_like(&path.display().to_string(), known)
}

fn most_like(typed: &str, mut known: Vec<String>) -> Vec<String> {
    known.sort();
    known.dedup();
    let mut near = Vec::new();
    while near.len() < NEAREST {
        let words: Vec<&str> = known.iter().map(String::as_str).collect();
        let Some(found) = nearest(typed, &words).map(str::to_owned) else { break };
        known.retain(|one| *one != found);
        near.push(found);
    }
    near
}

fn neighbours(dev: Dev, sys: &Path) -> Vec<String> {
    let entries = fs::read_dir(sys.join("dev/block")).into_iter().flatten().filter_map(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<Dev>().ok());
    let mut near: Vec<Dev> = numbers.filter(|one| one.major == dev.major).collect();
    near.sort_by_key(|one| one.minor.abs_diff(dev.minor));
    near.iter().take(NEAREST).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_word_is_a_path_or_a_node_or_refused_with_the_forms() {
        assert_eq!(Sought::of_name("/proc"), Ok(Sought::Path("/proc".into())));
        assert_eq!(Sought::of_device("8:16"), Ok(Sought::Device(Dev { major: 8, minor: 16 })));
        for wrong in ["sdb", "web-0", "8:16", ""] {
            assert!(Sought::of_name(wrong).unwrap_err().contains("--mount ID"), "{wrong}");
        }
        for wrong in ["data", "/data", "shop/", "shop/data/x"] {
            assert!(Sought::of_claim(wrong).unwrap_err().contains("NAMESPACE/NAME"), "{wrong}");
        }
        assert!(Sought::of_device("sdb").unwrap_err().contains("MAJOR:MINOR"));
    }

    #[test]
    fn a_claim_is_its_file_systems() {
        let volume = |claim: &str, dev: &str| -> Volume {
            let line = format!(r#"{{"namespace":"shop","claim":{{"name":"{claim}"}},"dev":"{dev}"}}"#);
            serde_json::from_str(&line).unwrap()
        };
        let volumes = [volume("data", "259:3"), volume("data", "259:3"), volume("logs", "0:45")];
        let dev = |text: &str| BTreeSet::from([text.parse::<Dev>().unwrap()]);
        let target = file_systems("shop/data", &volumes).unwrap();
        assert_eq!(target, Target::Devices { nodes: dev("259:3"), superblocks: dev("259:3") });
        let target = file_systems("shop/logs", &volumes).unwrap();
        assert_eq!(target, Target::Devices { nodes: BTreeSet::new(), superblocks: dev("0:45") });
        let error = file_systems("shop/dat", &volumes).unwrap_err().to_string();
        assert!(error.contains("did you mean shop/data"), "{error}");
    }

    #[test]
    fn what_is_not_there_has_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("volume"), "").unwrap();
        let error = Sought::Path(dir.path().join("volum")).find(&[], Path::new("/sys")).unwrap_err();
        assert!(error.to_string().contains("did you mean"), "{error}");
        assert!(error.to_string().contains("/volume"), "{error}");
        let file = dir.path().join("volume");
        let error = Sought::Node(file).find(&[], Path::new("/sys")).unwrap_err();
        assert!(error.to_string().contains("is no block device; leave out --device"), "{error}");
        let error = Sought::Mount(7).find(&[], Path::new("/sys")).unwrap_err();
        assert!(error.to_string().contains("no mount has the id 7"), "{error}");
        let error = Sought::Device(Dev { major: 4000, minor: 1 }).find(&[], dir.path()).unwrap_err();
        assert!(error.to_string().contains("there is no block device 4000:1"), "{error}");
    }
}
