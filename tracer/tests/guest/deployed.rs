//! The agent as it is deployed: from its own image, by a real containerd, with the mounts, the privileges and the probes that the manifests say.
//! Only where there is one: in a guest that is a node.

mod kubelet;
mod probes;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tracer::pods::cri::api;

use self::kubelet::AgentPod;
use super::asking::{Client, DIRECTORY, Reply, SOCKET, TABLES};
use super::cri::{Containerd, Pod, Started};
use super::disk::Disk;
use super::list::objects;
use super::node::{self, KUBELET, Limits};
use super::program::LINE;
use super::trial::trial;
use super::{ground, kernel};

/// The image, where the guest has it.
const IMAGE: &str = "/usr/share/mount-tracer/mount-tracer.tar";
const UID: &str = "a6e27000-0000-4000-8000-00000000000";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("deployed::it_sees_a_volume_and_ends_in_order", it_sees_a_volume_and_ends_in_order),
        trial("deployed::what_is_left_out_is_said", what_is_left_out_is_said),
    ]
}

/// The agent in its container.
struct Deployed {
    pod: AgentPod,
    containerd: Containerd,
    started: Started,
    began: Instant,
}

impl Deployed {
    fn start(pod: AgentPod, runtime: &str) -> Result<Self> {
        let containerd = Containerd::new()?;
        ground::make_directory(pod.log().parent().context("a log has a directory")?)?;
        let (sandbox, container) = (pod.sandbox()?, pod.container_config()?);
        let began = Instant::now();
        let started = containerd.start_as(&sandbox, &container, runtime).context("cannot start the agent's pod")?;
        Ok(Self { pod, containerd, started, began })
    }

    fn is_running(&self) -> Result<bool> {
        Ok(self.containerd.status(&self.started)?.state() == api::ContainerState::ContainerRunning)
    }

    /// Waits as a kubelet does until it is ready; how long that took.
    fn await_ready(&self) -> Result<Duration> {
        for name in ["startupProbe", "readinessProbe"] {
            let probe = self.pod.container(&format!("/{name}"));
            probes::await_success(probe, self.pod.container("/ports"), || self.is_running())
                .with_context(|| format!("the {name} fails; it said: {:#?}", self.said()))?;
        }
        Ok(self.began.elapsed())
    }

    /// Each line that it printed, without what the runtime puts before it.
    fn said(&self) -> Vec<String> {
        let text = fs::read_to_string(self.pod.log()).unwrap_or_default();
        text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).map(str::to_owned).collect()
    }

    /// Waits until it has said a line.
    fn await_line(&self, is_it: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + LINE;
        loop {
            if let Some(line) = self.said().into_iter().find(|line| is_it(line)) {
                return Ok(line);
            }
            ensure!(Instant::now() < deadline, "it did not say it; it said: {:#?}", self.said());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until it has ended; its exit status.
    fn await_end(&self) -> Result<i32> {
        let deadline = Instant::now() + LINE;
        while self.is_running()? {
            ensure!(Instant::now() < deadline, "it runs on; it said: {:#?}", self.said());
            thread::sleep(Duration::from_millis(100));
        }
        Ok(self.containerd.status(&self.started)?.exit_code)
    }

    /// Ends it as a kubelet does; its exit status.
    fn stop(&self) -> Result<i32> {
        let grace = self.pod.spec("/terminationGracePeriodSeconds").as_i64().context("a grace period")?;
        self.containerd.stop(&self.started, grace)?;
        self.await_end()
    }

    /// A command of the binary in its container, as `kubectl exec` does it; what it prints.
    fn exec(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("ctr");
        command.args(["-n", "k8s.io", "tasks", "exec", "--exec-id", "asked", &self.started.container, "mount-tracer"]);
        let output = command.args(arguments).output().context("cannot start ctr")?;
        ensure!(output.status.success(), "{arguments:?} in the container: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        if let Err(error) = self.containerd.remove(&self.started) {
            eprintln!("{error:#}");
        }
    }
}

/// Gives containerd the image, and looks that it is the one of the manifest.
fn import(pod: &AgentPod) -> Result<()> {
    let ctr = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("ctr").args(["-n", "k8s.io", "images"]).args(arguments).output()?;
        ensure!(output.status.success(), "ctr images {arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    ctr(&["import", IMAGE])?;
    let there = ctr(&["ls", "-q"])?;
    ensure!(there.lines().any(|name| name == pod.image()), "no {} in {there}", pod.image());
    Ok(())
}

fn it_sees_a_volume_and_ends_in_order() -> Result<()> {
    let pod = AgentPod::of_manifests(&format!("{UID}1"))?;
    import(&pod)?;
    let mut agent = Deployed::start(pod, "runc")?;
    let ready = agent.await_ready()?;
    let pid = agent.containerd.pid(&agent.started)?;
    expect_as_written(&agent, pid)?;
    print_figures(ready, pid)?;
    expect_a_decision(&agent)?;
    expect_answers(&agent, pid)?;
    expect_its_own_mounts(&agent, pid)?;
    expect_ended_in_order(&agent)?;
    drop(agent);
    // The next one, with what that one left on the node.
    let next = Deployed::start(AgentPod::of_manifests(&format!("{UID}2"))?, "crun")?;
    next.await_ready()?;
    expect_ended_in_order(&next)
}

/// It is ready in the manifest's mode, and can write nothing but what is mounted.
fn expect_as_written(agent: &Deployed, pid: u32) -> Result<()> {
    let ready = agent.await_line(|line| line.starts_with("ready: "))?;
    ensure!(ready.contains("mode=observe rules=0"), "it says {ready:?}");
    let notes: Vec<String> = agent.said().into_iter().filter(|line| line.starts_with("note: ")).collect();
    // This node has a runtime, and neither a kubelet nor a cluster.
    let expected = ["the kubelet's directory", "this is no pod of a cluster"];
    let is_expected = |line: &String| expected.iter().any(|part| line.contains(part));
    ensure!(notes.iter().all(is_expected), "it lacks something: {notes:#?}");
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    let options = |at: &str| mounts.lines().find(|line| line.split(' ').nth(4) == Some(at))?.split(' ').nth(5);
    for (at, expected) in
        [("/", "ro"), ("/etc/mount-tracer", "ro"), ("/run/mount-tracer", "rw"), ("/sys/fs/cgroup", "rw")]
    {
        let found = options(at).with_context(|| format!("nothing is mounted at {at} in {mounts}"))?;
        ensure!(found.split(',').any(|option| option == expected), "{at} is {found}");
    }
    Ok(())
}

/// Start to ready, and what it takes then.
fn print_figures(ready: Duration, pid: u32) -> Result<()> {
    // What it needs to read tables is given back by then.
    thread::sleep(Duration::from_secs(5));
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
        value.with_context(|| format!("no {name}"))
    };
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::")).context("no cgroup v2")?.to_owned();
    let current = kernel::read(&format!("/sys/fs/cgroup{cgroup}/memory.current"))?;
    println!(
        "deployed: kernel={} ready_s={:.1} rss_kib={} anon_kib={} memory_current={} image_bytes={}",
        kernel::read("/proc/sys/kernel/osrelease")?.trim(),
        ready.as_secs_f64(),
        kib("VmRSS:")?,
        kib("RssAnon:")?,
        current.trim(),
        fs::metadata(IMAGE)?.len()
    );
    Ok(())
}

/// A change of the `ConfigMap`, and then a pod with a volume: the agent says what it would do.
fn expect_a_decision(agent: &Deployed) -> Result<()> {
    const VOLUME: &str = "pvc-deployed";
    let limits = Limits { rbps: Some(50 << 20), wbps: None, riops: None, wiops: None };
    agent.pod.write_policy(&node::Agent::policy("observe", &[limits.rule(VOLUME)]))?;
    agent.await_line(|line| line.contains("is valid now") && line.contains("rules=1"))?;

    let uid = format!("{UID}9");
    let volume =
        Path::new(KUBELET).join("pods").join(&uid).join("volumes/kubernetes.io~csi").join(VOLUME).join("mount");
    ground::make_directory(&volume)?;
    let host_path = volume.to_str().context("our own paths are UTF-8")?.to_owned();
    let pod = Pod {
        uid: uid.clone(),
        namespace: "shop".to_owned(),
        name: "web-0".to_owned(),
        container: "app".to_owned(),
        runtime: "runc",
        script: "exec sleep 1000".to_owned(),
        mounts: vec![(host_path, "/data".to_owned(), api::MountPropagation::PropagationHostToContainer)],
        labels: [("app".to_owned(), "web".to_owned())].into(),
    };
    let started = agent.containerd.start(&pod)?;
    // As the kubelet does for every controller.
    for cgroup in ["", "kubepods.slice", "kubepods.slice/kubepods-besteffort.slice"] {
        node::enable_io(&Path::new("/sys/fs/cgroup").join(cgroup))?;
    }
    let disk = Disk::get()?;
    let mounted = disk.mount(&volume)?;
    let line = agent.await_line(|line| line.contains(VOLUME) && line.starts_with('{'))?;
    let decision: Value = serde_json::from_str(&line)?;
    let expected = [
        ("pod_uid", json!(uid)),
        ("volume", json!(VOLUME)),
        ("disk", json!(disk.number()?)),
        ("decision", json!("observed")),
        ("reason", json!("matched")),
    ];
    for (key, value) in expected {
        node::expect_field(&decision, key, value)?;
    }
    drop(mounted);
    agent.containerd.remove(&started)
}

/// By its socket from the node, and by its metrics at the address that the manifest says.
fn expect_answers(agent: &Deployed, pid: u32) -> Result<()> {
    let port = agent.pod.container("/ports/0/containerPort");
    let reply = Reply::scrape(&format!("{}:{port}", kubelet::NODE_IP))?;
    ensure!(reply.status == 200, "a scrape is answered with {reply:?}");
    ensure!(reply.value(r#"mount_tracer_operations_total{op="mount",result="ok"}"#)? > 0, "no mount was counted");
    ensure!(reply.value("mount_tracer_operations_lost_total")? == 0, "operations were lost");
    let (tables, _) = Client::connect()?.ask(TABLES)?;
    let own = namespace(pid)?;
    let table = tables.iter().find(|table| table["mntns"] == own).context("its own namespace is not known to it")?;
    ensure!(table["state"] == "exact", "its own table is {}", table["state"]);
    Ok(())
}

/// Its own mounts are its pod's, as the node says and as it says itself, which reaches the runtime's socket.
fn expect_its_own_mounts(agent: &Deployed, pid: u32) -> Result<()> {
    let own = namespace(pid)?;
    let inside = agent.exec(&["list", "-o", "json", "--mntns", &own.to_string()])?;
    let inside: Vec<Value> = inside.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let outside = objects(&["--mntns", &own.to_string()])?;
    for (listed, by) in [(outside, "on the node"), (inside, "in its container")] {
        let at = |target: &str| listed.iter().find(|mount| mount["mountpoint"] == target || mount["path"] == target);
        let mount =
            at("/run/mount-tracer").with_context(|| format!("{by} no /run/mount-tracer is listed: {listed:#?}"))?;
        let owner = &mount["owner"];
        let expected = [
            ("pod_uid", agent.pod.uid.as_str()),
            ("namespace", "mount-tracer"),
            ("pod", "mount-tracer-x7k2p"),
            ("container", "mount-tracer"),
            ("container_id", &agent.started.container),
            ("qos_class", "Burstable"),
        ];
        for (key, value) in expected {
            ensure!(owner[key] == value, "{by} {key} of {owner} is not {value}");
        }
    }
    Ok(())
}

/// SIGTERM within the grace period, status 0, and nothing that holds up the next one.
fn expect_ended_in_order(agent: &Deployed) -> Result<()> {
    let status = agent.stop()?;
    ensure!(status == 0, "it ended with {status}; it said: {:#?}", agent.said());
    ensure!(agent.said().last().is_some_and(|line| line.starts_with("stats: ")), "no statistics: {:#?}", agent.said());
    ensure!(!Path::new(SOCKET).exists(), "{SOCKET} is left behind");
    let lock = File::open(Path::new(DIRECTORY).join("agent.lock")).context("no lock on the node")?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).context("somebody holds the lock still")
}

fn namespace(pid: u32) -> Result<u32> {
    let link = fs::read_link(format!("/proc/{pid}/ns/mnt"))?;
    let number = link.to_str().and_then(|text| text.strip_prefix("mnt:[")?.strip_suffix(']')?.parse().ok());
    number.with_context(|| format!("{} is no namespace", link.display()))
}

/// What a pod may lack: what it then says, and the status with which it ends; `None` where it goes on.
type Lack = (&'static str, fn(AgentPod) -> Result<AgentPod>, &'static [&'static str], Option<i32>);

const LACKS: [Lack; 5] = [
    (
        "the policy",
        |pod| pod.without_mount("policy"),
        &["cannot open the policy /etc/mount-tracer/policy.yaml"],
        Some(2),
    ),
    ("hostPID", |pod| pod.with("/hostPID", json!(false)), &["pid namespace", "hostPID: true"], Some(3)),
    ("privileged", unprivileged, &["privileged: true"], Some(3)),
    // containerd gives the whole hierarchy to a privileged container by itself; not every runtime does.
    (
        "the cgroups",
        |pod| unprivileged(pod)?.without_mount("cgroup"),
        &["cgroup v2", "give the agent the host's /sys/fs/cgroup"],
        Some(3),
    ),
    (
        "the directory in /run",
        |pod| pod.without_mount("run"),
        &["nobody can ask this agent", "mount the host's directory there"],
        None,
    ),
];

fn unprivileged(pod: AgentPod) -> Result<AgentPod> {
    pod.with("/containers/0/securityContext/privileged", json!(false))
}

fn what_is_left_out_is_said() -> Result<()> {
    import(&AgentPod::of_manifests(UID)?)?;
    for (number, (what, change, said, status)) in LACKS.iter().enumerate() {
        let pod = change(AgentPod::of_manifests(&format!("{UID}{}", number + 3))?)?;
        let agent = Deployed::start(pod, "runc").with_context(|| format!("without {what}"))?;
        match status {
            Some(status) => {
                let ended = agent.await_end()?;
                ensure!(ended == *status, "without {what} it ends with {ended}: {:#?}", agent.said());
            }
            None => drop(agent.await_ready().with_context(|| format!("without {what}"))?),
        }
        for words in *said {
            let says = agent.said().iter().any(|line| line.contains(words));
            ensure!(says, "without {what} it does not say {words:?}: {:#?}", agent.said());
        }
    }
    Ok(())
}
