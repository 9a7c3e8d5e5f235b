//! The flags about what runs on the node besides: the container runtime, the kubelet.

use std::path::PathBuf;

use crate::agent::RuntimeSocket;

/// The container runtime.
// Flattened into other structs, whose groups it would take.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Runtime {
    /// The socket of the container runtime that is asked for names; `none` for no names [default: the well-known ones]
    #[arg(long, value_name = "PATH")]
    cri_socket: Option<RuntimeSocket>,
}

/// The container runtime and the kubelet.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    runtime: Runtime,
    /// The kubelet's directory, as its own --root-dir has it: what is mounted there for a pod is the pod's volume
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet", value_parser = absolute)]
    pub(super) kubelet_dir: PathBuf,
}

impl Runtime {
    /// Which runtime is asked.
    pub(super) fn socket(&self) -> RuntimeSocket {
        self.cri_socket.clone().unwrap_or_default()
    }
}

impl Args {
    /// Which runtime is asked.
    pub(super) fn socket(&self) -> RuntimeSocket {
        self.runtime.socket()
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    // Taken apart and put together again, so that `/var/lib/kubelet/` and `/var//lib/kubelet` are the same.
    let path: PathBuf = PathBuf::from(text).components().collect();
    if path.is_absolute() { Ok(path) } else { Err("write an absolute path".to_owned()) }
}
