//! PURE: from a mount's path below the kubelet's directory to the pod's volume that it is. Touches nothing.
//!
//! The layout is the kubelet's (`pkg/kubelet/kubelet_getters.go`, `pkg/volume/util/subpath`): only the mount of a volume
//! itself counts, nothing deeper, since a pod chooses what lies inside of its volumes.

use super::PodUid;

/// One volume of one pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VolumePath {
    /// The pod that the kubelet mounted it for.
    pub pod_uid: PodUid,
    /// The plugin as the directory names it, `kubernetes.io~csi`; `None` for a subpath, whose path has no plugin.
    pub plugin: Option<String>,
    /// The volume as the directory names it: the persistent volume's name for a CSI volume, else the pod's own name for it.
    pub volume: String,
}

/// The volume whose mount the path is: `<dir>/pods/<uid>/volumes/<plugin>/<volume>`, the same with `/mount` (CSI), or
/// `<dir>/pods/<uid>/volume-subpaths/<volume>/<container>/<index>`. `None` for every other path, and for one that is
/// not absolute, has an empty component, `.` or `..`.
pub fn volume_of(kubelet_dir: &[u8], path: &[u8]) -> Option<VolumePath> {
    let dir = components(kubelet_dir.strip_suffix(b"/").unwrap_or(kubelet_dir))?;
    let path = components(path)?;
    let below = path.strip_prefix(dir.as_slice())?;
    match below {
        [b"pods", uid, b"volumes", plugin, volume] | [b"pods", uid, b"volumes", plugin, volume, b"mount"] => {
            Some(VolumePath { pod_uid: pod_uid(uid)?, plugin: Some(name(plugin)?), volume: name(volume)? })
        }
        [b"pods", uid, b"volume-subpaths", volume, _container, index] if is_index(index) => {
            Some(VolumePath { pod_uid: pod_uid(uid)?, plugin: None, volume: name(volume)? })
        }
        _ => None,
    }
}

/// The components of an absolute path that goes straight down.
fn components(path: &[u8]) -> Option<Vec<&[u8]>> {
    let components: Vec<&[u8]> = path.strip_prefix(b"/")?.split(|byte| *byte == b'/').collect();
    let straight = components.iter().all(|name| !matches!(*name, b"" | b"." | b".."));
    straight.then_some(components)
}

fn pod_uid(bytes: &[u8]) -> Option<PodUid> {
    PodUid::parse(str::from_utf8(bytes).ok()?)
}

/// A name that can be matched and shown as it is.
fn name(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes).ok()?;
    (!text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// The number of the container's `volumeMounts` entry.
fn is_index(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::pod_uid::tests::any_uid;
    use proptest::prelude::*;

    const DIR: &[u8] = b"/var/lib/kubelet";
    const UID: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";

    fn read(template: &str) -> Option<(String, Option<String>, String)> {
        let found = volume_of(DIR, template.replace('@', UID).as_bytes())?;
        Some((found.pod_uid.to_string(), found.plugin, found.volume))
    }

    #[test]
    fn a_volumes_own_mount() {
        let csi = || Some("kubernetes.io~csi".to_owned());
        let table = [
            ("/var/lib/kubelet/pods/@/volumes/kubernetes.io~csi/pvc-1/mount", csi(), "pvc-1"),
            ("/var/lib/kubelet/pods/@/volumes/kubernetes.io~csi/pvc-1", csi(), "pvc-1"),
            (
                "/var/lib/kubelet/pods/@/volumes/kubernetes.io~local-volume/pv a",
                Some("kubernetes.io~local-volume".to_owned()),
                "pv a",
            ),
            ("/var/lib/kubelet/pods/@/volume-subpaths/pvc-1/app/0", None, "pvc-1"),
        ];
        for (path, plugin, volume) in table {
            assert_eq!(read(path), Some((UID.to_owned(), plugin, volume.to_owned())), "{path}");
        }
    }

    #[test]
    fn what_is_no_volumes_mount() {
        for path in [
            "",
            "/",
            "/var/lib/kubelet",
            "/var/lib/kubelet/pods/@/volumes/kubernetes.io~csi",
            "/var/lib/kubelet/pods/@/volumes/kubernetes.io~csi/pvc-1/mount/deeper",
            "/var/lib/kubelet/pods/@/volumes/kubernetes.io~csi/pvc-1/other",
            "/var/lib/kubelet/pods/@/volumes/kubernetes.io~csi/pvc-1/",
            "/var/lib/kubelet/pods/@/volumes/kubernetes.io~csi//mount",
            "/var/lib/kubelet/pods/@/volumes/kubernetes.io~csi/../mount",
            "/var/lib/kubelet/pods/@/volumes/../pvc-1/mount",
            "/var/lib/kubelet/pods/./@/volumes/kubernetes.io~csi/pvc-1",
            "/var/lib/kubelet/../kubelet/pods/@/volumes/kubernetes.io~csi/pvc-1",
            "/var/lib/kubelet/pods/x/volumes/kubernetes.io~csi/pvc-1",
            "/var/lib/kubelet/pods/@/volumeDevices/kubernetes.io~csi/pvc-1",
            "/var/lib/kubelet/pods/@/volumes/kubernetes.io~csi/pvc\n1",
            "/var/lib/kubelet/pods/@/volume-subpaths/pvc-1/app",
            "/var/lib/kubelet/pods/@/volume-subpaths/pvc-1/app/x",
            "/var/lib/kubelet/pods/@/volume-subpaths/pvc-1/app/0/1",
            "/var/lib/kubelet2/pods/@/volumes/kubernetes.io~csi/pvc-1",
            "/host/var/lib/kubelet/pods/@/volumes/kubernetes.io~csi/pvc-1",
            "var/lib/kubelet/pods/@/volumes/kubernetes.io~csi/pvc-1",
            "/var/lib/kubelet/plugins/kubernetes.io/csi/x/globalmount",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
        let mut path = format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/pvc").into_bytes();
        path.push(0xff);
        assert_eq!(volume_of(DIR, &path), None);
    }

    #[test]
    fn the_kubelets_directory_may_be_anywhere() {
        let path = format!("/data/pods/{UID}/volumes/p/v/mount");
        for dir in ["/data", "/data/"] {
            assert!(volume_of(dir.as_bytes(), path.as_bytes()).is_some(), "{dir}");
        }
        for dir in ["", "/", "data", "/dat", "/data/pods", "/data/.", "//data"] {
            assert!(volume_of(dir.as_bytes(), path.as_bytes()).is_none(), "{dir}");
        }
    }

    proptest! {
        #[test]
        fn names_come_back_as_they_are(uid in any_uid(), plugin in "[a-z.~]{3,20}", volume in "[^/\\p{Cc}.][^/\\p{Cc}]{0,20}") {
            let path = format!("/k/pods/{uid}/volumes/{plugin}x/{volume}/mount");
            let expected = VolumePath { pod_uid: uid, plugin: Some(plugin + "x"), volume };
            prop_assert_eq!(volume_of(b"/k", path.as_bytes()), Some(expected));
        }

        #[test]
        fn nothing_panics(dir: Vec<u8>, path: Vec<u8>) {
            let _ = volume_of(&dir, &path);
        }
    }
}
