//! IN: where container runtimes have their sockets on a node. Looks at those paths, and opens nothing.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::error::{CriError, Fault};

/// The well-known places. `/var/run` is a link to `/run` on every node.
pub const SOCKETS: [&str; 6] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/run/k0s/containerd.sock",
    "/run/cri-dockerd.sock",
];

/// What is at the well-known places.
#[derive(Debug, Default)]
pub struct Sockets {
    /// The sockets, each once, by whatever paths it can be reached.
    pub found: Vec<PathBuf>,
    /// What is there, but of no use. That nothing is there is no fault: a node has one runtime.
    pub faults: Vec<CriError>,
}

/// Looks below the node's root, as it is seen from here.
pub fn look(root: &Path) -> Sockets {
    let mut sockets = Sockets::default();
    let mut seen = HashSet::new();
    for place in SOCKETS {
        let path = root.join(place.trim_start_matches('/'));
        match check(&path) {
            Ok(file) => {
                if seen.insert(file) {
                    sockets.found.push(path);
                }
            }
            Err(Fault::Absent(_)) => {}
            Err(fault) => sockets.faults.push(CriError::new("look for a runtime", &path, fault)),
        }
    }
    sockets
}

/// The device and inode of a socket. Connecting tells less: to a file that is none, it says that nobody listens.
pub(super) fn check(path: &Path) -> Result<(u64, u64), Fault> {
    let file = fs::metadata(path).map_err(Fault::of_connect)?;
    if file.file_type().is_socket() { Ok((file.dev(), file.ino())) } else { Err(Fault::NoSocket) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn at(root: &Path, place: &str) -> PathBuf {
        let path = root.join(place.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    #[test]
    fn sockets_are_found_below_the_nodes_root() {
        let root = tempfile::tempdir().unwrap();
        let sockets = look(root.path());
        assert!(sockets.found.is_empty() && sockets.faults.is_empty(), "an empty node has none: {sockets:?}");
        let places = [SOCKETS[0], SOCKETS[4]].map(|place| at(root.path(), place));
        let _listeners = places.each_ref().map(|path| UnixListener::bind(path).unwrap());
        let sockets = look(root.path());
        assert_eq!(sockets.found, places);
        assert!(sockets.faults.is_empty());
    }

    #[test]
    fn a_socket_that_two_paths_lead_to_is_one() {
        let root = tempfile::tempdir().unwrap();
        let (linked, real) = (at(root.path(), SOCKETS[0]), at(root.path(), SOCKETS[2]));
        let _listener = UnixListener::bind(&real).unwrap();
        symlink(&real, &linked).unwrap();
        assert_eq!(look(root.path()).found, [linked]);
    }

    #[test]
    fn what_is_no_socket_is_said() {
        let root = tempfile::tempdir().unwrap();
        fs::write(at(root.path(), SOCKETS[1]), "").unwrap();
        let sockets = look(root.path());
        assert!(sockets.found.is_empty());
        let lines: Vec<String> = sockets.faults.iter().map(ToString::to_string).collect();
        let path = root.path().join("run/crio/crio.sock");
        let expected = "cannot look for a runtime at the CRI socket PATH: it is no socket; name the runtime's socket";
        assert_eq!(lines, [expected.replace("PATH", &path.to_string_lossy())]);
    }
}
