//! Whether the kernel takes the processor away from kernel code, and so from a program that runs outside of sections.

use std::{fs, path::Path};

/// Whether it may. A kernel that can choose says in debugfs which mode holds, in brackets; where debugfs cannot be read, one
/// that is built to be preempted at all counts as such.
pub fn is_preemptible(debugfs: &Path, proc: &Path) -> bool {
    fs::read_to_string(debugfs.join("sched/preempt")).map_or_else(
        |_| fs::read_to_string(proc.join("version")).unwrap_or_default().contains("PREEMPT"),
        |modes| ["(full)", "(lazy)"].iter().any(|mode| modes.contains(mode)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debugfs_says_it_else_the_version() {
        let root = tempfile::tempdir().unwrap();
        let (debugfs, proc) = (root.path().join("debug"), root.path().join("proc"));
        fs::create_dir_all(debugfs.join("sched")).unwrap();
        fs::create_dir_all(&proc).unwrap();
        let version = |text| fs::write(proc.join("version"), text).unwrap();
        let modes = |text| fs::write(debugfs.join("sched/preempt"), text).unwrap();
        version("Linux version 5.10.0-36-cloud-amd64 (…) #1 SMP Debian 5.10.244-1");
        assert!(!is_preemptible(&debugfs, &proc));
        version("Linux version 6.1.0-40-cloud-amd64 (…) #1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1");
        assert!(is_preemptible(&debugfs, &proc));
        modes("none (voluntary) full \n");
        assert!(!is_preemptible(&debugfs, &proc));
        modes("full (lazy) \n");
        assert!(is_preemptible(&debugfs, &proc));
    }
}
