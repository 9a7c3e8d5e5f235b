//! What can end the agent.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::doors::DoorsError;
use crate::{
    host::{cgroups::CgroupError, namespaces::NamespaceError},
    limit::apply::ApplyError,
    output::recording::RecordingError,
    probe::load::ProbeError,
};

/// Why `trace` or `agent` ended before it should.
#[derive(Debug, Error)]
pub enum AgentError {
    /// No runtime.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// No thread.
    #[error("cannot start a thread that reads mount tables")]
    Thread(#[source] io::Error),
    /// No thread.
    #[error("cannot start a thread that answers who asks")]
    DoorsThread(#[source] io::Error),
    /// No thread.
    #[error("cannot start a thread that asks the container runtime for names")]
    NamesThread(#[source] io::Error),
    /// No thread.
    #[error("cannot start a thread that asks Kubernetes about pods")]
    KubernetesThread(#[source] io::Error),
    /// No processes.
    #[error("cannot look through /proc for mount namespaces")]
    Tasks(#[source] io::Error),
    /// No signals.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The ring's descriptor does not wait.
    #[error("cannot wait for the ring")]
    Ring(#[source] io::Error),
    /// The output is full, say.
    #[error("cannot write to the standard output")]
    Output(#[source] io::Error),
    /// The recording cannot be made.
    #[error("cannot write the recording {}", file.display())]
    Record {
        /// Its file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A recording cannot be read on.
    #[error("cannot replay {}", file.display())]
    Recording {
        /// Its file.
        file: PathBuf,
        /// Why.
        #[source]
        source: RecordingError,
    },
    /// A decision is no JSON.
    #[error("cannot write a decision as JSON")]
    Json(#[source] serde_json::Error),
    /// Another agent.
    #[error(transparent)]
    Doors(#[from] DoorsError),
    /// The probes.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The pods' cgroups.
    #[error(transparent)]
    Cgroups(#[from] CgroupError),
    /// The kubelet's namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The hierarchy that is written to.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}
