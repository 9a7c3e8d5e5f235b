//! A pod's cgroup, made as a kubelet makes it, with a pause process in its container.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::plan::{Driver, Plan};
use super::undo::Undo;

const ROOT: &str = "/sys/fs/cgroup";
/// A cgroup stays busy for a moment after its last process ended.
const EMPTY: Duration = Duration::from_secs(5);

/// The pod's cgroup and its one container's.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    /// From the cgroup root on, starting with a slash, as decisions name it.
    pub(super) name: String,
    pub(super) directory: PathBuf,
    pub(super) container: PathBuf,
}

impl Pod {
    /// Makes it and what is missing above it.
    pub(super) fn make(plan: &Plan, undo: &mut Undo) -> Result<Self> {
        let root = Path::new(ROOT);
        if !root.join("cgroup.controllers").is_file() {
            bail!(
                "{ROOT} is no cgroup v2 tree; boot with systemd.unified_cgroup_hierarchy=1, or run the demo without --native"
            );
        }
        let (above, pod, container) = names(driver_here(root).unwrap_or(plan.driver), plan);
        let mut level = root.to_owned();
        enable(&level, undo)?;
        for part in &above {
            level = level.join(part);
            make_directory(&level, undo)?;
            enable(&level, undo)?;
        }
        let directory = level.join(&pod);
        make_directory(&directory, undo)?;
        let container = directory.join(container);
        make_directory(&container, undo)?;
        let name = format!("/{}/{pod}", above.join("/"));
        let made = Self { name, directory, container };
        made.start_pause(undo)?;
        Ok(made)
    }

    /// The pod's process that does nothing, as the pause container of a real pod: its cgroup is never empty.
    fn start_pause(&self, undo: &mut Undo) -> Result<()> {
        let mut child = demo_child(&["--in-cgroup"], &self.container)?;
        let child = child.stdin(Stdio::piped()).spawn().context("cannot start the pod's pause process")?;
        let mut child = Kept(child);
        wait_until_populated(&self.container, &mut child)?;
        undo.later("the pod's pause process", move || {
            drop(child.0.stdin.take());
            child.0.wait().map(drop).context("cannot wait for it")
        });
        Ok(())
    }

    /// The line of a disk in one of the pod's files, if there is one.
    pub(super) fn line_of(&self, file: &str, disk: &str) -> Result<Option<String>> {
        let path = self.directory.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let line = text.lines().find(|line| line.split(' ').next() == Some(disk));
        Ok(line.map(str::to_owned))
    }

    /// Bytes that the kernel has counted as written by the pod to a disk.
    pub(super) fn written_bytes(&self, disk: &str) -> Result<u64> {
        let Some(line) = self.line_of("io.stat", disk)? else { return Ok(0) };
        let value = line.split(' ').find_map(|field| field.strip_prefix("wbytes="));
        value
            .and_then(|digits| digits.parse().ok())
            .with_context(|| format!("no wbytes in the line {line:?} of io.stat"))
    }
}

/// A child that does not outlive its owner.
pub(super) struct Kept(pub(super) Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // Nothing happens if it has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program again, as one of the demo's own processes.
pub(super) fn demo_child(flags: &[&str], argument: &Path) -> Result<Command> {
    let own = std::env::current_exe().context("cannot find the path of xtask itself")?;
    let mut command = Command::new(own);
    command.arg("demo").args(flags).arg(argument).stdin(Stdio::null());
    Ok(command)
}

/// The pause process: joins and waits for the end of its input, which comes at the latest when the demo ends.
pub(super) fn serve_pause(cgroup: &Path) -> Result<ExitCode> {
    join(cgroup)?;
    io::copy(&mut io::stdin(), &mut io::sink()).context("waiting for the end of the input")?;
    Ok(ExitCode::SUCCESS)
}

/// Puts this process into a cgroup.
pub(super) fn join(cgroup: &Path) -> Result<()> {
    let file = cgroup.join("cgroup.procs");
    fs::write(&file, "0").with_context(|| format!("cannot join by {}", file.display()))
}

/// A node that runs pods already has its way.
fn driver_here(root: &Path) -> Option<Driver> {
    let there = |name: &str| root.join(name).is_dir();
    if there("kubepods.slice") { Some(Driver::Systemd) } else { there("kubepods").then_some(Driver::Cgroupfs) }
}

fn names(driver: Driver, plan: &Plan) -> (Vec<String>, String, String) {
    match driver {
        Driver::Systemd => (
            vec!["kubepods.slice".to_owned(), "kubepods-besteffort.slice".to_owned()],
            format!("kubepods-besteffort-pod{}.slice", plan.pod_uid.replace('-', "_")),
            format!("cri-containerd-{}.scope", plan.container),
        ),
        Driver::Cgroupfs => (
            vec!["kubepods".to_owned(), "besteffort".to_owned()],
            format!("pod{}", plan.pod_uid),
            plan.container.clone(),
        ),
    }
}

fn make_directory(path: &Path, undo: &mut Undo) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other.with_context(|| format!("cannot make the cgroup {}", path.display()))?,
    }
    let path = path.to_owned();
    undo.later(format!("the cgroup {}", path.display()), move || remove(&path));
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let deadline = Instant::now() + EMPTY;
    loop {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                sleep(Duration::from_millis(20));
            }
            other => return other.context("cannot remove it"),
        }
    }
}

/// Gives the children of a cgroup the controllers: `io` for the limit, `memory` because the kernel finds the owner of
/// buffered writes by it.
fn enable(cgroup: &Path, undo: &mut Undo) -> Result<()> {
    let file = cgroup.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    for controller in ["io", "memory"] {
        if enabled.split_whitespace().any(|name| name == controller) {
            continue;
        }
        fs::write(&file, format!("+{controller}")).with_context(|| {
            format!(
                "cannot enable the controller {controller} in {}; is it switched off by cgroup_disable=?",
                file.display()
            )
        })?;
        let file = file.clone();
        undo.later(format!("the controller {controller} in {}", file.display()), move || {
            fs::write(&file, format!("-{controller}")).context("cannot disable it")
        });
    }
    Ok(())
}

fn wait_until_populated(cgroup: &Path, child: &mut Kept) -> Result<()> {
    let file = cgroup.join("cgroup.procs");
    let deadline = Instant::now() + EMPTY;
    while fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?.is_empty() {
        if let Some(status) = child.0.try_wait().context("cannot wait for the pause process")? {
            bail!("the pod's pause process ended at once, with {status}");
        }
        if Instant::now() > deadline {
            bail!("the pod's pause process did not appear in {}", file.display());
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}
