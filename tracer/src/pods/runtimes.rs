//! PURE: how container runtimes name the cgroups of their containers. Touches nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Length of a container's id: 32 random bytes in hexadecimal, in every runtime of the table.
const ID: usize = 64;
/// How many digits of it `docker ps`, `crictl ps` and their like show (crictl: one more).
const SHORT: usize = 12;

/// A program that starts containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// containerd, by its CRI plugin or by nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker, also behind cri-dockerd.
    Docker,
    /// Podman.
    Podman,
}

impl Runtime {
    /// The scheme of a `containerID` in a pod's status (`containerd://…`), which Podman has not, but names itself so.
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// A container's id: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContainerId(Box<str>);

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0.into()
    }
}

impl TryFrom<String> for ContainerId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("this is no container's id")
    }
}

impl ContainerId {
    /// `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == ID && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| Self(text.into()))
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As much of it as the runtimes' own tools show.
    pub fn short(&self) -> &str {
        &self.0[..SHORT]
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container by the name of its cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerCgroup {
    /// Its id.
    pub id: ContainerId,
    /// Who started it; `None` where the name does not say it.
    pub runtime: Option<Runtime>,
}

/// What stands before the id: with systemd's driver in `<word>-<id>.scope`, where the drivers do not agree in
/// `<slice>:<word>:<id>` (runc takes `slice:prefix:name`, which is meant for systemd, for a directory then).
const WORDS: [(&str, Runtime); 5] = [
    ("cri-containerd", Runtime::Containerd),
    ("nerdctl", Runtime::Containerd),
    ("crio", Runtime::CriO),
    ("docker", Runtime::Docker),
    ("libpod", Runtime::Podman),
];

/// A cgroup that is a container's by its own name, wherever it lies: `<word>-<id>.scope`, and `<word>-<id>` of CRI-O and Podman with
/// the cgroupfs driver. The monitors beside them (`crio-conmon-<id>.scope`) are none.
pub fn named(name: &str) -> Option<ContainerCgroup> {
    let scope = name.strip_suffix(".scope");
    let (word, id) = scope.unwrap_or(name).rsplit_once('-')?;
    let runtime = runtime(word)?;
    let has_no_scope = matches!(runtime, Runtime::CriO | Runtime::Podman);
    (scope.is_some() || has_no_scope).then_some(ContainerCgroup { id: ContainerId::parse(id)?, runtime: Some(runtime) })
}

/// A cgroup directly below a pod's: also `<id>` alone, which containerd and Docker use with the cgroupfs driver.
pub fn in_pod(name: &str) -> Option<ContainerCgroup> {
    named(name).or_else(|| Some(ContainerCgroup { id: ContainerId::parse(name)?, runtime: None }))
}

/// A cgroup `<id>` in Docker's own directory, with the cgroupfs driver.
pub fn in_docker(parent: Option<&str>, name: &str) -> Option<ContainerCgroup> {
    let id = ContainerId::parse(name).filter(|_| parent == Some("docker"))?;
    Some(ContainerCgroup { id, runtime: Some(Runtime::Docker) })
}

/// The slice and the container of `<slice>.slice:<word>:<id>`.
pub fn mismatched(name: &str) -> Option<(&str, ContainerCgroup)> {
    let (slice, rest) = name.split_once(".slice:")?;
    let (word, id) = rest.split_once(':')?;
    Some((slice, ContainerCgroup { id: ContainerId::parse(id)?, runtime: Some(runtime(word)?) }))
}

fn runtime(word: &str) -> Option<Runtime> {
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, runtime)| *runtime)
}
