//! A node that asks: the real client with its real view, and what the server would say of the same.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::JoinHandle,
};
use tracer::{
    agent::Follower,
    pods::{
        kube::{
            api::{Api, Place},
            course::Pace,
        },
        view::{PodView, Update},
    },
};

use super::{
    server::Server,
    world::{CLAIMS, PODS, Selection, VOLUMES, World},
};

pub(crate) const NODE: &str = "worker-7";
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pace at which a test can wait for it.
pub(crate) const FAST: Pace = Pace {
    start: Duration::ZERO,
    again: Duration::from_millis(5),
    longest: Duration::from_millis(50),
    look: Duration::from_millis(100),
    short: Duration::from_millis(20),
    answer: Duration::from_millis(300),
    watch: Duration::from_secs(2),
};

pub(crate) struct Node {
    pub(crate) view: PodView,
    pub(crate) api: Arc<Api>,
    updates: Receiver<Update>,
    complaints: Arc<Mutex<Vec<String>>>,
    directory: TempDir,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Node {
    pub(crate) fn start(server: &Server, pace: Pace) -> Self {
        Self::start_at(&format!("server: 'http://{}'", server.address), pace)
    }

    /// At a cluster as a kubeconfig has it.
    pub(crate) fn start_at(cluster: &str, pace: Pace) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("token"), "first").unwrap();
        let kubeconfig = kubeconfig(cluster, &directory);
        let api = Arc::new(Api::new(Place::Kubeconfig(kubeconfig), pace.answer));
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let (send, updates) = channel(64);
        let complain = {
            let complaints = Arc::clone(&complaints);
            move |line: String| complaints.lock().unwrap().push(line)
        };
        let task = tokio::spawn(Follower::new(Arc::clone(&api), NODE.into(), pace, complain).run(send));
        Self { view: PodView::default(), api, updates, complaints, directory, task }
    }

    pub(crate) fn has_token(&self, token: &str) {
        fs::write(self.directory.path().join("token"), token).unwrap();
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    /// Takes updates until this holds.
    pub(crate) async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(
                begin.elapsed() < PATIENCE,
                "{what}: not within {PATIENCE:?}; complaints: {:#?}",
                self.complaints()
            );
            self.take_for(Duration::from_millis(20)).await;
        }
    }

    /// Takes what is told within that time.
    pub(crate) async fn take_for(&mut self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while let Ok(Some(update)) = tokio::time::timeout_at(until, self.updates.recv()).await {
            self.view.apply(update);
        }
    }

    /// Takes updates until the view is what the server has.
    pub(crate) async fn until_equal(&mut self, server: &Server) {
        let begin = Instant::now();
        loop {
            let (expected, found) = (server.change(|world| expected(world)), found(&self.view));
            if expected == found {
                // And it stays so.
                self.take_for(Duration::from_millis(100)).await;
                assert_eq!(server.change(|world| self::expected(world)), self::found(&self.view));
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "the view is not the server's:\nserver {expected:#?}\nview {found:#?}\ncomplaints: {:#?}",
                self.complaints()
            );
            self.take_for(Duration::from_millis(20)).await;
        }
    }
}

fn kubeconfig(cluster: &str, directory: &TempDir) -> PathBuf {
    let file = directory.path().join("kubeconfig");
    let token = directory.path().join("token");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\n\
         users: [{{name: u, user: {{tokenFile: '{}'}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
        token.display()
    );
    fs::write(&file, text).unwrap();
    file
}

/// By pod and volume: the claim's uid and its limit, its PersistentVolume and handle.
pub(crate) type Joined = BTreeMap<(String, String), Option<(String, Option<(String, String)>)>>;

fn text(object: &Value, at: &str) -> String {
    object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What a view of this node must be, by what the server has.
pub(crate) fn expected(world: &World) -> Joined {
    let selection = Selection { kind: PODS.to_owned(), node: Some(NODE.to_owned()), ..Selection::default() };
    let mut joined = Joined::new();
    for pod in world.all(&selection) {
        let uid = text(&pod, "/metadata/uid");
        joined.insert((uid.clone(), String::new()), None);
        for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
            let claim = world.get(
                CLAIMS,
                &text(&pod, "/metadata/namespace"),
                &text(volume, "/persistentVolumeClaim/claimName"),
            );
            let one = claim.map(|claim| {
                let bound = world.get(VOLUMES, "", &text(claim, "/spec/volumeName"));
                let bound = bound.filter(|bound| bound.pointer("/spec/claimRef/uid") == claim.pointer("/metadata/uid"));
                let names = bound.map(|bound| (text(bound, "/metadata/name"), text(bound, "/spec/csi/volumeHandle")));
                let limit = text(claim, "/metadata/annotations/mount-tracer.io~1read-bps");
                (format!("{} {limit}", text(claim, "/metadata/uid")), names)
            });
            joined.insert((uid.clone(), text(volume, "/name")), one);
        }
    }
    joined
}

/// What it is.
fn found(view: &PodView) -> Joined {
    let mut joined = Joined::new();
    for pod in view.pods() {
        let uid = pod.uid.to_string();
        joined.insert((uid.clone(), String::new()), None);
        for volume in &pod.volumes {
            let one = view.by_spec(pod, &volume.name).map(|claimed| {
                let names = |volume: &tracer::pods::objects::Volume| {
                    (volume.name.to_string(), volume.handle.as_deref().unwrap_or_default().to_owned())
                };
                let limit = claimed.claim.annotations.get("mount-tracer.io/read-bps").map_or("", |limit| limit);
                (format!("{} {limit}", claimed.claim.uid), claimed.volume.map(names))
            });
            joined.insert((uid.clone(), volume.name.to_string()), one);
        }
    }
    joined
}
