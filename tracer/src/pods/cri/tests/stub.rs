//! A runtime that answers as it is told, at a socket of its own, also in ways that no real one can be brought to.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use h2::server::SendResponse;
use prost::Message;
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};
use tonic::{
    Code,
    codegen::http::{HeaderMap, Request, Response},
};

use crate::pods::cri::api::{
    Container, ContainerFilter, ContainerStatusRequest, ContainerStatusResponse, ListContainersRequest,
    ListContainersResponse, ListPodSandboxRequest, ListPodSandboxResponse, PodSandbox, PodSandboxFilter,
    PodSandboxStatusRequest, PodSandboxStatusResponse, VersionResponse,
};

/// How it behaves.
#[derive(Clone)]
pub(super) enum Manner {
    /// As a runtime that has these.
    Serves(Node),
    /// Takes the connection and says nothing.
    Silent,
    /// Takes the call and says nothing.
    Idle,
    /// Sends the head of an answer, and nothing more.
    Halfway,
    /// Writes frames that are to be answered, and never stops.
    Floods,
    /// Hangs up at once.
    HangsUp,
    /// Writes these bytes and hangs up.
    Writes(&'static [u8]),
    /// Answers each call with these bytes, as HTTP's body.
    Body(Vec<u8>),
    /// Answers each call with that.
    Refuses(Code, String),
}

/// What it has.
#[derive(Clone, Default)]
pub(super) struct Node {
    pub(super) runtime: &'static str,
    pub(super) sandboxes: Vec<PodSandbox>,
    pub(super) containers: Vec<Container>,
    /// What it says verbosely, by id.
    pub(super) infos: Vec<(String, String)>,
}

/// Ends with the test, and leaves its socket as a killed runtime does.
pub(super) struct Stub(JoinHandle<()>);

impl Drop for Stub {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stub {
    pub(super) fn at(path: &Path, manner: Manner) -> Self {
        let (listener, manner) = (UnixListener::bind(path).unwrap(), Arc::new(manner));
        Self(tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(attend(connection, Arc::clone(&manner)));
            }
        }))
    }

    /// Ended, its listener included.
    pub(super) async fn end(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

/// A message as gRPC frames it.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message].concat()
}

async fn attend(mut connection: UnixStream, manner: Arc<Manner>) {
    match &*manner {
        Manner::HangsUp => {}
        Manner::Writes(bytes) => connection.write_all(bytes).await.unwrap(),
        Manner::Floods => flood(connection).await,
        Manner::Silent => std::future::pending().await,
        _ => {
            let mut connection = h2::server::handshake(connection).await.unwrap();
            while let Some(Ok((request, response))) = connection.accept().await {
                tokio::spawn(answer(request, response, Arc::clone(&manner)));
            }
        }
    }
}

/// Settings, and then pings for as long as they are taken.
async fn flood(mut connection: UnixStream) {
    let (settings, ping) = ([0, 0, 0, 4, 0, 0, 0, 0, 0], [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let mut written = connection.write_all(&settings).await;
    while written.is_ok() {
        written = connection.write_all(&ping.repeat(64)).await;
    }
}

async fn answer(mut request: Request<h2::RecvStream>, mut response: SendResponse<Bytes>, manner: Arc<Manner>) {
    let mut body = Vec::new();
    while let Some(data) = request.body_mut().data().await {
        body.extend_from_slice(&data.unwrap());
    }
    let call = request.uri().path().strip_prefix("/runtime.v1.RuntimeService/").unwrap();
    let answer = match &*manner {
        Manner::Serves(node) => node.answer(call, &body[5..]).map(|message| framed(&message)),
        Manner::Body(bytes) => Ok(bytes.clone()),
        Manner::Refuses(code, words) => Err((*code, words.clone())),
        Manner::Halfway => {
            let _stream = response.send_response(head(), false).unwrap();
            return std::future::pending().await;
        }
        _ => return std::future::pending().await,
    };
    // Whoever asked may be gone.
    let _ = send(&mut response, answer);
}

fn head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

fn send(response: &mut SendResponse<Bytes>, answer: Result<Vec<u8>, (Code, String)>) -> Result<(), h2::Error> {
    let mut stream = response.send_response(head(), false)?;
    let mut trailers = HeaderMap::new();
    let (code, words) = match answer {
        Ok(body) => {
            stream.send_data(body.into(), false)?;
            (Code::Ok, String::new())
        }
        Err(refusal) => refusal,
    };
    trailers.insert("grpc-status", i32::from(code).into());
    trailers.insert("grpc-message", words.parse().unwrap());
    stream.send_trailers(trailers)
}

impl Node {
    fn answer(&self, call: &str, request: &[u8]) -> Result<Vec<u8>, (Code, String)> {
        Ok(match call {
            "Version" => VersionResponse {
                runtime_name: self.runtime.into(),
                runtime_version: "v9".into(),
                ..Default::default()
            }
            .encode_to_vec(),
            "ListContainers" => {
                let filter = ListContainersRequest::decode(request).unwrap().filter;
                let id = filter.map_or(String::new(), |ContainerFilter { id }| id);
                let containers = self.containers.iter().filter(|container| is_meant(&container.id, &id));
                ListContainersResponse { containers: containers.cloned().collect() }.encode_to_vec()
            }
            "ListPodSandbox" => {
                let filter = ListPodSandboxRequest::decode(request).unwrap().filter;
                let id = filter.map_or(String::new(), |PodSandboxFilter { id }| id);
                let items = self.sandboxes.iter().filter(|sandbox| is_meant(&sandbox.id, &id));
                ListPodSandboxResponse { items: items.cloned().collect() }.encode_to_vec()
            }
            "ContainerStatus" => {
                let asked = ContainerStatusRequest::decode(request).unwrap();
                let is_one = self.containers.iter().any(|container| container.id == asked.container_id);
                let info = self.info(&asked.container_id, asked.verbose && is_one)?;
                ContainerStatusResponse { status: None, info: info.into() }.encode_to_vec()
            }
            "PodSandboxStatus" => {
                let asked = PodSandboxStatusRequest::decode(request).unwrap();
                let info = self.info(&asked.pod_sandbox_id, asked.verbose)?;
                PodSandboxStatusResponse { info: info.into() }.encode_to_vec()
            }
            _ => return Err((Code::Unimplemented, format!("unknown method {call}"))),
        })
    }

    fn info(&self, id: &str, is_one: bool) -> Result<[(String, String); 1], (Code, String)> {
        let info = self.infos.iter().find(|(known, _)| is_one && known == id);
        let (_, text) = info.ok_or_else(|| (Code::NotFound, format!("{id} not found")))?;
        Ok([("info".to_owned(), text.clone())])
    }
}

/// Runtimes take the beginning of an id; this one takes too little for it.
fn is_meant(id: &str, asked: &str) -> bool {
    asked.is_empty() || id.starts_with(&asked[..8])
}
