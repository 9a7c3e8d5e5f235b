//! Mount tables, asked from the kernel: through a process that is in the namespace, or where none is, by its 64-bit id. The
//! root of /proc is injected.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{
    cgroups,
    namespaces::{NamespaceError, mount_namespace_of},
    nsfs, statmount,
    tasks::{self, Members, Scan, TaskId, is_gone},
};
use crate::{
    listed::{Listed, MountTable, Task},
    mountinfo::{self, MountinfoError},
    operation::Namespace,
    pods::cgroup_path::owner_of,
};

/// Root directories of one namespace that are looked through.
const MAX_ROOTS: usize = 16;
/// How often a table is read again when its process went to another namespace meanwhile.
const TRIES: usize = 5;

/// Where the node is seen.
#[derive(Clone, Copy, Debug)]
pub struct Roots<'a> {
    /// `/proc`.
    pub proc: &'a Path,
    /// The cgroup v2 hierarchy.
    pub cgroups: &'a Path,
}

/// Whose mount table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// This process's own.
    Own,
    /// That of a process or a thread.
    Process(u32),
    /// That of a namespace, by its inode number.
    Namespace(u32),
    /// All.
    All,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Nothing has this id.
    #[error("cannot read the mount table of process {pid}: there is no such process; `ps -e` lists those there are")]
    NoProcess {
        /// The id.
        pid: u32,
    },
    /// The kernel does not allow it.
    #[error(
        "cannot look into the mount namespace of {}: it is not allowed; run as root, in a container with CAP_SYS_PTRACE and hostPID: true",
        path.display()
    )]
    Refused {
        /// Whose directory.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// Something in /proc cannot be read.
    #[error("cannot read {}; give it the host's /proc", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// A link in /proc is strange.
    #[error(transparent)]
    Link(NamespaceError),
    /// The table is not as the kernel writes it.
    #[error("cannot understand {}; report it with the kernel's version", path.display())]
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: MountinfoError,
    },
    /// No process is in such a namespace.
    #[error("there is no mount namespace {inum}{}; `mount-tracer list --all` lists those there are", unseen(*sees_all))]
    NoNamespace {
        /// The inode number that was asked for.
        inum: u32,
        /// Whether those without a process were looked at too.
        sees_all: bool,
    },
    /// A namespace without a process, which cannot be read.
    #[error("cannot read mount namespace {inum}, which no process is in; run as root in the initial user namespace")]
    Statmount {
        /// The inode number.
        inum: u32,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
}

fn unseen(sees_all: bool) -> &'static str {
    if sees_all { "" } else { " with a process in it, and this kernel or user cannot see others (Linux 6.12 and root)" }
}

/// Tables, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Tables {
    /// The first process's first, those without a process last.
    pub tables: Vec<MountTable>,
    /// In words.
    pub notes: Vec<String>,
}

/// Reads what was asked for.
pub fn read(roots: Roots<'_>, which: Which) -> Result<Tables, TableError> {
    let one = |table| Tables { tables: vec![table], notes: Vec::new() };
    match which {
        Which::Own => roots.of_process("self").map(one),
        Which::Process(pid) => of_pid(roots, pid).map(one),
        Which::Namespace(inum) => of_namespace(roots, inum).map(one),
        Which::All => all(roots),
    }
}

fn of_pid(roots: Roots<'_>, pid: u32) -> Result<MountTable, TableError> {
    roots.of_process(&pid.to_string()).map_err(|error| match error {
        TableError::Read { source, .. } if is_gone(&source) => TableError::NoProcess { pid },
        other => other,
    })
}

fn of_namespace(roots: Roots<'_>, inum: u32) -> Result<MountTable, TableError> {
    let scan = scan(roots.proc)?;
    if let Some(table) = scan.namespaces.get(&inum).and_then(|members| of_members(roots, inum, members)) {
        return table;
    }
    let all = nsfs::every(roots.proc);
    let found = all.iter().flatten().find(|namespace| namespace.inum == inum);
    match found {
        Some(namespace) => without_process(*namespace),
        None => Err(TableError::NoNamespace { inum, sees_all: all.is_some() }),
    }
}

fn all(roots: Roots<'_>) -> Result<Tables, TableError> {
    let scan = scan(roots.proc)?;
    let mut found = Tables::default();
    for (inum, members) in &scan.namespaces {
        match of_members(roots, *inum, members) {
            Some(Ok(table)) => found.tables.push(table),
            Some(Err(error)) => found.notes.push(crate::output::say::chain(&error)),
            None => {}
        }
    }
    found.tables.sort_by_key(|table| table.task.as_ref().map(|task| (task.pid, task.tid)));
    match nsfs::every(roots.proc) {
        Some(namespaces) => found.add_without_process(&scan, &namespaces),
        None => found
            .notes
            .push("mount namespaces that no process is in are not listed: that takes Linux 6.12 and root".to_owned()),
    }
    if scan.refused > 0 {
        let refused = format!(
            "{} threads may not be looked into, and a namespace of theirs alone is not listed; run as root with CAP_SYS_PTRACE",
            scan.refused
        );
        found.notes.push(refused);
    }
    Ok(found)
}

impl Tables {
    fn add_without_process(&mut self, scan: &Scan, namespaces: &[Namespace]) {
        for namespace in namespaces.iter().filter(|namespace| !scan.namespaces.contains_key(&namespace.inum)) {
            match without_process(*namespace) {
                // One of those that may not be looked into may be in it.
                Ok(table) if scan.refused > 0 => self.tables.push(MountTable { processes: None, ..table }),
                Ok(table) => self.tables.push(table),
                // It has ended since.
                Err(TableError::Statmount { source, .. }) if is_gone(&source) => {}
                Err(error) => self.notes.push(crate::output::say::chain(&error)),
            }
        }
    }
}

fn scan(proc: &Path) -> Result<Scan, TableError> {
    tasks::scan(proc).map_err(|source| TableError::Read { path: proc.to_owned(), source })
}

/// Through the thread that sees most of it; `None` when all have left.
fn of_members(roots: Roots<'_>, inum: u32, members: &Members) -> Option<Result<MountTable, TableError>> {
    let mut best: Option<Result<(MountTable, TaskId), TableError>> = None;
    for task in members.by_root.values().take(MAX_ROOTS) {
        match table_of(&task.dir(roots.proc)) {
            Ok(table) if table.namespace.inum != inum => {}
            Ok(table) => {
                let better = |best: &Result<(MountTable, TaskId), TableError>| {
                    best.as_ref().is_ok_and(|(best, _)| best.mounts.len() >= table.mounts.len())
                };
                if !best.as_ref().is_some_and(better) {
                    best = Some(Ok((table, *task)));
                }
            }
            Err(TableError::Read { source, .. }) if is_gone(&source) => {}
            Err(error) => best = best.or(Some(Err(error))),
        }
    }
    let whole = |(table, task): (MountTable, TaskId)| {
        let processes = Some(members.processes.len());
        MountTable { task: Some(roots.named(task)), processes, ..table }
    };
    best.map(|best| best.map(whole))
}

/// The table that the task with this directory sees; who that is remains to be said.
fn table_of(dir: &Path) -> Result<MountTable, TableError> {
    let mut inum = inum_of(dir)?;
    for _ in 0..TRIES {
        let id = File::open(dir.join("ns/mnt")).ok().and_then(nsfs::id).unwrap_or(0);
        let namespace = Namespace { inum, id };
        let file = dir.join("mountinfo");
        let bytes = fs::read(&file).map_err(|source| failed(file.clone(), source))?;
        let mounts =
            mountinfo::parse(&bytes, namespace).map_err(|source| TableError::NotUnderstood { path: file, source })?;
        let now = inum_of(dir)?;
        if now == inum {
            let mounts = with_unique_ids(namespace, mounts);
            return Ok(MountTable { namespace, task: None, processes: None, mounts });
        }
        inum = now;
    }
    let source = io::Error::other("it goes from one mount namespace to another; try again");
    Err(TableError::Read { path: dir.join("mountinfo"), source })
}

fn inum_of(dir: &Path) -> Result<u32, TableError> {
    mount_namespace_of(dir).map_err(|error| match error {
        NamespaceError::Read { path, source } => failed(path, source),
        other @ NamespaceError::Understand { .. } => TableError::Link(other),
    })
}

fn failed(path: PathBuf, source: io::Error) -> TableError {
    if source.kind() == ErrorKind::PermissionDenied {
        return TableError::Refused { path, source };
    }
    TableError::Read { path, source }
}

/// Where the kernel has them. A mount whose parent is another one by now has given its id away.
fn with_unique_ids(namespace: Namespace, mut mounts: Vec<Listed>) -> Vec<Listed> {
    if namespace.id == 0 {
        return mounts;
    }
    let ids = statmount::unique_ids(namespace.id).unwrap_or_default();
    for Listed { mount, .. } in &mut mounts {
        if let Some(unique) = ids.get(&mount.id).filter(|unique| unique.parent == mount.parent_id) {
            mount.id_unique = Some(unique.id);
            mount.parent_id_unique = Some(unique.parent_id);
        }
    }
    mounts
}

fn without_process(namespace: Namespace) -> Result<MountTable, TableError> {
    let mounts = statmount::mounts(namespace);
    let mounts = mounts.map_err(|source| TableError::Statmount { inum: namespace.inum, source })?;
    Ok(MountTable { namespace, task: None, processes: Some(0), mounts })
}

impl Roots<'_> {
    /// The table that a process sees, by its directory's name.
    fn of_process(self, name: &str) -> Result<MountTable, TableError> {
        let dir = self.proc.join(name);
        let table = table_of(&dir)?;
        Ok(MountTable { task: task_of(&dir).map(|task| self.named(task)), ..table })
    }

    /// Who a thread is.
    pub fn named(self, task: TaskId) -> Task {
        let dir = task.dir(self.proc);
        let mut comm = fs::read(dir.join("comm")).unwrap_or_default();
        // The kernel ends it with a newline, which a name may have too.
        comm.pop();
        let owner = cgroups::of_task(&dir, self.cgroups).map(|path| owner_of(&path)).unwrap_or_default();
        Task { pid: task.pid, tid: task.tid, comm, owner, named: None }
    }
}

/// By what its directory says: `self` is a number there too.
fn task_of(dir: &Path) -> Option<TaskId> {
    let status = fs::read_to_string(dir.join("status")).ok()?;
    let number = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    Some(TaskId { pid: number("Tgid:")?, tid: number("Pid:")? })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::pods::cgroup_path::Owner;

    fn roots(proc: &tempfile::TempDir) -> Roots<'_> {
        Roots { proc: proc.path(), cgroups: Path::new("/none") }
    }

    fn proc_with(pid: u32, mountinfo: &str) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for dir in [format!("{pid}"), format!("{pid}/task/{pid}")] {
            let dir = proc.path().join(dir);
            fs::create_dir_all(dir.join("ns")).unwrap();
            symlink("mnt:[77]", dir.join("ns/mnt")).unwrap();
            fs::write(dir.join("mountinfo"), mountinfo).unwrap();
            fs::write(dir.join("comm"), "a\nb\n").unwrap();
            fs::write(dir.join("cgroup"), "0::/system.slice/ssh.service\n").unwrap();
        }
        proc
    }

    #[test]
    fn a_process_and_its_namespace_have_one_table() {
        let proc = proc_with(5, "36 35 259:1 / / rw - ext4 /dev/sda1 rw\n");
        for which in [Which::Process(5), Which::Namespace(77), Which::All] {
            let tables = read(roots(&proc), which).unwrap().tables;
            assert_eq!((tables.len(), tables[0].namespace.inum, tables[0].mounts.len()), (1, 77, 1), "{which:?}");
        }
        let table = read(roots(&proc), Which::Namespace(77)).unwrap().tables.remove(0);
        assert_eq!(
            table.task,
            Some(Task { pid: 5, tid: 5, comm: b"a\nb".to_vec(), owner: Owner::default(), named: None })
        );
        assert_eq!(table.processes, Some(1));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let proc = proc_with(5, "");
        let said = |which| read(roots(&proc), which).unwrap_err().to_string();
        assert!(said(Which::Process(6)).contains("there is no such process; `ps -e`"));
        assert!(said(Which::Namespace(78)).starts_with("there is no mount namespace 78"));
    }

    #[test]
    fn a_table_that_is_broken_is_named_with_the_place_and_without_its_words() {
        let proc = proc_with(5, "36 35 259:1 / / rw password=x\n");
        let error = read(roots(&proc), Which::Process(5)).unwrap_err();
        let said = crate::output::say::chain(&error);
        assert!(said.contains("5/mountinfo") && said.contains("line 1, byte 29"), "{said}");
        assert!(!said.contains("password"), "{said}");
    }
}
