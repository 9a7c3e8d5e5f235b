//! PURE: (mount, where the kubelet lives) -> who uses which volume on which device.
//!
//! A pod *uses* a volume when the kubelet's mount of it appears under `pods/<its uid>/volumes` or `volume-subpaths` of
//! the kubelet's directory, in the kubelet's own mount namespace. A path of that shape anywhere else proves nothing:
//! whoever writes a pod's specification chooses its mount paths.

use crate::{
    device::Dev,
    host::Facts,
    operation::{Mount, MountKey, Namespace},
    pods::{
        PodUid,
        kubelet_path::{VolumePath, volume_of},
    },
};

/// Where the kubelet's mounts are seen.
#[derive(Clone, Debug)]
pub struct Kubelet {
    /// Its directory, `/var/lib/kubelet` unless it was told otherwise.
    pub directory: Vec<u8>,
    /// Its mount namespace. That of pid 1 lives as long as the system, so its number is not used again.
    pub namespace: u32,
}

/// A volume in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The mount, which names the use: another may be mounted over it at the same path.
    pub mount: MountKey,
    /// Who uses it.
    pub pod_uid: PodUid,
    /// The volume's name, as the kubelet's path has it.
    pub volume: String,
    /// The plugin's directory; a subpath's path has none.
    pub plugin: Option<String>,
    /// The type of its file system; `None` when it is no text.
    pub fstype: Option<String>,
    /// The mount's path.
    pub path: Vec<u8>,
    /// The superblock's device.
    pub dev: Dev,
    /// When the operation ended, `CLOCK_BOOTTIME` in nanoseconds.
    pub end_ns: u64,
    /// What the node said of it; `None` while it was not asked.
    pub facts: Option<Facts>,
}

/// The volume that a mount is of, if it is one: `end_ns` is when the operation ended.
pub fn sighting(mount: &Mount, end_ns: u64, kubelet: &Kubelet) -> Option<Sighting> {
    let Namespace { inum, .. } = mount.namespace?;
    if inum != kubelet.namespace {
        return None;
    }
    let path = mount.path.as_ref().ok()?;
    let VolumePath { pod_uid, volume, plugin } = volume_of(&kubelet.directory, path)?;
    let fstype = String::from_utf8(mount.fstype.clone()).ok().filter(|fstype| !fstype.is_empty());
    let (path, dev) = (path.clone(), mount.dev);
    Some(Sighting { mount: mount.key(), pod_uid, volume, plugin, fstype, path, dev, end_ns, facts: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::tests::mount;

    const PATH: &str =
        "/var/lib/kubelet/pods/0b7cf5a4-6c4e-4d6e-9f0a-3f1d2c4b5a69/volumes/kubernetes.io~csi/pvc-1/mount";

    fn kubelet() -> Kubelet {
        Kubelet { directory: b"/var/lib/kubelet".to_vec(), namespace: 4_026_531_841 }
    }

    fn seen(inum: u32, path: &str) -> bool {
        let namespace = Some(Namespace { inum, id: 1 });
        let mount = Mount { namespace, path: Ok(path.as_bytes().to_vec()), ..mount(2) };
        sighting(&mount, 7, &kubelet()).is_some()
    }

    #[test]
    fn the_kubelets_mount_is_a_use_and_a_look_alike_is_not() {
        assert!(seen(4_026_531_841, PATH), "also when a CSI driver's mount propagated there");
        assert!(!seen(4_026_532_000, PATH), "a container may choose this path");
        assert!(!seen(4_026_531_841, &format!("/run/containerd/x/rootfs{PATH}")));
        assert!(!seen(4_026_531_841, "/mnt"));
    }
}
