//! IN: the container runtime of the node, by its own socket: what it calls its containers and their pods. Opens that socket, asks, and
//! writes nothing; only tests start pods by it.
//!
//! Each operation has a connection of its own: a runtime that was started again is simply met, one that hangs holds up nobody else, and
//! none is left with a connection that nobody reads from. Containers start seldom enough for that.

#[expect(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "the code is generated"
)]
#[rustfmt::skip]
pub mod api;
pub mod codec;
mod error;
pub mod info;
pub mod names;
mod sockets;
mod wire;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::UnixStream, time::timeout};
use tonic::{Code, Status};

use self::{
    api::{
        ContainerFilter, ContainerStatusRequest, ListContainersRequest, ListPodSandboxRequest, PodSandbox,
        PodSandboxFilter, PodSandboxStatusRequest, VersionRequest, runtime_service_client::RuntimeServiceClient,
    },
    names::{of_container, of_sandbox},
};
pub use self::{
    error::{CriError, Fault, Said, Why},
    sockets::{SOCKETS, Sockets, look},
    wire::{Answer, Wire},
};
use super::{
    named::{NAME, Named, cut},
    runtimes::ContainerId,
};

/// All calls that there are, over one connection.
pub type Client = RuntimeServiceClient<Wire>;

/// How long one operation may take, its connection included. A runtime answers in milliseconds; one that is busy starting pods takes a
/// second or two (the kubelet waits two minutes, but has nothing else to do), and until then ids are shown in place of names.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// A container runtime, by its socket.
#[derive(Debug)]
pub struct Cri {
    socket: PathBuf,
    deadline: Duration,
    /// What it calls itself, once it has said it.
    runtime: Option<Arc<str>>,
}

/// What a runtime has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its sandboxes, then its containers.
    pub named: Vec<Named>,
    /// How many more it has whose ids are none.
    pub nameless: usize,
}

/// What a runtime says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its name: `containerd`, `cri-o`, `docker`.
    pub runtime: Arc<str>,
    /// Its version.
    pub version: String,
}

impl Cri {
    /// By the path of its socket. Nothing is opened yet.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, deadline: DEADLINE, runtime: None }
    }

    /// Waits as long as that for an operation, in place of [`DEADLINE`].
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Where it is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Who it is.
    pub async fn version(&mut self) -> Result<Version, CriError> {
        let version = self.ask("ask for the version", async |mut client| version(&mut client).await).await?;
        self.runtime = Some(Arc::clone(&version.runtime));
        Ok(version)
    }

    /// All sandboxes and containers, also those that have ended.
    pub async fn list(&mut self) -> Result<Listing, CriError> {
        let known = self.runtime.take();
        let (runtime, listing) = self
            .ask("list pods and containers", async |mut client| {
                let runtime = runtime(&mut client, known).await?;
                // Containers first: their sandboxes were there before them, so none of them lacks its own.
                let containers = client.list_containers(ListContainersRequest::default()).await?.into_inner();
                let sandboxes = client.list_pod_sandbox(ListPodSandboxRequest::default()).await?.into_inner();
                let (named, nameless) = names::all(&sandboxes.items, &containers.containers, &runtime);
                Ok((runtime, Listing { named, nameless }))
            })
            .await?;
        self.runtime = Some(runtime);
        Ok(listing)
    }

    /// The container or the sandbox that has this id; `None` where the runtime knows none. It may know one only a moment after its cgroup
    /// was made (CRI-O tells of a container once it is created): then ask again.
    pub async fn find(&mut self, id: &ContainerId) -> Result<Option<Named>, CriError> {
        let known = self.runtime.take();
        let (runtime, named) = self
            .ask("find a container", async |mut client| {
                let runtime = runtime(&mut client, known).await?;
                let named = find(&mut client, id.as_str(), &runtime).await?;
                Ok((runtime, named))
            })
            .await?;
        self.runtime = Some(runtime);
        Ok(named)
    }

    /// The first process of a container or a sandbox, in the node's pid namespace; `None` where it has none (any more), or the runtime
    /// does not say it. By the time that it is read it may be another's: look at its cgroup.
    pub async fn pid(&mut self, id: &ContainerId) -> Result<Option<u32>, CriError> {
        const OPERATION: &str = "ask for a container's process";
        let info = self
            .ask(OPERATION, async |mut client| {
                let (id, verbose) = (id.as_str().to_owned(), true);
                let asked = ContainerStatusRequest { container_id: id.clone(), verbose };
                let refused = match client.container_status(asked).await {
                    Ok(answer) => return Ok(Some(answer.into_inner().info)),
                    Err(status) if is_ours(&status) => return Err(status),
                    Err(status) => status,
                };
                match client.pod_sandbox_status(PodSandboxStatusRequest { pod_sandbox_id: id, verbose }).await {
                    Ok(answer) => Ok(Some(answer.into_inner().info)),
                    Err(_) if refused.code() == Code::NotFound => Ok(None),
                    Err(_) => Err(refused),
                }
            })
            .await?;
        let Some(info) = info else { return Ok(None) };
        info::pid(&info).map_err(|error| CriError::new(OPERATION, &self.socket, Fault::Garbage(Why::of(&error))))
    }

    /// Makes any calls within one deadline, over a connection of their own.
    pub async fn ask<T>(
        &self,
        operation: &'static str,
        calls: impl AsyncFnOnce(Client) -> Result<T, Status>,
    ) -> Result<T, CriError> {
        let asked = timeout(self.deadline, async {
            sockets::check(&self.socket)?;
            let connection = UnixStream::connect(&self.socket).await.map_err(Fault::of_connect)?;
            wire::over(connection, calls).await.map_err(Fault::from)
        });
        let answer = asked.await.unwrap_or(Err(Fault::Late(self.deadline)));
        answer.map_err(|fault| CriError::new(operation, &self.socket, fault))
    }
}

async fn version(client: &mut Client) -> Result<Version, Status> {
    // The kubelet's own version of this interface, which it has never changed (pkg/kubelet/kuberuntime: `kubeRuntimeAPIVersion`).
    let said = client.version(VersionRequest { version: "0.1.0".to_owned() }).await?.into_inner();
    Ok(Version { runtime: cut(&said.runtime_name, NAME).into(), version: cut(&said.runtime_version, NAME) })
}

/// What it calls itself. A runtime that failed is asked again: another may have been started in its place.
async fn runtime(client: &mut Client, known: Option<Arc<str>>) -> Result<Arc<str>, Status> {
    match known {
        Some(runtime) => Ok(runtime),
        None => Ok(version(client).await?.runtime),
    }
}

async fn find(client: &mut Client, id: &str, runtime: &Arc<str>) -> Result<Option<Named>, Status> {
    let filter = Some(ContainerFilter { id: id.to_owned() });
    let containers = client.list_containers(ListContainersRequest { filter }).await?.into_inner().containers;
    // Runtimes take the beginning of an id for it; who has all of it is meant.
    let Some(container) = containers.into_iter().find(|container| container.id == id) else {
        return Ok(sandbox(client, id).await?.and_then(|sandbox| of_sandbox(&sandbox, runtime)));
    };
    let sandbox = sandbox(client, &container.pod_sandbox_id).await?;
    Ok(of_container(&container, sandbox.as_ref(), runtime))
}

async fn sandbox(client: &mut Client, id: &str) -> Result<Option<PodSandbox>, Status> {
    let filter = Some(PodSandboxFilter { id: id.to_owned() });
    let sandboxes = client.list_pod_sandbox(ListPodSandboxRequest { filter }).await?.into_inner().items;
    Ok(sandboxes.into_iter().find(|sandbox| sandbox.id == id))
}

/// Whether a status is no word of the runtime, but what became of its answer here.
fn is_ours(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

#[cfg(test)]
mod tests;
