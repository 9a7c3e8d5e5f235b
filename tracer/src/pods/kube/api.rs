//! IN: requests to the API server. Opens connections to it, reads the token, certificates and kubeconfig, and changes nothing there.
//!
//! Requests share a connection where the server speaks HTTP/2, as API servers do: a node with 67 watches does not cost it 67 of them.
//! The `kube` crate knows who we are and whom to trust; bodies are read here, so that none is longer than it may be.

use std::{borrow::Cow, fmt, path::PathBuf, sync::Arc, time::Duration};

use http_body_util::BodyExt as _;
use hyper::{Request, Response, StatusCode, header::RETRY_AFTER};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt as _},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};
use tower::{BoxError, ServiceExt as _, util::option_layer};

use super::{
    ask::Ask,
    counts::Counts,
    envelope::Refusal,
    error::{Fault, KubeError},
    lines::{LINE, Lines},
};

/// Bytes of a list at most: 4,000 pods of 8 KiB.
const LIST: usize = 32 << 20;
/// Bytes of a refusal at most.
const REFUSAL: usize = 64 << 10;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a connection is tried whose other end is silent, and how long that may take. As client-go (`ReadIdleTimeout` and `PingTimeout` of
/// k8s.io/apimachinery/pkg/util/net).
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(15);

/// Where the API server is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The cluster that this runs in, by its pod's service account.
    Cluster,
    /// What a kubeconfig says.
    Kubeconfig(PathBuf),
}

/// The API server.
pub struct Api {
    place: Place,
    answer: Duration,
    /// Made with the first request, and anew when the server does not know us any more: tokens end.
    client: Mutex<Option<Client>>,
    /// What was asked, and what came of it.
    pub counts: Arc<Counts>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Api {
    /// Nothing is opened yet. An answer may take so long.
    pub fn new(place: Place, answer: Duration) -> Self {
        Self { place, answer, client: Mutex::new(None), counts: Arc::default() }
    }

    /// All of an answer.
    pub(super) async fn get(&self, ask: &Ask) -> Result<Vec<u8>, KubeError> {
        self.counts.asked(ask);
        let until = Instant::now() + self.answer;
        let answer = timeout_at(until, async {
            let response = self.send(ask).await?;
            self.whole(response.into_body(), LIST).await
        });
        self.counted(ask, answer.await.unwrap_or(Err(Fault::Late(self.answer))))
    }

    /// A watch that has begun.
    pub(super) async fn watch(&self, ask: &Ask) -> Result<Watch, KubeError> {
        self.counts.asked(ask);
        let answer = timeout(self.answer, self.send(ask)).await.unwrap_or(Err(Fault::Late(self.answer)));
        let response = self.counted(ask, answer)?;
        let lasts = if let Ask::Watch { lasts, .. } = ask { *lasts } else { Duration::ZERO };
        let until = Instant::now() + lasts + self.answer;
        Ok(Watch { body: response.into_body(), lines: Lines::default(), until, counts: Arc::clone(&self.counts) })
    }

    /// Counts what was not done.
    pub(super) fn counted<T>(&self, ask: &Ask, answer: Result<T, Fault>) -> Result<T, KubeError> {
        answer.map_err(|fault| {
            self.counts.failed(ask, &fault);
            KubeError::new(ask, fault)
        })
    }

    async fn send(&self, ask: &Ask) -> Result<Response<Body>, Fault> {
        let client = self.client().await?;
        let request = Request::get(ask.uri()).body(Body::empty());
        let request = request.map_err(|error| Fault::Client(Box::new(kube::Error::HttpError(error))))?;
        let response = client.send(request).await.map_err(|error| Fault::Client(Box::new(error)))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            *self.client.lock().await = None;
        }
        Err(self.refusal(response).await)
    }

    async fn refusal(&self, response: Response<Body>) -> Fault {
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // What cannot be read is no more than a refusal without words.
        let body = self.whole(response.into_body(), REFUSAL).await.unwrap_or_default();
        let said: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        let after = header.or(said.details.and_then(|details| details.retry_after_seconds)).map(Duration::from_secs);
        Fault::Refused { status, message: said.message, after }
    }

    async fn whole(&self, mut body: Body, most: usize) -> Result<Vec<u8>, Fault> {
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            self.counts.read(data.len());
            if whole.len() + data.len() > most {
                return Err(Fault::TooLong(most));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole)
    }

    async fn client(&self) -> Result<Client, Fault> {
        let mut known = self.client.lock().await;
        if let Some(client) = &*known {
            return Ok(client.clone());
        }
        let config = match &self.place {
            Place::Cluster => Config::incluster().map_err(Fault::InCluster)?,
            Place::Kubeconfig(file) => {
                let file = Kubeconfig::read_from(file).map_err(Fault::Kubeconfig)?;
                let options = KubeConfigOptions::default();
                Config::from_custom_kubeconfig(file, &options).await.map_err(Fault::Kubeconfig)?
            }
        };
        let client = client(&config).map_err(|error| Fault::Client(Box::new(error)))?;
        Ok(known.insert(client).clone())
    }
}

/// As `kube` makes one, but that it may speak HTTP/2, and that nothing is asked twice without our knowing: waiting is `course.rs`'s.
fn client(config: &Config) -> kube::Result<Client> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(PING));
    let tls = trusting(config).rustls_client_config()?;
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let connector = builder.enable_all_versions().wrap_connector(connector);
    let http = Http::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PONG)
        .build(connector)
        .map_err(BoxError::from);
    let auth = option_layer(config.auth_layer()?);
    Ok(ClientBuilder::new(http, "default")
        .with_layer(&config.extra_headers_layer()?)
        .with_layer(&auth)
        .with_layer(&config.base_uri_layer())
        .build())
}

/// Without TLS nobody need be trusted: the agent's image has no certificates, and looking for those of its system would fail.
fn trusting(config: &Config) -> Cow<'_, Config> {
    if config.cluster_url.scheme_str() != Some("http") {
        return Cow::Borrowed(config);
    }
    let mut plain = config.clone();
    plain.root_cert = Some(Vec::new());
    Cow::Owned(plain)
}

/// A watch.
#[derive(Debug)]
pub(super) struct Watch {
    body: Body,
    lines: Lines,
    /// The server has ended it by then, or is not there any more.
    until: Instant,
    counts: Arc<Counts>,
}

impl Watch {
    /// The next lines; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Fault> {
        let silent = Fault::Late(self.until.saturating_duration_since(Instant::now()));
        match timeout_at(self.until, self.body.frame()).await {
            Err(_) => Err(silent),
            Ok(None) if self.lines.is_within() => Err(Fault::Cut),
            Ok(None) => Ok(None),
            Ok(Some(frame)) => {
                let Ok(data) = frame.map_err(broken)?.into_data() else { return Ok(Some(Vec::new())) };
                self.counts.read(data.len());
                self.lines.push(&data).map(Some).map_err(|_| Fault::TooLong(LINE))
            }
        }
    }
}

fn broken(error: kube::Error) -> Fault {
    Fault::Client(Box::new(error))
}
