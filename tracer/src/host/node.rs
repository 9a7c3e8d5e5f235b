//! What a node must allow beyond the probes: capabilities, and cgroup v2 with `io` handed down to the pods. Reads; the
//! roots are injected.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::fs::statfs;

use super::cgroups;
use crate::probe::refusal::Finding;

/// What is there, or what is missing.
pub type Verdict = Result<String, Finding>;

/// The inode number of a hierarchy's root, which is its id (`cgroup_id`, Linux 5.5 and newer).
const ROOT_CGROUP: u64 = 1;
/// The initial pid namespace's inode number: `PROC_PID_INIT_INO` of `linux/proc_ns.h`.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";
/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
pub(super) const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// What the agent needs, by bit of `linux/capability.h`, and what for.
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (38, "CAP_PERFMON", "attach the probes and read kernel memory from them"),
    (39, "CAP_BPF", "load the probes"),
    (19, "CAP_SYS_PTRACE", "read /proc/1/root and /proc/1/ns/mnt"),
    (1, "CAP_DAC_OVERRIDE", "write io.max where root's own files are not"),
];

/// The capabilities of the process whose `/proc/PID/status` this is.
pub fn capabilities(status: &Path) -> Verdict {
    let text = fs::read_to_string(status).unwrap_or_default();
    let mask = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let lacking: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(bit, ..)| mask >> bit & 1 == 0)
        .map(|(_, name, purpose)| format!("{name} (to {purpose})"))
        .collect();
    if lacking.is_empty() {
        let names: Vec<&str> = CAPABILITIES.iter().map(|(_, name, _)| *name).collect();
        return Ok(format!("capabilities: {}", names.join(", ")));
    }
    Err(Finding {
        subject: "capabilities".to_owned(),
        why: format!("this process has no {}", lacking.join(", no ")),
        remedy: "run as root on the node, in a container with `privileged: true`".to_owned(),
    })
}

/// Whether this process sees the node's own processes: its mount table, its root and its swaps are read through pid 1.
pub fn pid_namespace(proc: &Path) -> Verdict {
    let link = fs::read_link(proc.join("self/ns/pid")).unwrap_or_default();
    if link.as_os_str() == INITIAL_PID_NAMESPACE {
        return Ok("pid namespace: the node's own".to_owned());
    }
    Err(Finding {
        subject: "pid namespace".to_owned(),
        why:
            "this process is in a pid namespace of its own: its pids are not those that the kernel's records carry, and \
              pid 1 is not the node's, which tells the disks that the node needs"
                .to_owned(),
        remedy: "run it with hostPID: true (--pid=host), or outside of a container".to_owned(),
    })
}

/// Whether this is the root of the node's cgroup v2 hierarchy.
pub fn cgroup_root(root: &Path) -> Verdict {
    let refused =
        |why: String, remedy: &str| Err(Finding { subject: "cgroup v2".to_owned(), why, remedy: remedy.to_owned() });
    if !statfs(root).is_ok_and(|fs| fs.f_type == CGROUP2_MAGIC) {
        return refused(
            format!("{} is not cgroup v2; limits need it, tracing does not", root.display()),
            "boot with systemd.unified_cgroup_hierarchy=1, or mount it: mount -t cgroup2 none /sys/fs/cgroup",
        );
    }
    if !fs::metadata(root).is_ok_and(|root| root.ino() == ROOT_CGROUP) {
        return refused(
            format!("{} is not the root of the node's hierarchy, so that pods lie elsewhere", root.display()),
            "give the agent the host's /sys/fs/cgroup, mounted writable",
        );
    }
    Ok(format!("cgroup v2: mounted at {}", root.display()))
}

/// cgroup v2, and `io` from its root down to the pods.
pub fn cgroups(root: &Path) -> Vec<Verdict> {
    let mut verdicts = vec![cgroup_root(root)];
    if verdicts[0].is_err() {
        return verdicts;
    }
    match cgroups::controllers(root, "/") {
        Ok(controllers) if controllers.available.iter().any(|name| name == "io") => verdicts.extend(handed_down(root)),
        Ok(_) => verdicts.push(Err(Finding {
            subject: "cgroup io".to_owned(),
            why: "the root cgroup has no io controller".to_owned(),
            remedy:
                "boot a kernel with CONFIG_BLK_CGROUP and CONFIG_BLK_DEV_THROTTLING, without cgroup_disable=io, and \
                     with no cgroup v1 hierarchy that holds blkio"
                    .to_owned(),
        })),
        Err(error) => verdicts.push(Err(unreadable(&error))),
    }
    verdicts
}

/// `io` in `cgroup.subtree_control` of every cgroup above a pod.
fn handed_down(root: &Path) -> Vec<Verdict> {
    let pods = match cgroups::scan(root, 0) {
        Ok(pods) => pods,
        Err(error) => return vec![Err(unreadable(&error))],
    };
    let above: BTreeSet<&str> = pods.iter().flat_map(|(_, cgroup)| ancestors(&cgroup.path)).chain(["/"]).collect();
    let lacking: Vec<Verdict> = above.iter().filter_map(|path| lacks_io(root, path)).map(Err).collect();
    if lacking.is_empty() {
        return vec![Ok(match pods.len() {
            0 => "cgroup io: handed down from the root; there is no pod yet".to_owned(),
            count => format!("cgroup io: handed down to {count} pods"),
        })];
    }
    lacking
}

fn lacks_io(root: &Path, path: &str) -> Option<Finding> {
    let passed_on = cgroups::controllers(root, path).map(|controllers| controllers.passed_on).unwrap_or_default();
    if passed_on.iter().any(|name| name == "io") {
        return None;
    }
    let file = format!("{}{}/cgroup.subtree_control", root.display(), path.trim_end_matches('/'));
    Some(Finding {
        subject: "cgroup io".to_owned(),
        why: format!("{file} does not have io, so that nothing below it can be limited"),
        remedy:
            "echo +io into each cgroup.subtree_control named above, from the root down; under systemd give the slice \
                 IOAccounting=yes, which does it and keeps it"
                .to_owned(),
    })
}

/// The cgroups above one, without the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).filter(|path| !path.is_empty())
}

fn unreadable(error: &dyn std::error::Error) -> Finding {
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    Finding {
        subject: "cgroup io".to_owned(),
        why: format!("{error}{cause}"),
        remedy: "run as root with the host's cgroup namespace".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lacking_capability_is_named_with_its_purpose() {
        let dir = tempfile::tempdir().unwrap();
        let status = dir.path().join("status");
        fs::write(&status, "Name:\tx\nCapEff:\t000001ffffffffff\n").unwrap();
        assert!(capabilities(&status).is_ok());
        fs::write(&status, "CapEff:\t0000013fffffffff\n").unwrap();
        let finding = capabilities(&status).unwrap_err();
        assert!(finding.why.contains("CAP_BPF (to load the probes)") || finding.why.contains("CAP_PERFMON"));
    }

    #[test]
    fn a_directory_that_is_not_cgroup_v2_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let verdicts = cgroups(dir.path());
        assert!(verdicts[0].as_ref().unwrap_err().why.contains("is not cgroup v2"));
    }

    #[test]
    fn a_pid_namespace_of_its_own_is_said() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir_all(proc.path().join("self/ns")).unwrap();
        let link = proc.path().join("self/ns/pid");
        std::os::unix::fs::symlink("pid:[4026532201]", &link).unwrap();
        assert!(pid_namespace(proc.path()).is_err());
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("pid:[4026531836]", &link).unwrap();
        assert!(pid_namespace(proc.path()).is_ok());
    }

    #[test]
    fn every_cgroup_above_a_pod_is_looked_at() {
        let above: Vec<&str> = ancestors("/kubepods.slice/kubepods-burstable.slice/pod").collect();
        assert_eq!(above, ["/kubepods.slice", "/kubepods.slice/kubepods-burstable.slice"]);
    }
}
