//! The pods' cgroups of a node, and which controllers a cgroup has. Reads the cgroup v2 tree; writes nothing.
//! The root is injected.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::pods::{PodUid, cgroup_path};

/// Levels below the root that are looked at. Pods lie at most four deep below the kubelet's own root, and a node in a
/// container, as kind's, adds some.
const DEEPEST: usize = 8;

/// Why the tree could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel refused.
    #[error("cannot {operation} {}; mount cgroup v2 there, or name the place where it is", path.display())]
    Io {
        /// `list` or `read`.
        operation: &'static str,
        /// What.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
}

/// What a cgroup may control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controllers {
    /// For itself: `cgroup.controllers`.
    pub available: Vec<String>,
    /// Passed on to those below: `cgroup.subtree_control`.
    pub passed_on: Vec<String>,
}

/// Each pod's own cgroup below the root, its path as the kernel prints it. Once, at the agent's start: later ones are
/// seen when they are made. Nothing below a pod is looked at, and what goes away meanwhile is passed over.
pub fn scan(root: &Path) -> Result<Vec<(PodUid, String)>, CgroupError> {
    let mut pods = Vec::new();
    let mut pending = vec![(String::new(), 0)];
    while let Some((parent, depth)) = pending.pop() {
        for name in children(root, &parent)? {
            let path = format!("{parent}/{name}");
            match cgroup_path::pod_of(&path) {
                Some(uid) => pods.push((uid, path)),
                None if depth + 1 < DEEPEST => pending.push((path, depth + 1)),
                None => {}
            }
        }
    }
    pods.sort();
    Ok(pods)
}

/// The names of the cgroups in a cgroup. A name that is not UTF-8 belongs to no pod.
fn children(root: &Path, parent: &str) -> Result<Vec<String>, CgroupError> {
    let dir = below(root, parent);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(source) if !parent.is_empty() && is_gone(&source) => return Ok(Vec::new()),
        Err(source) => {
            return Err(CgroupError::Io { operation: "list", path: dir, source });
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(source) if is_gone(&source) => break,
            Err(source) => {
                return Err(CgroupError::Io { operation: "list", path: dir, source });
            }
        };
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        names.extend(entry.file_name().into_string().ok().filter(|_| is_dir));
    }
    Ok(names)
}

/// What a cgroup may control; its path as the kernel prints it.
pub fn controllers(root: &Path, path: &str) -> Result<Controllers, CgroupError> {
    let dir = below(root, path);
    let words = |file: &str| {
        let path = dir.join(file);
        let text = fs::read_to_string(&path).map_err(|source| CgroupError::Io { operation: "read", path, source })?;
        Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
    };
    Ok(Controllers { available: words("cgroup.controllers")?, passed_on: words("cgroup.subtree_control")? })
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// ENOENT, and ENODEV of a directory that was open when it was removed.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NODEV)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const A: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";
    const B: &str = "6f5b0a2c9d3e4f1a8b7c6d5e4f3a2b1c";

    #[test]
    fn pods_are_found_and_not_searched() {
        let root = tempfile::tempdir().unwrap();
        let unit = A.replace('-', "_");
        let slice = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{unit}.slice");
        let plain = format!("/system/node/kubepods/besteffort/pod{B}");
        for path in [
            slice.clone(),
            format!("{slice}/cri-containerd-1.scope/kubepods/pod{B}"),
            plain.clone(),
            format!("/1/2/3/4/5/6/7/8/kubepods/pod{B}"),
            "/system.slice/a.service".to_owned(),
        ] {
            fs::create_dir_all(below(root.path(), &path)).unwrap();
        }
        fs::write(root.path().join("cgroup.procs"), "1\n").unwrap();
        symlink(".", root.path().join("loop")).unwrap();
        let expected = [(PodUid::parse(A).unwrap(), slice), (PodUid::parse(B).unwrap(), plain)];
        assert_eq!(scan(root.path()).unwrap(), expected);
    }

    #[test]
    fn a_missing_root_is_said() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("none");
        let expected = format!("cannot list {}/; mount cgroup v2 there, or name the place where it is", path.display());
        assert_eq!(scan(&path).unwrap_err().to_string(), expected);
    }

    #[test]
    fn controllers_are_words() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("kubepods")).unwrap();
        fs::write(root.path().join("kubepods/cgroup.controllers"), "cpu io memory\n").unwrap();
        fs::write(root.path().join("kubepods/cgroup.subtree_control"), "\n").unwrap();
        let found = controllers(root.path(), "/kubepods").unwrap();
        assert_eq!(
            found,
            Controllers { available: vec!["cpu".into(), "io".into(), "memory".into()], passed_on: vec![] }
        );
        assert!(controllers(root.path(), "/none").is_err());
    }
}
