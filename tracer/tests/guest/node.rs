//! A node's furniture for the agent: pods' cgroups under both drivers' names, volumes' paths, a policy, and the decisions.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rustix::mount::MountFlags;
use serde_json::Value;

use super::actor::Actor;
use super::program::{LINE, Program};
use super::{ground, oracle};

/// The kubelet's own directory, the agent's default.
pub(crate) const KUBELET: &str = "/var/lib/kubelet";

/// Who names the pods' cgroups.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Driver {
    Systemd,
    Cgroupfs,
}

/// A pod: a uid, and, once made, a cgroup with a container and a process in it.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    driver: Driver,
    process: Option<Actor>,
}

/// A volume of a pod, as the kubelet names it.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Pod {
    /// A pod that has no cgroup yet.
    pub(crate) fn new(driver: Driver) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self { uid: format!("5ca1ab1e-0000-4000-8000-{number:012x}"), driver, process: None }
    }

    /// A pod with its cgroup.
    pub(crate) fn running(driver: Driver) -> Result<Self> {
        let mut pod = Self::new(driver);
        pod.make_cgroup()?;
        Ok(pod)
    }

    /// Makes the pod's cgroup with the `io` controller, and a container with a process in it.
    pub(crate) fn make_cgroup(&mut self) -> Result<()> {
        let pod = self.cgroup_directory()?;
        let parent = pod.parent().context("a pod's cgroup has a parent")?;
        let root = cgroup_root()?;
        enable_io(&root)?;
        let mut level = root.clone();
        for name in parent.strip_prefix(&root)? {
            level = level.join(name);
            ground::make_directory(&level)?;
            enable_io(&level)?;
        }
        let container = pod.join(self.container());
        ground::make_directory(&container)?;
        let process = Actor::start()?;
        ground::write_file(&container.join("cgroup.procs"), process.pid().to_string())?;
        self.process = Some(process);
        Ok(())
    }

    /// Its cgroup, from the cgroup root on, starting with a slash.
    pub(crate) fn cgroup(&self) -> String {
        match self.driver {
            Driver::Systemd => {
                let uid = self.uid.replace('-', "_");
                format!("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid}.slice")
            }
            Driver::Cgroupfs => format!("/kubepods/besteffort/pod{}", self.uid),
        }
    }

    fn container(&self) -> String {
        let id = "c0ffee".repeat(11).chars().take(64).collect::<String>();
        match self.driver {
            Driver::Systemd => format!("cri-containerd-{id}.scope"),
            Driver::Cgroupfs => id,
        }
    }

    fn cgroup_directory(&self) -> Result<PathBuf> {
        Ok(cgroup_root()?.join(self.cgroup().trim_start_matches('/')))
    }

    /// The file with its limits.
    pub(crate) fn io_max_file(&self) -> Result<PathBuf> {
        Ok(self.cgroup_directory()?.join("io.max"))
    }

    /// The file with its limits, as text.
    pub(crate) fn io_max(&self) -> Result<String> {
        let file = self.io_max_file()?;
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// A volume of this pod; its directory is made, as the kubelet does.
    pub(crate) fn volume(&self, name: &str) -> Result<Volume> {
        self.volume_below(Path::new(KUBELET), name)
    }

    /// The directory of its volumes.
    pub(crate) fn volumes(&self) -> PathBuf {
        Path::new(KUBELET).join("pods").join(&self.uid).join("volumes")
    }

    /// A volume of a plugin that mounts at the volume's own directory.
    pub(crate) fn volume_of_plugin(&self, plugin: &str, name: &str) -> Result<Volume> {
        let path = self.volumes().join(plugin).join(name);
        ground::make_directory(&path)?;
        Ok(Volume { name: name.to_owned(), path })
    }

    /// A volume below another kubelet's directory.
    pub(crate) fn volume_below(&self, kubelet: &Path, name: &str) -> Result<Volume> {
        let directory = kubelet.join("pods").join(&self.uid).join("volumes/kubernetes.io~csi");
        let path = directory.join(name).join("mount");
        ground::make_directory(&path)?;
        Ok(Volume { name: name.to_owned(), path })
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(self.process.take());
        if let Ok(pod) = self.cgroup_directory() {
            let _ = fs::remove_dir(pod.join(self.container()));
            let _ = fs::remove_dir(pod);
        }
        let _ = fs::remove_dir_all(Path::new(KUBELET).join("pods").join(&self.uid));
    }
}

/// Where the cgroup v2 tree is mounted; mounted now if nowhere.
pub(crate) fn cgroup_root() -> Result<PathBuf> {
    static MOUNT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(root) = MOUNT.get() {
        return Ok(root.clone());
    }
    let own = std::process::id();
    if !oracle::mounts(own)?.iter().any(|mount| mount.fstype == "cgroup2") {
        rustix::mount::mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MountFlags::empty(), None)
            .context("cannot mount cgroup2 at /sys/fs/cgroup")?;
    }
    let found = oracle::mounts(own)?.into_iter().find(|mount| mount.fstype == "cgroup2");
    let path = PathBuf::from(String::from_utf8(found.context("no cgroup2 mount")?.path)?);
    Ok(MOUNT.get_or_init(|| path).clone())
}

/// Gives the children of a cgroup the `io` controller.
pub(crate) fn enable_io(cgroup: &Path) -> Result<()> {
    ground::write_file(&cgroup.join("cgroup.subtree_control"), "+io").context("the kernel offers no io controller here")
}

/// Four limits; `None` is `max`. What a policy says, and what `io.max` then holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) rbps: Option<u64>,
    pub(crate) wbps: Option<u64>,
    pub(crate) riops: Option<u64>,
    pub(crate) wiops: Option<u64>,
}

impl Limits {
    /// A rule for one volume.
    pub(crate) fn rule(&self, volume: &str) -> String {
        self.rule_for(volume, &format!("volume: {volume}"))
    }

    /// A rule with a name and the inside of a `match`.
    pub(crate) fn rule_for(&self, name: &str, matches: &str) -> String {
        let keys =
            [("readBps", self.rbps), ("writeBps", self.wbps), ("readIops", self.riops), ("writeIops", self.wiops)];
        let given: Vec<String> =
            keys.iter().filter_map(|(key, value)| value.map(|value| format!("{key}: {value}"))).collect();
        let limits = given.join(", ");
        format!("  - name: {name}\n    match: {{ {matches} }}\n    limits: {{ {limits} }}\n")
    }

    /// The four fields as a decision holds them.
    pub(crate) fn json(&self) -> Value {
        let value = |field: Option<u64>| field.map_or(Value::from("max"), Value::from);
        serde_json::json!({
            "rbps": value(self.rbps), "wbps": value(self.wbps), "riops": value(self.riops), "wiops": value(self.wiops),
        })
    }

    /// The line of `io.max` that says this.
    pub(crate) fn line(&self, disk: &str) -> String {
        let value = |field: Option<u64>| field.map_or("max".to_owned(), |number| number.to_string());
        let [rbps, wbps, riops, wiops] = [self.rbps, self.wbps, self.riops, self.wiops].map(value);
        format!("{disk} rbps={rbps} wbps={wbps} riops={riops} wiops={wiops}\n")
    }
}

/// A running agent and the decisions it prints.
pub(crate) struct Agent {
    pub(crate) program: Program,
    /// Its policy's file.
    pub(crate) policy: PathBuf,
}

impl Agent {
    /// Starts the agent with a policy of these rules, and waits until it is ready.
    pub(crate) fn start(mode: &str, rules: &[String]) -> Result<Self> {
        Self::start_with(mode, rules, &[])
    }

    /// The same with more flags.
    pub(crate) fn start_with(mode: &str, rules: &[String], flags: &[&str]) -> Result<Self> {
        let file = ground::directory("policy")?.join("policy.yaml");
        ground::write_file(&file, Self::policy(mode, rules))?;
        Self::start_from(&file, flags)
    }

    /// Starts the agent with this policy and flags, and waits until it is ready.
    pub(crate) fn start_from(policy: &Path, flags: &[&str]) -> Result<Self> {
        let file = policy.to_str().context("the trials' own paths are UTF-8")?;
        let mut program = Program::start(&[&["agent", "--policy", file], flags].concat())?;
        program.wait_ready()?;
        Ok(Self { program, policy: policy.to_owned() })
    }

    /// The text of a policy.
    pub(crate) fn policy(mode: &str, rules: &[String]) -> String {
        let rules = if rules.is_empty() { "  []\n".to_owned() } else { rules.concat() };
        format!("mode: {mode}\nrules:\n{rules}")
    }

    /// Gives the agent's policy another text, in place, as a careless editor does.
    pub(crate) fn write_policy(&self, mode: &str, rules: &[String]) -> Result<()> {
        ground::write_file(&self.policy, Self::policy(mode, rules))
    }

    /// The next decision, which has to be this one.
    pub(crate) fn expect(&mut self, pod: &Pod, volume: &Volume, decision: &str, reason: &str) -> Result<Value> {
        let next = self.program.next_json(Instant::now() + LINE);
        let next = next.with_context(|| format!("waiting for {decision}/{reason} for volume {}", volume.name))?;
        let next = next.context("the agent ended")?;
        let wanted =
            [("pod_uid", pod.uid.as_str()), ("volume", &volume.name), ("decision", decision), ("reason", reason)];
        for (key, wanted) in wanted {
            let found = next.get(key).unwrap_or(&Value::Null);
            ensure!(found.as_str() == Some(wanted), "{key} is {found}, expected {wanted:?}, in {next}");
        }
        Ok(next)
    }

    /// What it has said so far on its standard error.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.program.errors()
    }

    /// The next decision, whatever it is.
    pub(crate) fn next(&mut self) -> Result<Value> {
        self.program.next_json(Instant::now() + LINE)?.context("the agent ended")
    }

    /// Ends it; what it decided meanwhile and no trial has asked for is an error.
    pub(crate) fn stop(self) -> Result<()> {
        let finished = self.program.terminate()?;
        ensure!(finished.status.success(), "ended with {}: {:#?}", finished.status, finished.errors);
        ensure!(finished.lines.is_empty(), "decisions that nobody expected: {:#?}", finished.lines);
        Ok(())
    }
}

/// An error unless a field of a decision is this.
pub(crate) fn expect_field(decision: &Value, key: &str, wanted: impl Into<Value>) -> Result<()> {
    let (found, wanted) = (decision.get(key).unwrap_or(&Value::Null), wanted.into());
    ensure!(*found == wanted, "{key} is {found}, expected {wanted}, in {decision}");
    Ok(())
}

/// An error unless the pod's `io.max` is exactly this.
pub(crate) fn expect_io_max(pod: &Pod, wanted: &str) -> Result<()> {
    let found = pod.io_max()?;
    ensure!(found == wanted, "io.max of {} is {found:?}, expected {wanted:?}", pod.cgroup());
    Ok(())
}
