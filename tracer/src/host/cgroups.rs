//! The pods' cgroups of a node, and which controllers a cgroup has. Reads the cgroup v2 tree; writes nothing.
//! The root is injected.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::pods::{PodCgroup, PodUid, cgroup_path};

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

/// Each pod's own cgroup below the root. Once, at the agent's start: later ones are seen when they are made. Nothing below
/// a pod is looked at, what goes away meanwhile is passed over, and so is what does not belong to `owner` (root, on a
/// node): a user who was given a part of the hierarchy may give a cgroup there any name.
pub fn scan(root: &Path, owner: u32) -> Result<Vec<(PodUid, PodCgroup)>, CgroupError> {
    let mut pods = Vec::new();
    let mut pending = vec![(String::new(), 0)];
    while let Some((parent, depth)) = pending.pop() {
        for (name, id) in children(root, &parent, owner)? {
            let path = format!("{parent}/{name}");
            match cgroup_path::pod_of(&path) {
                Some(uid) => pods.push((uid, PodCgroup { path, id })),
                None if depth + 1 < DEEPEST => pending.push((path, depth + 1)),
                None => {}
            }
        }
    }
    pods.sort();
    Ok(pods)
}

/// The names and ids of the owner's cgroups in a cgroup. A name that is not UTF-8 belongs to no pod.
fn children(root: &Path, parent: &str, owner: u32) -> Result<Vec<(String, u64)>, CgroupError> {
    let dir = below(root, parent);
    let failed = |source| CgroupError::Io { operation: "list", path: dir.clone(), source };
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(source) if !parent.is_empty() && is_gone(&source) => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        // Entries of `read_dir` are not followed when they are links.
        match entry.and_then(|entry| Ok((entry.metadata()?, entry.file_name()))) {
            Ok((metadata, name)) if metadata.is_dir() && metadata.uid() == owner => {
                found.extend(name.into_string().ok().map(|name| (name, metadata.ino())));
            }
            Ok(_) => {}
            Err(source) if is_gone(&source) => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(found)
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

/// Whether a cgroup is what its path says: root has made the pod's, where there is one. The path is as the kernel prints it.
pub fn is_no_look_alike(root: &Path, path: &str) -> bool {
    let is_roots = |pod: &str| fs::metadata(below(root, pod)).is_ok_and(|cgroup| cgroup.uid() == 0);
    cgroup_path::pod_part(path).is_none_or(is_roots)
}

/// The path that says whose a task is, by its directory in /proc; `None` where it is nobody's, or a pod's by a name alone that root has not given.
pub fn of_task(task: &Path, root: &Path) -> Option<String> {
    let cgroups = fs::read_to_string(task.join("cgroup")).ok()?;
    let (is_v2, path) = cgroup_path::of_task(&cgroups)?;
    // The v1 hierarchies are not looked at: nobody but root gets a part of them.
    (!is_v2 || is_no_look_alike(root, path)).then(|| path.to_owned())
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
        let cgroup = |path: String| PodCgroup { id: fs::metadata(below(root.path(), &path)).unwrap().ino(), path };
        let expected = [(PodUid::parse(A).unwrap(), cgroup(slice)), (PodUid::parse(B).unwrap(), cgroup(plain))];
        let me = rustix::process::geteuid().as_raw();
        assert_eq!(scan(root.path(), me).unwrap(), expected);
        assert_eq!(scan(root.path(), me + 1).unwrap(), [], "they are not theirs");
    }

    #[test]
    fn a_missing_root_is_said() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("none");
        let expected = format!("cannot list {}/; mount cgroup v2 there, or name the place where it is", path.display());
        assert_eq!(scan(&path, 0).unwrap_err().to_string(), expected);
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
