//! Pods on a node's own containerd, by its CRI socket, as a kubelet would make them: without a network of their own, from the one image that
//! the node has.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Runtime};
use tracer::pods::cri::{Cri, api};
use tracer::pods::runtimes::ContainerId;

/// Where it listens.
const SOCKET: &str = "/run/containerd/containerd.sock";
/// How long one call may take: two emulated processors start eight pods at once.
const PATIENT: std::time::Duration = std::time::Duration::from_mins(3);
/// The node's image: busybox.
const IMAGE: &str = "localhost/busybox:1";

/// A pod that is to be, with one container.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) container: String,
    /// `runc` or `crun`.
    pub(crate) runtime: &'static str,
    /// What it runs.
    pub(crate) script: String,
    /// Directories of the node, where they are seen in the container, and how mounts propagate.
    pub(crate) mounts: Vec<(String, String, api::MountPropagation)>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A pod that was started: the ids of its sandbox and its container.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) sandbox: String,
    pub(crate) container: String,
}

/// The runtime, from one thread.
pub(crate) struct Containerd {
    cri: Cri,
    runtime: Runtime,
}

impl Containerd {
    pub(crate) fn new() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { cri: Cri::new(SOCKET.into()).with_deadline(PATIENT), runtime })
    }

    /// Starts a pod, and in it the container.
    pub(crate) fn start(&self, pod: &Pod) -> Result<Started> {
        self.start_as(&sandbox(pod), &container(pod), pod.runtime).with_context(|| format!("cannot start {}", pod.name))
    }

    /// The same, of what the runtime is told of them.
    pub(crate) fn start_as(
        &self,
        pod: &api::PodSandboxConfig,
        container: &api::ContainerConfig,
        runtime: &str,
    ) -> Result<Started> {
        let asked = self.cri.ask("start a pod", async |mut client| {
            let run = api::RunPodSandboxRequest { config: Some(pod.clone()), runtime_handler: runtime.to_owned() };
            let sandbox = client.run_pod_sandbox(run).await?.into_inner().pod_sandbox_id;
            let create = api::CreateContainerRequest {
                pod_sandbox_id: sandbox.clone(),
                config: Some(container.clone()),
                sandbox_config: Some(pod.clone()),
            };
            let container = client.create_container(create).await?.into_inner().container_id;
            let start = api::StartContainerRequest { container_id: container.clone() };
            client.start_container(start).await?;
            Ok(Started { sandbox, container })
        });
        Ok(self.runtime.block_on(asked)?)
    }

    /// How a container is; and how it ended, if it has.
    pub(crate) fn status(&self, started: &Started) -> Result<api::ContainerStatus> {
        let asked = self.cri.ask("ask for a container", async |mut client| {
            let container_id = started.container.clone();
            client.container_status(api::ContainerStatusRequest { container_id, verbose: false }).await
        });
        self.runtime.block_on(asked)?.into_inner().status.context("a container without a status")
    }

    /// The first process of a container.
    pub(crate) fn pid(&mut self, started: &Started) -> Result<u32> {
        let id = ContainerId::parse(&started.container).context("the runtime's ids are ids")?;
        self.runtime.block_on(self.cri.pid(&id))?.context("the container has no process")
    }

    /// Tells a container to end, and kills it after so many seconds.
    pub(crate) fn stop(&self, started: &Started, seconds: i64) -> Result<()> {
        let asked = self.cri.ask("stop a container", async |mut client| {
            let container_id = started.container.clone();
            client.stop_container(api::StopContainerRequest { container_id, timeout: seconds }).await
        });
        self.runtime.block_on(asked).map(drop).with_context(|| format!("cannot stop {started:?}"))
    }

    /// Stops and removes all of a pod.
    pub(crate) fn remove(&self, started: &Started) -> Result<()> {
        let pod_sandbox_id = || started.sandbox.clone();
        let asked = self.cri.ask("remove a pod", async |mut client| {
            client.stop_pod_sandbox(api::StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id() }).await?;
            client.remove_pod_sandbox(api::RemovePodSandboxRequest { pod_sandbox_id: pod_sandbox_id() }).await
        });
        self.runtime.block_on(asked).map(drop).with_context(|| format!("cannot remove {started:?}"))
    }
}

fn node_network() -> api::NamespaceOption {
    api::NamespaceOption { network: api::NamespaceMode::Node.into(), ..api::NamespaceOption::default() }
}

fn sandbox(pod: &Pod) -> api::PodSandboxConfig {
    api::PodSandboxConfig {
        metadata: Some(api::PodSandboxMetadata {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            attempt: 0,
        }),
        log_directory: format!("/tmp/{}", pod.name),
        labels: pod.labels.clone(),
        linux: Some(api::LinuxPodSandboxConfig {
            cgroup_parent: format!("kubepods-besteffort-pod{}.slice", pod.uid.replace('-', "_")),
            security_context: Some(api::LinuxSandboxSecurityContext {
                namespace_options: Some(node_network()),
                privileged: true,
            }),
        }),
        ..api::PodSandboxConfig::default()
    }
}

fn container(pod: &Pod) -> api::ContainerConfig {
    let mount = |(host_path, container_path, propagation): &(String, String, api::MountPropagation)| api::Mount {
        container_path: container_path.clone(),
        host_path: host_path.clone(),
        readonly: false,
        propagation: (*propagation).into(),
    };
    api::ContainerConfig {
        metadata: Some(api::ContainerMetadata { name: pod.container.clone(), attempt: 0 }),
        image: Some(api::ImageSpec { image: IMAGE.to_owned(), ..api::ImageSpec::default() }),
        command: ["sh", "-c", &pod.script].map(str::to_owned).to_vec(),
        mounts: pod.mounts.iter().map(mount).collect(),
        log_path: "log".to_owned(),
        linux: Some(api::LinuxContainerConfig {
            security_context: Some(api::LinuxContainerSecurityContext {
                privileged: true,
                namespace_options: Some(node_network()),
                readonly_rootfs: false,
            }),
            resources: None,
        }),
        ..api::ContainerConfig::default()
    }
}
