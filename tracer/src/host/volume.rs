//! Which driver a pod's volume is of, from what the kubelet keeps beside the volume. Reads the kubelet's directory as pid 1
//! sees it; writes nothing. The root of /proc is injected.
//!
//! The kubelet writes `vol_data.json` before it asks the driver to mount (`pkg/volume/csi/csi_plugin.go`, `NewMounter`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::Deserialize;

use crate::pods::PodUid;

/// The directory of the plugin for all CSI drivers.
const CSI: &str = "kubernetes.io~csi";
/// What the kubelet keeps beside a CSI volume's mount.
const VOL_DATA: &str = "vol_data.json";
/// The longest such file that is read, in bytes: it has six short values.
const LONGEST_VOL_DATA: u64 = 64 * 1024;

/// Why a volume's driver could not be told.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Something is there, and could not be read.
    #[error("cannot {operation} {}; run the agent as root with the host's pid namespace and the kubelet's directory", path.display())]
    Io {
        /// `open`, `list`, `stat` or `read`.
        operation: &'static str,
        /// What.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// Something was read, and is not as the kubelet writes it.
    #[error("cannot understand {}; report it with the kubelet's version", path.display())]
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
}

/// The values of `vol_data.json` that are of use here.
#[derive(Deserialize)]
struct VolData {
    #[serde(rename = "driverName")]
    driver_name: Option<String>,
    #[serde(rename = "volumeHandle")]
    handle: Option<String>,
    #[serde(rename = "volumeLifecycleMode")]
    lifecycle: Option<String>,
}

/// What the kubelet keeps of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The CSI driver, or for every other plugin the plugin's own name.
    pub driver: String,
    /// What a CSI driver calls the volume.
    pub handle: Option<String>,
    /// Whether the volume's directory is named after a persistent volume; `None` where that cannot be told from here.
    pub is_persistent: Option<bool>,
}

/// Plugins of which every volume is a persistent one (`pkg/volume/local`).
const PERSISTENT: &str = "kubernetes.io~local-volume";
/// Plugins whose volumes are a pod's own.
const OWN: [&str; 5] = [
    "kubernetes.io~empty-dir",
    "kubernetes.io~configmap",
    "kubernetes.io~secret",
    "kubernetes.io~projected",
    "kubernetes.io~downward-api",
];

/// The driver of a pod's volume: the CSI driver, or for every other plugin the plugin's own name. `plugin` is the
/// directory's name in the volume's path; a subpath's path has none, and then the one plugin that has a volume of this
/// name in the pod counts. `None` when the kubelet's directory does not tell.
pub fn driver(
    proc: &Path,
    kubelet_dir: &Path,
    pod: &PodUid,
    plugin: Option<&str>,
    volume: &str,
) -> Result<Option<String>, VolumeError> {
    Ok(describe(proc, kubelet_dir, pod, plugin, volume)?.map(|described| described.driver))
}

/// The same, and what else is kept of the volume.
pub fn describe(
    proc: &Path,
    kubelet_dir: &Path,
    pod: &PodUid,
    plugin: Option<&str>,
    volume: &str,
) -> Result<Option<Described>, VolumeError> {
    let path = kubelet_dir.join("pods").join(pod.as_str()).join("volumes");
    let Some(volumes) = Volumes::open(proc, path)? else { return Ok(None) };
    let plugin = match plugin {
        Some(plugin) => plugin.to_owned(),
        None => match volumes.plugin_of(volume)? {
            Some(plugin) => plugin,
            None => return Ok(None),
        },
    };
    if plugin == CSI {
        return volumes.csi(volume);
    }
    // The kubelet writes `~` for the `/` of a plugin's name (`EscapeQualifiedName`).
    let is_persistent = match plugin.as_str() {
        PERSISTENT => Some(true),
        own if OWN.contains(&own) => Some(false),
        _ => None,
    };
    Ok(Some(Described { driver: plugin.replace('~', "/"), handle: None, is_persistent }))
}

/// The directory of one pod's volumes, open.
struct Volumes {
    dir: OwnedFd,
    path: PathBuf,
}

impl Volumes {
    /// In pid 1's root, links included; `None` when it is missing.
    fn open(proc: &Path, path: PathBuf) -> Result<Option<Self>, VolumeError> {
        let root_path = proc.join("1/root");
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = rustix::fs::open(&root_path, flags, Mode::empty()).map_err(failed("open", &root_path))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&root, &path, flags, Mode::empty(), resolve) {
            Ok(dir) => Ok(Some(Self { dir, path })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failed("open", &path)(errno)),
        }
    }

    /// The only plugin that has a volume of this name here.
    fn plugin_of(&self, volume: &str) -> Result<Option<String>, VolumeError> {
        let entries = Dir::read_from(&self.dir).map_err(failed("list", &self.path))?;
        let mut found = None;
        for entry in entries {
            let entry = entry.map_err(failed("list", &self.path))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let Some(plugin) = name.to_str().filter(|name| !matches!(*name, "." | "..")) else { continue };
            let path = Path::new(plugin).join(volume);
            match rustix::fs::statat(&self.dir, &path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) if found.is_some() => return Ok(None),
                Ok(_) => found = Some(plugin.to_owned()),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(failed("stat", &self.path.join(path))(errno)),
            }
        }
        Ok(found)
    }

    /// What `vol_data.json` says. Never from inside of a volume: the file is on the mount of the pod's directory.
    fn csi(&self, volume: &str) -> Result<Option<Described>, VolumeError> {
        let path = Path::new(CSI).join(volume).join(VOL_DATA);
        let shown = self.path.join(&path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let file = match rustix::fs::openat2(&self.dir, &path, flags, Mode::empty(), resolve) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(failed("open", &shown)(errno)),
        };
        let mut bytes = Vec::new();
        let read = file.take(LONGEST_VOL_DATA).read_to_end(&mut bytes);
        read.map_err(|source| VolumeError::Io { operation: "read", path: shown.clone(), source })?;
        match serde_json::from_slice::<VolData>(&bytes) {
            Ok(data) => Ok(data.described()),
            Err(source) => Err(VolumeError::NotUnderstood { path: shown, source }),
        }
    }
}

impl VolData {
    /// Nothing without a driver. `Ephemeral` is an inline volume of the pod (`pkg/volume/csi`, `VolumeLifecycleMode`).
    fn described(self) -> Option<Described> {
        let driver = self.driver_name.filter(|name| !name.is_empty())?;
        let is_persistent = match self.lifecycle.as_deref() {
            Some("Persistent") => Some(true),
            Some("Ephemeral") => Some(false),
            _ => None,
        };
        Some(Described { driver, handle: self.handle.filter(|handle| !handle.is_empty()), is_persistent })
    }
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl Fn(Errno) -> VolumeError + use<'a> {
    move |errno| VolumeError::Io { operation, path: path.to_owned(), source: io::Error::from(errno) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const UID: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";
    const KUBELET: &str = "/var/lib/kubelet";

    /// A node with the volumes of one pod.
    struct Node(tempfile::TempDir);

    impl Node {
        fn new() -> Self {
            let node = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(node.volumes()).unwrap();
            node
        }

        fn volumes(&self) -> PathBuf {
            self.0.path().join("1/root/var/lib/kubelet/pods").join(UID).join("volumes")
        }

        /// A volume, with this beside its mount.
        fn volume(&self, plugin: &str, name: &str, vol_data: Option<&str>) {
            let dir = self.volumes().join(plugin).join(name);
            fs::create_dir_all(dir.join("mount")).unwrap();
            if let Some(text) = vol_data {
                fs::write(dir.join(VOL_DATA), text).unwrap();
            }
        }

        fn driver(&self, plugin: Option<&str>, volume: &str) -> Result<Option<String>, VolumeError> {
            driver(self.0.path(), Path::new(KUBELET), &PodUid::parse(UID).unwrap(), plugin, volume)
        }
    }

    #[test]
    fn a_csi_driver_is_read_and_a_plugin_is_its_own_driver() {
        let node = Node::new();
        node.volume(CSI, "pvc-1", Some(r#"{"attachmentID":"a","driverName":"ebs.csi.aws.com","volumeHandle":"v"}"#));
        assert_eq!(node.driver(Some(CSI), "pvc-1").unwrap().as_deref(), Some("ebs.csi.aws.com"));
        let local = node.driver(Some("kubernetes.io~local-volume"), "pv").unwrap();
        assert_eq!(local.as_deref(), Some("kubernetes.io/local-volume"));
    }

    #[test]
    fn a_persistent_volume_and_a_pods_own_are_told_apart() {
        let node = Node::new();
        let described = |plugin, volume: &str| {
            let pod = PodUid::parse(UID).unwrap();
            describe(node.0.path(), Path::new(KUBELET), &pod, plugin, volume).unwrap()
        };
        let data = |mode| format!(r#"{{"driverName":"d","volumeHandle":"h-1","volumeLifecycleMode":"{mode}"}}"#);
        for (mode, is_persistent) in [("Persistent", Some(true)), ("Ephemeral", Some(false)), ("New", None)] {
            node.volume(CSI, mode, Some(&data(mode)));
            let expected = Described { driver: "d".to_owned(), handle: Some("h-1".to_owned()), is_persistent };
            assert_eq!(described(Some(CSI), mode), Some(expected));
        }
        let of_plugin = |plugin| described(Some(plugin), "v").unwrap().is_persistent;
        assert_eq!(of_plugin("kubernetes.io~local-volume"), Some(true));
        assert_eq!(of_plugin("kubernetes.io~empty-dir"), Some(false));
        assert_eq!(of_plugin("kubernetes.io~nfs"), None);
    }

    #[test]
    fn what_the_kubelet_does_not_tell_is_unknown() {
        let node = Node::new();
        node.volume(CSI, "none", None);
        node.volume(CSI, "empty", Some(r#"{"driverName":""}"#));
        node.volume(CSI, "older", Some("{}"));
        for volume in ["none", "empty", "older", "never"] {
            assert_eq!(node.driver(Some(CSI), volume).unwrap(), None, "{volume}");
        }
        fs::remove_dir_all(node.volumes()).unwrap();
        assert_eq!(node.driver(Some(CSI), "none").unwrap(), None);
    }

    #[test]
    fn a_link_is_not_followed_and_nonsense_is_an_error() {
        let node = Node::new();
        node.volume(CSI, "linked", None);
        let elsewhere = node.0.path().join("elsewhere");
        fs::write(&elsewhere, r#"{"driverName":"liar"}"#).unwrap();
        symlink(&elsewhere, node.volumes().join(CSI).join("linked").join(VOL_DATA)).unwrap();
        assert_eq!(node.driver(Some(CSI), "linked").unwrap(), None);
        node.volume(CSI, "bad", Some("driverName"));
        let error = node.driver(Some(CSI), "bad").unwrap_err();
        assert!(error.to_string().starts_with("cannot understand /var/lib/kubelet/pods/"), "{error}");
    }

    #[test]
    fn a_subpaths_plugin_is_the_only_one_with_its_volume() {
        let node = Node::new();
        node.volume(CSI, "pvc-1", Some(r#"{"driverName":"d"}"#));
        node.volume("kubernetes.io~empty-dir", "scratch", None);
        assert_eq!(node.driver(None, "pvc-1").unwrap().as_deref(), Some("d"));
        assert_eq!(node.driver(None, "scratch").unwrap().as_deref(), Some("kubernetes.io/empty-dir"));
        assert_eq!(node.driver(None, "absent").unwrap(), None);
        node.volume("kubernetes.io~empty-dir", "pvc-1", None);
        assert_eq!(node.driver(None, "pvc-1").unwrap(), None, "it may be either");
    }
}
