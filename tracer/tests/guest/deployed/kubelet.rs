//! What a kubelet makes of the agent's manifests for the container runtime: a pod and its container, with all that is written there, and the
//! probes. What it does not know is an error, so that nothing of the manifests is left out in silence.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tracer::pods::cri::api::{self, MountPropagation, NamespaceMode};

use crate::guest::ground;
use crate::guest::node::KUBELET;

const DAEMON_SET: &str = include_str!("../../../../deploy/kustomize/base/daemonset.yaml");
const POLICY: &str = include_str!("../../../../deploy/kustomize/base/policy.yaml");
/// The node's address: in a guest it has no other.
pub(super) const NODE_IP: &str = "127.0.0.1";
/// What the API server, the scheduler and the controller of the set act on.
const OF_OTHERS: [&str; 6] = [
    "automountServiceAccountToken",
    "nodeSelector",
    "priorityClassName",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
];
const OF_POD: [&str; 4] = ["containers", "hostNetwork", "hostPID", "volumes"];
const OF_CONTAINER: [&str; 13] = [
    "args",
    "env",
    "image",
    "imagePullPolicy",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "terminationMessagePolicy",
    "volumeMounts",
];
const OF_SECURITY: [&str; 2] = ["privileged", "readOnlyRootFilesystem"];

/// The agent's pod on this node, as its manifests have it.
pub(super) struct AgentPod {
    /// `metadata` and `spec` of the pod.
    template: Value,
    /// The policy's `ConfigMap`.
    policy: Value,
    pub(super) uid: String,
}

impl AgentPod {
    pub(super) fn of_manifests(uid: &str) -> Result<Self> {
        let mut set: Value = serde_saphyr::from_str(DAEMON_SET).context("the DaemonSet is no YAML")?;
        let policy = serde_saphyr::from_str(POLICY).context("the policy is no YAML")?;
        Ok(Self { template: set["spec"]["template"].take(), policy, uid: uid.to_owned() })
    }

    /// The same with something else at a place of its `spec`.
    pub(super) fn with(mut self, pointer: &str, value: Value) -> Result<Self> {
        let place = self.template["spec"].pointer_mut(pointer);
        *place.with_context(|| format!("the pod has no {pointer}"))? = value;
        Ok(self)
    }

    /// The same without one of its mounts.
    pub(super) fn without_mount(mut self, name: &str) -> Result<Self> {
        let mounts = self.template["spec"]["containers"][0]["volumeMounts"].as_array_mut();
        let mounts = mounts.context("a container without mounts")?;
        let before = mounts.len();
        mounts.retain(|mount| mount["name"] != name);
        ensure!(mounts.len() + 1 == before, "no mount is called {name}");
        Ok(self)
    }

    pub(super) fn spec(&self, pointer: &str) -> &Value {
        self.template["spec"].pointer(pointer).unwrap_or(&Value::Null)
    }

    pub(super) fn container(&self, pointer: &str) -> &Value {
        self.spec("/containers/0").pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Where the kubelet keeps what the container prints.
    pub(super) fn log(&self) -> PathBuf {
        Path::new(&self.logs()).join("log")
    }

    fn logs(&self) -> String {
        format!("/var/log/pods/mount-tracer_agent_{}", self.uid)
    }

    pub(super) fn sandbox(&self) -> Result<api::PodSandboxConfig> {
        only_known(self.spec(""), &[&OF_OTHERS[..], &OF_POD].concat())?;
        let labels = self.template["metadata"]["labels"].as_object().context("a pod without labels")?;
        let labels = labels.iter().map(|(key, value)| (key.clone(), text(value).to_owned()));
        let uid = self.uid.replace('-', "_");
        // It asks for something, and is promised less than it may take at most.
        let class = if self.container("/resources/requests").is_object() { "burstable" } else { "besteffort" };
        Ok(api::PodSandboxConfig {
            metadata: Some(api::PodSandboxMetadata {
                name: "mount-tracer-x7k2p".to_owned(),
                uid: self.uid.clone(),
                namespace: "mount-tracer".to_owned(),
                attempt: 0,
            }),
            log_directory: self.logs(),
            labels: labels.collect(),
            linux: Some(api::LinuxPodSandboxConfig {
                cgroup_parent: format!("kubepods-{class}-pod{uid}.slice"),
                security_context: Some(api::LinuxSandboxSecurityContext {
                    namespace_options: Some(self.namespaces()),
                    privileged: self.is_privileged(),
                }),
            }),
            ..api::PodSandboxConfig::default()
        })
    }

    pub(super) fn container_config(&self) -> Result<api::ContainerConfig> {
        only_known(self.container(""), &OF_CONTAINER)?;
        only_known(self.container("/securityContext"), &OF_SECURITY)?;
        let env = self.env()?;
        let arguments = items(self.container("/args")).map(|one| expanded(text(one), &env)).collect();
        Ok(api::ContainerConfig {
            metadata: Some(api::ContainerMetadata { name: text(self.container("/name")).to_owned(), attempt: 0 }),
            image: Some(api::ImageSpec { image: self.image().to_owned(), ..api::ImageSpec::default() }),
            args: arguments,
            envs: env.into_iter().map(|(key, value)| api::KeyValue { key, value }).collect(),
            mounts: items(self.container("/volumeMounts")).map(|one| self.mount(one)).collect::<Result<_>>()?,
            log_path: "log".to_owned(),
            linux: Some(api::LinuxContainerConfig {
                resources: Some(self.resources()?),
                security_context: Some(api::LinuxContainerSecurityContext {
                    privileged: self.is_privileged(),
                    namespace_options: Some(self.namespaces()),
                    readonly_rootfs: *self.container("/securityContext/readOnlyRootFilesystem") == true,
                }),
            }),
            ..api::ContainerConfig::default()
        })
    }

    pub(super) fn image(&self) -> &str {
        text(self.container("/image"))
    }

    fn is_privileged(&self) -> bool {
        *self.container("/securityContext/privileged") == true
    }

    fn namespaces(&self) -> api::NamespaceOption {
        let mode = |is_nodes: bool, otherwise: NamespaceMode| if is_nodes { NamespaceMode::Node } else { otherwise };
        api::NamespaceOption {
            network: mode(*self.spec("/hostNetwork") == true, NamespaceMode::Pod).into(),
            pid: mode(*self.spec("/hostPID") == true, NamespaceMode::Container).into(),
            ipc: NamespaceMode::Pod.into(),
        }
    }

    fn resources(&self) -> Result<api::LinuxContainerResources> {
        let requested = text(self.container("/resources/requests/cpu"));
        let milli: i64 = requested.strip_suffix('m').context("a request in thousandths of a processor")?.parse()?;
        let limit = text(self.container("/resources/limits/memory"));
        let mib: i64 = limit.strip_suffix("Mi").context("a limit in MiB")?.parse()?;
        Ok(api::LinuxContainerResources { cpu_shares: milli * 1024 / 1000, memory_limit_in_bytes: mib << 20 })
    }

    fn env(&self) -> Result<BTreeMap<String, String>> {
        let value = |one: &Value| match text(&one["valueFrom"]["fieldRef"]["fieldPath"]) {
            "spec.nodeName" => Ok("node".to_owned()),
            "status.hostIP" => Ok(NODE_IP.to_owned()),
            other => bail!("the field {other:?} is not known here"),
        };
        items(self.container("/env")).map(|one| Ok((text(&one["name"]).to_owned(), value(one)?))).collect()
    }

    fn mount(&self, mount: &Value) -> Result<api::Mount> {
        only_known(mount, &["mountPath", "mountPropagation", "name", "readOnly"])?;
        let volume = items(self.spec("/volumes")).find(|volume| volume["name"] == mount["name"]);
        let propagation = match text(&mount["mountPropagation"]) {
            "" | "None" => MountPropagation::PropagationPrivate,
            "HostToContainer" => MountPropagation::PropagationHostToContainer,
            "Bidirectional" => MountPropagation::PropagationBidirectional,
            other => bail!("no propagation is called {other:?}"),
        };
        Ok(api::Mount {
            container_path: text(&mount["mountPath"]).to_owned(),
            host_path: self.directory(volume.with_context(|| format!("no volume for {mount}"))?)?,
            readonly: mount["readOnly"] == true,
            propagation: propagation.into(),
        })
    }

    /// What of the node is mounted for a volume, which is made if the volume says so.
    fn directory(&self, volume: &Value) -> Result<String> {
        if volume["configMap"].is_object() {
            ensure!(volume["configMap"]["name"] == self.policy["metadata"]["name"], "no ConfigMap for {volume}");
            let directory = self.policy_directory();
            if !directory.exists() {
                self.write_policy(text(&self.policy["data"]["policy.yaml"]))?;
            }
            return Ok(directory.to_string_lossy().into_owned());
        }
        let path = text(&volume["hostPath"]["path"]);
        match text(&volume["hostPath"]["type"]) {
            "Directory" => ensure!(Path::new(path).is_dir(), "the node has no {path}"),
            "DirectoryOrCreate" => ground::make_directory(Path::new(path))?,
            other => bail!("no type of a hostPath is called {other:?}"),
        }
        Ok(path.to_owned())
    }

    fn policy_directory(&self) -> PathBuf {
        Path::new(KUBELET).join("pods").join(&self.uid).join("volumes/kubernetes.io~configmap/policy")
    }

    /// Gives the `ConfigMap`'s volume another content, as the kubelet does: all of it at once, by a link that it turns round
    /// (`pkg/volume/util/atomic_writer.go`).
    pub(super) fn write_policy(&self, policy: &str) -> Result<()> {
        let directory = self.policy_directory();
        let before = fs::read_dir(&directory).map_or(0, Iterator::count);
        let name = format!("..content-{before}");
        ground::make_directory(&directory.join(&name))?;
        ground::write_file(&directory.join(&name).join("policy.yaml"), policy)?;
        let (new, data) = (directory.join("..data_tmp"), directory.join("..data"));
        symlink(&name, &new).context("cannot make a link")?;
        fs::rename(&new, &data).context("cannot turn the link round")?;
        let file = directory.join("policy.yaml");
        if !file.is_symlink() {
            symlink("..data/policy.yaml", &file).context("cannot make a link")?;
        }
        Ok(())
    }
}

/// `$(NAME)` is what the environment says.
fn expanded(argument: &str, env: &BTreeMap<String, String>) -> String {
    env.iter().fold(argument.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn only_known(object: &Value, known: &[&str]) -> Result<()> {
    let fields = object.as_object().with_context(|| format!("no object: {object}"))?;
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        Some(field) => bail!("the manifest has {field}, which is not known here"),
        None => Ok(()),
    }
}
