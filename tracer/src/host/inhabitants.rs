//! Who is in the mount namespaces that are there, by the oldest process of each, from /proc, whose root is injected like that of the cgroups.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
};

use super::{cgroups, namespaces::mount_namespace, nsfs, tasks};
use crate::pods::owners::Inhabitant;

/// Which field of `/proc/PID/stat` behind the name in parentheses says when a process began, in ticks since the boot (proc(5): the 22nd).
const START: usize = 22 - 3;

/// Each namespace that a process is in, but for the first one's own, those of the oldest processes first. What ends meanwhile is passed over.
pub fn find(proc: &Path, cgroup_root: &Path) -> io::Result<Vec<Inhabitant>> {
    let first = mount_namespace(proc, 1).ok();
    let scan = tasks::scan(proc)?;
    let others = scan.namespaces.iter().filter(|(inum, _)| Some(**inum) != first);
    let found = others.filter_map(|(inum, members)| oldest(proc, cgroup_root, *inum, &members.processes));
    let mut found: Vec<Inhabitant> = found.collect();
    found.sort_by_key(|one| one.since);
    Ok(found)
}

fn oldest(proc: &Path, cgroup_root: &Path, inum: u32, processes: &BTreeSet<u32>) -> Option<Inhabitant> {
    let began = |pid: &u32| Some((began(&fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?)?, *pid));
    let (since, pid) = processes.iter().filter_map(began).min()?;
    let dir = proc.join(pid.to_string());
    let id = File::open(dir.join("ns/mnt")).ok().and_then(nsfs::id).unwrap_or(0);
    Some(Inhabitant { inum, id, cgroup: cgroups::of_task(&dir, cgroup_root), since })
}

/// The name may hold anything, so that the last parenthesis counts.
fn began(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(START)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const PATH: &str = "/kubepods/pod0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";

    fn process(proc: &Path, pid: u32, inum: u32, began: u64, cgroup: &str) {
        let task = proc.join(format!("{pid}/task/{pid}"));
        for dir in [proc.join(pid.to_string()), task] {
            fs::create_dir_all(dir.join("ns")).unwrap();
            symlink(format!("mnt:[{inum}]"), dir.join("ns/mnt")).unwrap();
            fs::write(dir.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
            fs::write(dir.join("stat"), format!("{pid} (a) b) S{} {began} 0\n", " 0".repeat(18))).unwrap();
        }
    }

    #[test]
    fn the_oldest_process_speaks_for_its_namespace() {
        let (proc, cgroups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(cgroups.path().join(&PATH[1..])).unwrap();
        process(proc.path(), 1, 10, 0, "/init.scope");
        process(proc.path(), 2, 11, 7, PATH);
        process(proc.path(), 3, 11, 5, "/system.slice/a.service");
        process(proc.path(), 4, 12, 9, PATH);
        let found = find(proc.path(), cgroups.path()).unwrap();
        let roots = rustix::process::geteuid().is_root();
        let expected = [
            Inhabitant { inum: 11, id: 0, cgroup: None, since: 5 },
            Inhabitant { inum: 12, id: 0, cgroup: roots.then(|| PATH.to_owned()), since: 9 },
        ];
        assert_eq!(found, expected);
    }
}
