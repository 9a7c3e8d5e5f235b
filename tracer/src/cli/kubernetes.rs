//! Flags about Kubernetes: which node this is, and who is asked about it.

use std::{env, path::PathBuf};

use crate::{
    agent::{self, AgentError, Feed},
    output::say::note,
    pods::{kube::api::Place, named::NAME},
};

/// By which whoever deploys this tells its pods where they are.
const NODE_NAME: &str = "NODE_NAME";
/// What the kubelet tells each pod of a cluster.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

/// Flags about Kubernetes.
// Flattened into other structs of this name, whose group it would take.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// What Kubernetes calls this node (docs/kubernetes.md) [default: the environment's `NODE_NAME`]
    #[arg(long, value_name = "NAME", value_parser = node_name)]
    node: Option<String>,
    /// Ask the Kubernetes that this kubeconfig names [default: the cluster that this runs in, if it runs in one]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl Args {
    /// Begins to ask; or says why not.
    pub(super) fn feed(&self) -> Result<Option<Feed>, AgentError> {
        let named = env::var(NODE_NAME).ok().filter(|name| node_name(name).is_ok());
        match chosen(self.node.clone().or(named), self.kubeconfig.clone(), env::var_os(IN_CLUSTER).is_some()) {
            Ok((node, place)) => agent::feed(node, place).map(Some),
            Err(why) => {
                note(format_args!("note: Kubernetes is not asked about pods: {why}"));
                Ok(None)
            }
        }
    }
}

fn chosen(
    node: Option<String>,
    kubeconfig: Option<PathBuf>,
    in_cluster: bool,
) -> Result<(String, Place), &'static str> {
    let place = match kubeconfig {
        Some(file) => Place::Kubeconfig(file),
        None if in_cluster => Place::Cluster,
        None => return Err("this is no pod of a cluster, and there is no --kubeconfig"),
    };
    let node = node.ok_or("nobody says which node this is; use --node, or set NODE_NAME to spec.nodeName")?;
    Ok((node, place))
}

fn node_name(text: &str) -> Result<String, String> {
    let is_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let valid = !text.is_empty() && text.len() <= NAME && text.bytes().all(is_one);
    valid.then(|| text.to_owned()).ok_or_else(|| "write a node's name as `kubectl get nodes` prints it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_and_a_server_are_needed() {
        let node = || Some("worker-7".to_owned());
        let file = || Some(PathBuf::from("/kubeconfig"));
        assert_eq!(chosen(node(), None, true), Ok(("worker-7".to_owned(), Place::Cluster)));
        let by_file = Ok(("worker-7".to_owned(), Place::Kubeconfig("/kubeconfig".into())));
        assert_eq!(chosen(node(), file(), true), by_file, "what was typed comes first");
        assert!(chosen(None, file(), false).is_err_and(|why| why.contains("--node")));
        assert!(chosen(None, None, true).is_err_and(|why| why.contains("--node")));
        assert!(chosen(node(), None, false).is_err_and(|why| why.contains("--kubeconfig")));
    }

    #[test]
    fn a_nodes_name_is_a_dns_subdomain() {
        assert!(node_name("ip-10-0-0-1.eu-west-1.compute.internal").is_ok());
        for wrong in ["", "Worker", "a,b", "a b", &"x".repeat(254)] {
            assert!(node_name(wrong).is_err(), "{wrong}");
        }
    }
}
