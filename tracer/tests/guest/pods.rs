//! Whose each mount is, on a node with a real containerd: pods that start and stop at once, and what `trace` and `list` say of them. Only where
//! there is one: in a guest that is a node.

mod faults;
mod volumes;

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tracer::pods::cri::api::MountPropagation;

use super::asking::{Client, TABLES};
use super::cri::{Containerd, Pod, Started};
use super::ground;
use super::kernel;
use super::list::objects;
use super::node::Agent;
use super::operation::Operation;
use super::program::Program;
use super::trial::trial;

/// How many pods start in all, unless the environment says otherwise, and how many at once.
const STARTS: usize = 30;
const STARTS_OF: &str = "POD_STARTS";
const AT_ONCE: usize = 8;
/// How long a container may take to do its mounts: many times what is seen.
const DONE: Duration = Duration::from_mins(2);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("pods::each_mount_names_its_pod", each_mount_names_its_pod),
        trial("pods::those_that_were_there_before", those_that_were_there_before),
        trial("pods::filters_by_name_and_label", filters_by_name_and_label),
        trial("pods::an_agent_says_whose_each_table_is", an_agent_says_whose_each_table_is),
        trial("pods::who_uses_and_who_holds", volumes::who_uses_and_who_holds),
        trial("pods::a_runtime_that_is_not_there_leaves_ids", faults::a_runtime_that_is_not_there_leaves_ids),
        trial("pods::a_runtime_that_hangs_is_met_again", faults::a_runtime_that_hangs_is_met_again),
        trial("pods::a_runtime_that_restarts_is_met_again", faults::a_runtime_that_restarts_is_met_again),
    ]
}

/// The `number`th pod: each differs in all that tells pods apart. Its container mounts a file system whose source is its own name, makes
/// another mount namespace and mounts another there, and ends.
fn pod(number: usize) -> Pod {
    let propagation = [
        MountPropagation::PropagationPrivate,
        MountPropagation::PropagationHostToContainer,
        MountPropagation::PropagationBidirectional,
    ];
    Pod {
        uid: format!("{number:08x}-1111-4222-8333-444455556666"),
        namespace: format!("team-{}", number % 3),
        name: format!("pod-{number}"),
        container: format!("app-{number}"),
        runtime: if number.is_multiple_of(2) { "runc" } else { "crun" },
        script: format!(
            "mkdir -p /own && mount -t tmpfs own-{number} /own && \
             unshare -m sh -c 'mount -t tmpfs nested-{number} /own' ; umount /own; exec sleep 1000"
        ),
        mounts: vec![("/tmp/volume".to_owned(), "/data".to_owned(), propagation[number % 3])],
        labels: BTreeMap::from([("app".to_owned(), format!("web-{number}"))]),
    }
}

/// What the outputs say of somebody in the container of that pod.
fn owner(pod: &Pod, started: &Started, role: &str) -> Value {
    json!({"pod_uid": pod.uid, "namespace": pod.namespace, "pod": pod.name, "container": pod.container,
           "container_id": started.container, "image": "localhost/busybox:1", "role": role, "runtime": "containerd",
           "qos_class": "BestEffort"})
}

fn of_sandbox(pod: &Pod, started: &Started) -> Value {
    let mut expected = owner(pod, started, "sandbox");
    (expected["container"], expected["image"]) = (Value::Null, Value::Null);
    expected["container_id"] = started.sandbox.clone().into();
    expected
}

/// Starts and removes these, so many at once.
fn start_and_remove(pods: &[Pod]) -> Result<Vec<Started>> {
    fs::create_dir_all("/tmp/volume").context("cannot make the volume")?;
    let waiting = Mutex::new(pods.iter().enumerate().collect::<Vec<_>>());
    let done = Mutex::new(BTreeMap::new());
    let work = || -> Result<()> {
        let containerd = Containerd::new()?;
        loop {
            let Some((number, pod)) = waiting.lock().map_err(|_| anyhow::anyhow!("a thread has panicked"))?.pop()
            else {
                return Ok(());
            };
            let started = containerd.start(pod)?;
            await_its_mounts(&started)?;
            containerd.remove(&started)?;
            done.lock().map_err(|_| anyhow::anyhow!("a thread has panicked"))?.insert(number, started);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread that starts pods has panicked"),
        })
    })?;
    let done = done.into_inner().map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
    ensure!(done.len() == pods.len(), "{} of {} pods were started", done.len(), pods.len());
    Ok(done.into_values().collect())
}

/// The last thing that its script does is to become `sleep`.
fn await_its_mounts(started: &Started) -> Result<()> {
    let deadline = Instant::now() + DONE;
    while !sleeps(started)? {
        ensure!(
            Instant::now() < deadline,
            "the container {} has not done its mounts within {DONE:?}",
            started.container
        );
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn sleeps(started: &Started) -> Result<bool> {
    let processes = fs::read_dir("/proc").context("cannot read /proc")?.flatten();
    // One that has ended meanwhile has neither.
    let read = |entry: &DirEntry, name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
    let mut processes = processes.filter(|entry| read(entry, "cgroup").contains(&started.container));
    Ok(processes.any(|entry| read(&entry, "cmdline").starts_with("sleep\0")))
}

fn each_mount_names_its_pod() -> Result<()> {
    ground::base()?;
    let starts = std::env::var(STARTS_OF).ok().map_or(Ok(STARTS), |text| text.parse()).context(STARTS_OF)?;
    let pods: Vec<Pod> = (1..=starts).map(pod).collect();
    let mut trace = Program::trace(&[])?;
    let started = start_and_remove(&pods)?;
    let shown = trace.drain()?;
    let mut named = 0;
    for (pod, started) in pods.iter().zip(&started) {
        named += expect_named(&shown, pod, started).with_context(|| format!("of {}, by {}", pod.name, pod.runtime))?;
    }
    let Judged { unnamed, wrong } = judge(&shown, &pods, &started);
    ensure!(wrong.is_empty(), "{} owners are none of the pods': {:#?}", wrong.len(), wrong.first());
    ensure!(unnamed < named, "{unnamed} owners have no name, and {named} have one");
    println!(
        "pod-starts: kernel={} starts={starts} named={named} unnamed={unnamed} wrong=0",
        kernel::read("/proc/sys/kernel/osrelease")?.trim()
    );
    Ok(())
}

/// All that happened in the container's mount namespaces names it; how many effects that are.
fn expect_named(shown: &[Operation], pod: &Pod, started: &Started) -> Result<usize> {
    let source = |kind: &str| format!("{kind}-{}", pod.name.trim_start_matches("pod-"));
    let mut count = 0;
    for (source, role) in [(source("own"), "container"), (source("nested"), "nested")] {
        let expected = owner(pod, started, role);
        let is_it = |effect: &&Value| {
            effect["source"] == source.as_str() && effect["kind"] == "attach" && effect["propagated"] == false
        };
        let by = |operation: &&Operation| {
            operation.op() == "mount" && operation.effects().iter().any(|effect| is_it(&effect))
        };
        let mount = shown.iter().find(by).with_context(|| format!("nobody mounts {source}"))?;
        mount.expect("/actor/owner", owner(pod, started, "container"))?;
        mount.expect("/actor/pod", pod.name.as_str())?;
        mount.expect("/actor/container", pod.container.as_str())?;
        let effect = mount.effects().iter().find(is_it).context("it was found")?;
        let namespace = effect["mntns_id"].clone();
        let within = |effect: &&Value| effect["mntns_id"] == namespace;
        // What crun makes is its container's once the container's first process is in its cgroup, and in that cgroup it acts then.
        let acts = |one: &Operation| one.at("/actor/owner/container_id") == started.container.as_str();
        let first = shown.iter().position(acts).context("somebody acts in it")?;
        for (number, operation) in shown.iter().enumerate() {
            for effect in operation.effects().iter().filter(within) {
                let too_early = pod.runtime == "crun" && number < first && effect["owner"].is_null();
                ensure!(
                    too_early || effect["owner"] == expected,
                    "an effect in {namespace} has another owner: {effect:#}"
                );
                count += 1;
            }
        }
    }
    Ok(count)
}

/// What is said of whose something is: how often it has no name, and each that is wrong.
#[derive(Default)]
struct Judged {
    unnamed: usize,
    wrong: Vec<Value>,
}

/// Everybody is a container of one of these pods, or its sandbox, by each word. A runtime tells of a sandbox when it has been started: where that
/// takes longer than anybody waits, its ids stand alone.
fn judge(shown: &[Operation], pods: &[Pod], started: &[Started]) -> Judged {
    let mut known: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut unnamed: BTreeMap<String, [Value; 2]> = BTreeMap::new();
    for (pod, started) in pods.iter().zip(started) {
        for owner in named(pod, started) {
            known.entry(id_of(&owner)).or_default().push(owner);
        }
        unnamed.insert(started.sandbox.clone(), ["container", "nested"].map(|role| only_ids(pod, started, role)));
    }
    let mut judged = Judged::default();
    let owners = shown.iter().flat_map(|operation| {
        let effects = operation.effects().iter().map(|effect| &effect["owner"]);
        effects.chain([operation.at("/actor/owner"), operation.at("/namespace/owner")])
    });
    for owner in owners.filter(|owner| !owner.is_null()) {
        if known.get(&id_of(owner)).is_some_and(|known| known.contains(owner)) {
            continue;
        }
        if unnamed.get(&id_of(owner)).is_some_and(|unnamed| unnamed.contains(owner)) {
            judged.unnamed += 1;
        } else {
            judged.wrong.push(owner.clone());
        }
    }
    judged
}

fn id_of(owner: &Value) -> String {
    owner["container_id"].as_str().unwrap_or_default().to_owned()
}

fn named(pod: &Pod, started: &Started) -> [Value; 4] {
    let role = |role: &str| owner(pod, started, role);
    let mut nested = of_sandbox(pod, started);
    nested["role"] = "nested".into();
    [role("container"), role("nested"), of_sandbox(pod, started), nested]
}

fn only_ids(pod: &Pod, started: &Started, role: &str) -> Value {
    let mut ids = of_sandbox(pod, started);
    for name in ["namespace", "pod", "container", "image"] {
        ids[name] = Value::Null;
    }
    ids["role"] = role.into();
    ids
}

/// A pod that lives as long as this does.
struct Lives {
    pod: Pod,
    started: Started,
    containerd: Containerd,
}

impl Lives {
    fn start(number: usize) -> Result<Self> {
        fs::create_dir_all("/tmp/volume").context("cannot make the volume")?;
        Self::of(pod(number))
    }

    fn of(pod: Pod) -> Result<Self> {
        let containerd = Containerd::new()?;
        let started = containerd.start(&pod)?;
        await_its_mounts(&started)?;
        Ok(Self { pod, started, containerd })
    }

    /// A process of its container.
    fn pid(&self) -> Result<u32> {
        let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_its = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&self.started.container))
        };
        pids.into_iter().find(is_its).context("the container has a process")
    }

    /// The number of its mount namespace.
    fn namespace(&self) -> Result<u64> {
        namespace_of(self.pid()?)
    }

    /// Mounts and unmounts something in the container, from outside: who enters it is not in its cgroup.
    fn mount_inside(&self) -> Result<()> {
        let pid = self.pid()?.to_string();
        let script = "mount -t tmpfs entered /own && umount /own";
        let status = Command::new("nsenter").args(["-t", &pid, "-m", "sh", "-c", script]).status()?;
        ensure!(status.success(), "nsenter ended with {status}");
        Ok(())
    }

    /// What is shown of a mount that somebody makes in the container just now.
    fn entered(&self, trace: &mut Program) -> Result<Operation> {
        self.mount_inside()?;
        let shown = trace.drain()?;
        shown.into_iter().find(|one| one.at("/effects/0/source") == "entered").context("it is shown")
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        if let Err(error) = self.containerd.remove(&self.started) {
            eprintln!("{error:#}");
        }
    }
}

fn those_that_were_there_before() -> Result<()> {
    ground::base()?;
    let lives = [Lives::start(1001)?, Lives::start(1002)?];
    let mut trace = Program::trace(&[])?;
    for live in &lives {
        let entered = live.entered(&mut trace)?;
        entered.expect("/effects/0/owner", owner(&live.pod, &live.started, "container"))?;
        entered.expect("/actor/owner", Value::Null)?;
        let listed = objects(&["--pid", &live.pid()?.to_string()])?;
        let first = listed.first().context("a container has mounts")?;
        ensure!(first["owner"] == owner(&live.pod, &live.started, "container"), "list says {}", first["owner"]);
    }
    Ok(())
}

/// Of a pod that was there before the agent, and of one that comes; when that is gone, so is its table.
fn an_agent_says_whose_each_table_is() -> Result<()> {
    ground::base()?;
    let before = Lives::start(3001)?;
    let agent = Agent::start("observe", &[])?;
    let after = Lives::start(3002)?;
    let mut client = Client::connect()?;
    for live in [&before, &after] {
        let expected = owner(&live.pod, &live.started, "container");
        await_owner(&mut client, live.namespace()?, Some(&expected))?;
    }
    await_owner(&mut client, namespace_of(std::process::id())?, Some(&Value::Null))?;
    let namespace = after.namespace()?;
    drop(after);
    await_owner(&mut client, namespace, None)?;
    agent.stop()
}

/// Waits until the agent says that this namespace is this one's, or that there is none.
fn await_owner(client: &mut Client, namespace: u64, expected: Option<&Value>) -> Result<()> {
    let deadline = Instant::now() + DONE;
    loop {
        let (tables, _) = client.ask(TABLES)?;
        let owner = tables.iter().find(|table| table["mntns"] == namespace).map(|table| &table["owner"]);
        if owner == expected {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the namespace {namespace} is {owner:#?}'s, not {expected:#?}'s");
        thread::sleep(Duration::from_millis(100));
    }
}

fn namespace_of(pid: u32) -> Result<u64> {
    Ok(fs::metadata(format!("/proc/{pid}/ns/mnt")).context("cannot look at a namespace")?.ino())
}

fn filters_by_name_and_label() -> Result<()> {
    ground::base()?;
    let live = Lives::start(2001)?;
    let wanted = ["--pod=pod-2001", "--container=app-2001", "--namespace=team-0", "--label=app=web-20*", "--label=app"];
    for filter in wanted {
        let mut trace = Program::start(&["trace", "-o", "json", "--count=1", filter])?;
        trace.wait_ready()?;
        live.mount_inside()?;
        let finished = trace.wait()?;
        ensure!(finished.lines.len() == 1 && finished.lines[0].contains("entered"), "{filter}: {finished:?}");
    }
    let mut trace = Program::trace(&["--namespace=!team-0"])?;
    live.mount_inside()?;
    let shown = trace.drain()?;
    ensure!(!shown.iter().any(|one| one.at("/effects/0/source") == "entered"), "what is excluded is shown: {shown:#?}");
    Ok(())
}
