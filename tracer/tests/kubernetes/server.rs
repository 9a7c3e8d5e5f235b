//! An API server of our own by plain HTTP on loopback: it counts what it is asked and what it sends, and misbehaves when it is told to.
//! What it does when it behaves is what kube-apiserver does (lists, watches, selectors, versions, bookmarks, refusals).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::{
    Request, Response, StatusCode, body::Incoming, header::AUTHORIZATION, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::world::{Selection, World, event};

/// How often a watch says that nothing happened.
const BOOKMARK: Duration = Duration::from_millis(200);

/// How the server misbehaves with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Too many requests; come back after so many seconds.
    Throttled(u64),
    /// An error of its own.
    Broken,
    /// No answer.
    Hangs,
    /// Something else answers.
    Garbage,
    /// The answer is cut in the middle, and the connection with it.
    Half,
    /// The connection ends before the answer.
    Cut,
    /// The versions of lists and watches so far are forgotten.
    Forgets,
}

/// What was asked and sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Requests by what they ask: `watch persistentvolumeclaims by name`.
    pub(crate) requests: BTreeMap<String, u64>,
    /// When which request came.
    pub(crate) times: Vec<(Instant, String)>,
    pub(crate) bytes: u64,
    /// Objects that were sent, `kind/namespace/name`.
    pub(crate) objects: BTreeSet<String>,
}

impl Seen {
    pub(crate) fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// What whoever serves a connection needs.
#[derive(Clone)]
pub(crate) struct Shared {
    state: Arc<Mutex<State>>,
    changed: watch::Receiver<u64>,
}

impl Shared {
    pub(crate) async fn answer(&self, request: &Request<Incoming>) -> Result<Response<Pieces>, io::Error> {
        answer(&self.state, self.changed.clone(), request).await
    }
}

#[derive(Debug, Default)]
struct State {
    world: World,
    seen: Seen,
    token: Option<String>,
    forbidden: BTreeSet<String>,
    absent: BTreeSet<String>,
    /// What is done to the next requests.
    faults: Vec<Fault>,
}

/// The server, which ends when this is dropped.
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(accept).await
    }

    /// With connections that are served so.
    pub(crate) async fn start_with<F>(accept: impl FnOnce(TcpListener, Shared) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (state, changed) = (Arc::new(Mutex::new(State::default())), watch::Sender::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared { state: Arc::clone(&state), changed: changed.subscribe() };
        let task = tokio::spawn(accept(listener, shared));
        Self { state, changed, address, task }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes the world; watches are told.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state.world);
        let version = state.world.version;
        drop(state);
        self.changed.send_replace(version);
        result
    }

    pub(crate) fn seen(&self) -> Seen {
        self.state().seen.clone()
    }

    pub(crate) fn forget_seen(&self) {
        self.state().seen = Seen::default();
    }

    pub(crate) fn wants_token(&self, token: &str) {
        self.state().token = Some(token.to_owned());
    }

    pub(crate) fn forbid(&self, kind: &str, forbidden: bool) {
        let mut state = self.state();
        let _ = if forbidden { state.forbidden.insert(kind.to_owned()) } else { state.forbidden.remove(kind) };
    }

    pub(crate) fn lacks(&self, kind: &str) {
        self.state().absent.insert(kind.to_owned());
    }

    /// The next requests, the last one first.
    pub(crate) fn misbehave(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    pub(crate) fn behave(&self) {
        self.state().faults.clear();
    }

    /// All connections end, and nobody answers until [`Self::come_back`].
    pub(crate) async fn go_away(&mut self) {
        self.task.abort();
        sleep(Duration::from_millis(20)).await;
    }

    pub(crate) async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let shared = Shared { state: Arc::clone(&self.state), changed: self.changed.subscribe() };
        self.task = tokio::spawn(accept(listener, shared));
    }
}

async fn accept(listener: TcpListener, shared: Shared) {
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let shared = shared.clone();
                async move { shared.answer(&request).await }
            });
            // Who is cut off sees it.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A body that is sent piece by piece; an error cuts the connection.
pub(crate) struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

type Answer = Response<Pieces>;

fn whole(status: u16, text: Vec<io::Result<Bytes>>) -> Answer {
    let (send, receive) = mpsc::channel(text.len().max(1));
    for piece in text {
        send.try_send(piece).unwrap();
    }
    let mut response = Response::new(Pieces(receive));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn refused(code: u16, message: &str) -> Answer {
    let status = json!({"kind": "Status", "status": "Failure", "code": code, "message": message});
    whole(code, vec![Ok(status.to_string().into())])
}

struct Asked {
    selection: Selection,
    /// Whether the path ends with a name.
    one: bool,
    watch: bool,
    version: Option<u64>,
    lasts: Duration,
}

impl Asked {
    fn parse(request: &Request<Incoming>) -> Self {
        let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        let path =
            path.strip_prefix(&["api", "v1"]).or_else(|| path.strip_prefix(&["apis", "storage.k8s.io", "v1"])).unwrap();
        let (namespace, path) = match path {
            ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let mut selection = Selection { kind: path[0].to_owned(), namespace, ..Selection::default() };
        selection.name = path.get(1).map(|name| (*name).to_owned());
        let mut asked =
            Self { selection, one: path.len() > 1, watch: false, version: None, lasts: Duration::from_mins(1) };
        for (key, value) in request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='))
        {
            let value = value.replace("%3D", "=");
            match (key, value.split_once('=')) {
                ("watch", _) => asked.watch = value == "1",
                ("resourceVersion", _) => asked.version = value.parse().ok(),
                ("timeoutSeconds", _) => asked.lasts = Duration::from_secs(value.parse().unwrap()),
                ("fieldSelector", Some(("spec.nodeName", node))) => asked.selection.node = Some(node.to_owned()),
                ("fieldSelector", Some(("metadata.name", name))) => asked.selection.name = Some(name.to_owned()),
                ("allowWatchBookmarks", _) => {}
                other => panic!("this server does not know {other:?}"),
            }
        }
        asked
    }

    fn name(&self) -> String {
        let verb = if self.one {
            "get"
        } else if self.watch {
            "watch"
        } else {
            "list"
        };
        let by = match (&self.selection.name, &self.selection.node) {
            (Some(_), _) => " by name",
            (None, Some(_)) => " by node",
            (None, None) => "",
        };
        format!("{verb} {}{by}", self.selection.kind)
    }
}

async fn answer(
    state: &Arc<Mutex<State>>,
    changed: watch::Receiver<u64>,
    request: &Request<Incoming>,
) -> Result<Answer, io::Error> {
    let asked = Asked::parse(request);
    let fault = {
        let mut state = state.lock().unwrap();
        *state.seen.requests.entry(asked.name()).or_default() += 1;
        state.seen.times.push((Instant::now(), asked.name()));
        let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if state.token.as_ref().is_some_and(|wanted| token != format!("Bearer {wanted}")) {
            return Ok(refused(401, "Unauthorized"));
        }
        let kind = &asked.selection.kind;
        if state.absent.contains(kind) {
            return Ok(refused(404, "the server could not find the requested resource"));
        }
        if state.forbidden.contains(kind) {
            return Ok(refused(403, &format!("{kind} is forbidden: User \"x\" cannot list resource")));
        }
        state.faults.pop()
    };
    match fault {
        None => {}
        Some(Fault::Forgets) => state.lock().unwrap().world.forget(),
        Some(Fault::Throttled(seconds)) => {
            let mut answer = refused(429, "too many requests");
            answer.headers_mut().insert("retry-after", seconds.into());
            return Ok(answer);
        }
        Some(Fault::Broken) => return Ok(refused(500, "etcdserver: request timed out")),
        Some(Fault::Hangs) => std::future::pending().await,
        Some(Fault::Garbage) => return Ok(whole(200, vec![Ok("<html>welcome to the proxy</html>\n".into())])),
        Some(Fault::Half) => {
            let half = Bytes::from_static(b"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"ha");
            return Ok(whole(200, vec![Ok(half), Err(io::ErrorKind::ConnectionReset.into())]));
        }
        Some(Fault::Cut) => return Err(io::ErrorKind::ConnectionReset.into()),
    }
    Ok(if asked.watch { watching(state, changed, asked) } else { looked_up(state, &asked) })
}

/// Counts what goes out.
fn sent(state: &mut State, kind: &str, objects: &[Value], text: String) -> Bytes {
    for object in objects {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        state.seen.objects.insert(format!("{kind}/{}/{}", text("/metadata/namespace"), text("/metadata/name")));
    }
    state.seen.bytes += text.len() as u64;
    text.into()
}

fn looked_up(state: &Mutex<State>, asked: &Asked) -> Answer {
    let mut state = state.lock().unwrap();
    let objects = state.world.all(&asked.selection);
    let text = match (asked.one, objects.first()) {
        (true, None) => return refused(404, "not found"),
        (true, Some(object)) => object.to_string(),
        (false, _) => {
            json!({"metadata": {"resourceVersion": state.world.version.to_string()}, "items": objects}).to_string()
        }
    };
    let text = sent(&mut state, &asked.selection.kind, &objects, text);
    whole(200, vec![Ok(text)])
}

fn watching(state: &Arc<Mutex<State>>, mut changed: watch::Receiver<u64>, asked: Asked) -> Answer {
    let (send, receive) = mpsc::channel(1);
    let state = Arc::clone(state);
    tokio::spawn(async move {
        let _ = timeout(asked.lasts, async {
            let mut told = match asked.version {
                None | Some(0) => {
                    let (version, pieces) = {
                        let mut state = state.lock().unwrap();
                        let objects = state.world.all(&asked.selection);
                        let text = objects.iter().map(|object| event("ADDED", object)).collect();
                        let piece = sent(&mut state, &asked.selection.kind, &objects, text);
                        (state.world.version, piece)
                    };
                    let _ = send.send(Ok(pieces)).await;
                    version
                }
                Some(version) => version,
            };
            loop {
                let (piece, end) = piece(&state, &asked, &mut told);
                if !piece.is_empty() && send.send(Ok(piece)).await.is_err() || end {
                    return;
                }
                if timeout(BOOKMARK, changed.changed()).await.is_err() {
                    let object = json!({"kind": "Pod", "metadata": {"resourceVersion": told.to_string(), "creationTimestamp": null}});
                    let _ = send.send(Ok(event("BOOKMARK", &object).into())).await;
                }
            }
        })
        .await;
    });
    Response::new(Pieces(receive))
}

/// What changed since, and whether the watch is over.
fn piece(state: &Mutex<State>, asked: &Asked, told: &mut u64) -> (Bytes, bool) {
    let mut state = state.lock().unwrap();
    if *told < state.world.forgotten {
        let gone = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"});
        return (event("ERROR", &gone).into(), true);
    }
    let changes = state.world.since(&asked.selection, *told);
    *told = state.world.version;
    let text = changes.iter().map(|change| event(change.what, &change.object)).collect();
    let objects: Vec<Value> = changes.into_iter().map(|change| change.object).collect();
    (sent(&mut state, &asked.selection.kind, &objects, text), false)
}
