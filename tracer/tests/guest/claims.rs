//! A volume's claim, by a running agent that asks an API server: what its socket and its metrics say, and who holds the claim.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tokio::runtime::Builder;

use super::actor::Actor;
use super::asking::{Client, METRICS, Reply};
use super::disk::Disk;
use super::ground;
use super::node::{Agent, Driver, Pod, Volume};
use super::program::command;
use super::server::Server;
use super::trial::trial;
use super::world::{CLAIMS, PODS, VOLUMES, claim, pod, volume};

const NODE: &str = "worker-7";
const QUESTION: &str = r#"{"version":1,"query":"volumes"}"#;
/// An agent begins to ask at some moment of its first 30 s, so that not all nodes ask at once.
const TOLD: Duration = Duration::from_mins(2);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("claims::who_holds_a_claim", who_holds_a_claim), trial("claims::without_an_agent", without_an_agent)]
}

/// An API server, and a file that says where it is.
struct Cluster {
    server: Server,
    kubeconfig: PathBuf,
}

/// Serves in a thread of its own, as long as the trials run.
fn serve() -> Result<Server> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    let (tell, told) = channel();
    thread::spawn(move || {
        runtime.block_on(async {
            // Nobody has gone away: it is waited for.
            let _ = tell.send(Server::start().await);
            std::future::pending::<()>().await;
        });
    });
    told.recv().context("the server has not started")
}

impl Cluster {
    fn start() -> Result<Self> {
        let server = serve()?;
        let kubeconfig = ground::directory("cluster")?.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
            server.address
        );
        ground::write_file(&kubeconfig, text)?;
        Ok(Self { server, kubeconfig })
    }

    /// A pod of this node with a claim that is bound to this volume.
    fn has(&self, pod_uid: &str, used: &Volume) {
        self.server.change(|world| {
            world.put(VOLUMES, volume(&used.name, "claim-uid"));
            world.put(CLAIMS, claim("shop", "data", "claim-uid", &used.name));
            world.put(PODS, pod(pod_uid, "web-0", NODE, &["data".to_owned()]));
        });
    }
}

fn who(claim: &str) -> Result<(Option<i32>, Vec<Value>, String)> {
    let output = command(&["who", "-o", "json", "--claim", claim]).output().context("cannot run mount-tracer who")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")));
    Ok((output.status.code(), lines.collect::<Result<_>>()?, said))
}

fn who_holds_a_claim() -> Result<()> {
    let (disk, running) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let used = running.volume("pv-of-data")?;
    let mounted = disk.mount(&used.path)?;
    let cluster = Cluster::start()?;
    cluster.has(&running.uid, &used);
    let kubeconfig = cluster.kubeconfig.to_str().context("the trials' own paths are UTF-8")?;
    let agent = Agent::start_with("observe", &[], &["--node", NODE, "--kubeconfig", kubeconfig])?;
    let row = await_claim(&running.uid).with_context(|| format!("the agent says {:#?}", agent.errors()))?;
    let expected = serde_json::json!({"name": "data", "pod_volume": "v0", "persistent_volume": used.name, "storage_class": "fast",
        "attributes_class": "gold", "shared": false});
    ensure!(row["claim"] == expected && row["no_claim"].is_null(), "the claim is {row:#}");
    ensure!(row["namespace"] == "shop" && row["pod"] == "web-0" && row["volume"] == used.name.as_str(), "{row:#}");

    let mut actor = Actor::start()?;
    actor.must(&["chdir", used.path.to_str().context("the trials' own paths are UTF-8")?])?;
    let (status, holders, said) = who("shop/data")?;
    let its = holders.iter().any(|one| one["process"]["pid"] == actor.pid() && one["does"][0]["how"] == "cwd");
    ensure!(status == Some(0) && its, "{said} {holders:#?}");
    drop(actor);
    let (status, _, said) = who("shop/dat")?;
    ensure!(status == Some(1) && said.contains("did you mean shop/data"), "{status:?}: {said}");

    let device = disk.whole.file_name().and_then(|name| name.to_str()).context("a disk has a name")?;
    let series = format!(
        r#"mount_tracer_volume_info{{namespace="shop",pod="web-0",persistentvolumeclaim="data",persistentvolume="{}",driver="",device="{device}",shared="false"}}"#,
        used.name
    );
    let reply = Reply::scrape(METRICS)?;
    ensure!(reply.value(&series)? == 1, "{}", reply.body);
    agent.stop()?;
    mounted.unmount()
}

/// Waits until the agent knows the claim of the pod's volume.
fn await_claim(uid: &str) -> Result<Value> {
    let deadline = Instant::now() + TOLD;
    let mut client = Client::connect()?;
    loop {
        let (rows, _) = client.ask(QUESTION)?;
        let row = rows.iter().find(|row| row["pod_uid"] == uid);
        // The tables are read while the agent is ready already.
        if let Some(row) = row.filter(|row| !row["claim"].is_null()) {
            return Ok(row.clone());
        }
        ensure!(Instant::now() < deadline, "the claim is not known: {row:#?}; {}", what_was_asked()?);
        thread::sleep(Duration::from_millis(300));
    }
}

/// What the agent counts of its questions to the API server.
fn what_was_asked() -> Result<String> {
    let reply = Reply::scrape(METRICS)?;
    let lines = reply.body.lines().filter(|line| line.starts_with("mount_tracer_kubernetes_") && !line.ends_with(" 0"));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn without_an_agent() -> Result<()> {
    let (status, _, said) = who("shop/data")?;
    ensure!(status == Some(1) && said.contains("start `mount-tracer agent`"), "{status:?}: {said}");
    let (status, _, said) = who("data")?;
    ensure!(status == Some(2) && said.contains("--claim NAMESPACE/NAME"), "{status:?}: {said}");
    Ok(())
}
