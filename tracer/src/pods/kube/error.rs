//! What can go wrong between the agent and the API server. Touches nothing.

use std::{error::Error, fmt, time::Duration};

use kube::config::{InClusterError, KubeconfigError};
use thiserror::Error;

use super::ask::Ask;
use crate::pods::named::cut;

/// Bytes of the server's own words that are passed on.
const WORDS: usize = 300;

/// What was not done, and why.
#[derive(Debug)]
pub struct KubeError {
    /// What was wanted, as roles name it: `list`, `watch`, `get`.
    pub verb: &'static str,
    /// Of what, as roles name it: `persistentvolumeclaims`.
    pub resource: &'static str,
    /// Why not.
    pub fault: Fault,
}

impl KubeError {
    pub(super) fn new(ask: &Ask, fault: Fault) -> Self {
        Self { verb: ask.verb(), resource: ask.what().resource(), fault }
    }
}

impl fmt::Display for KubeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, fault } = self;
        write!(f, "cannot {verb} {resource} at the Kubernetes API server: {fault}; ")?;
        match fault {
            Fault::Refused { status: 401, .. } => f.write_str("the token may have expired, or not be this cluster's"),
            Fault::Refused { status: 403, .. } => {
                write!(f, "let the agent's ClusterRole have the verb {verb} for {resource} (docs/kubernetes.md)")
            }
            Fault::Refused { status: 404, .. } => f.write_str("this cluster does not have it; nothing is to be done"),
            Fault::Refused { .. } => f.write_str("it is asked again later"),
            Fault::InCluster(_) => f.write_str(
                "let the pod have a service account's token (automountServiceAccountToken), or use --kubeconfig",
            ),
            Fault::Kubeconfig(_) => f.write_str("name a kubeconfig that works with kubectl"),
            Fault::Client(_) | Fault::Late(_) | Fault::Cut => {
                f.write_str("look whether the node reaches it; it is asked again later")
            }
            Fault::Garbage(_) | Fault::TooLong(_) => {
                f.write_str("look whether something else answers at its address; it is asked again later")
            }
        }
    }
}

/// The fault is told with it, so the cause is the fault's.
impl Error for KubeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// Why the API server did not tell.
#[derive(Debug, Error)]
pub enum Fault {
    /// The pod has no service account.
    #[error("this is no pod that may ask it")]
    InCluster(#[source] InClusterError),
    /// The kubeconfig is of no use.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[source] KubeconfigError),
    /// No connection, no valid certificate, a broken one.
    #[error("the connection failed")]
    Client(#[source] Box<kube::Error>),
    /// No answer.
    #[error("there was no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
    /// It says no.
    #[error("it says {status}{}", words(message))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// In its own words.
        message: String,
        /// How long to stay away.
        after: Option<Duration>,
    },
    /// An answer has no end.
    #[error("its answer was cut")]
    Cut,
    /// An answer is not what was asked for.
    #[error("its answer cannot be understood")]
    Garbage(#[source] serde_json::Error),
    /// An answer is longer than any can be.
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
}

impl Fault {
    /// Its name among counts, one of [`FAULTS`](crate::pods::asked::FAULTS).
    pub fn name(&self) -> &'static str {
        match self {
            Self::InCluster(_) | Self::Kubeconfig(_) => "config",
            Self::Client(_) | Self::Cut => "connection",
            Self::Late(_) => "late",
            Self::Refused { status: 401, .. } => "unauthorized",
            Self::Refused { status: 403, .. } => "forbidden",
            Self::Refused { status: 404, .. } => "absent",
            Self::Refused { status: 410, .. } => "expired",
            Self::Refused { status: 429, .. } => "throttled",
            Self::Refused { .. } => "refused",
            Self::Garbage(_) | Self::TooLong(_) => "garbage",
        }
    }
}

/// The server's words may be anybody's: they stay in one line.
fn words(message: &str) -> String {
    let line: String = message.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    if line.is_empty() { line } else { format!(" ({})", cut(&line, WORDS)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::{
        asked::{FAULTS, RESOURCES},
        kube::ask::What,
        objects::{ClaimKey, ClassKind},
    };

    fn refused(status: u16) -> Fault {
        Fault::Refused { status, message: "no\nway\u{1b}[31m".to_owned(), after: None }
    }

    #[test]
    fn every_fault_and_resource_is_counted() {
        let garbage = serde_json::from_str::<u8>("x").unwrap_err();
        let faults = [Fault::Late(Duration::ZERO), Fault::Cut, Fault::TooLong(1), Fault::Garbage(garbage)];
        let refusals = [400, 401, 403, 404, 410, 429, 500].map(refused);
        for fault in faults.into_iter().chain(refusals) {
            assert!(FAULTS.contains(&fault.name()), "{fault:?}");
        }
        let key = ClaimKey { namespace: "shop".into(), name: "data".into() };
        let classes = [ClassKind::Storage, ClassKind::Attributes].map(What::Classes);
        let named = [What::Pods { node: "n".into() }, What::Claim(key)];
        let volume = What::Volume { name: "pvc-1".into(), claim_uid: "c1".into() };
        for what in classes.into_iter().chain(named).chain([volume]) {
            assert!(RESOURCES.contains(&what.resource()), "{what:?}");
        }
    }

    #[test]
    fn a_refusal_stays_in_one_line_and_names_the_right() {
        let ask = Ask::List(What::Classes(ClassKind::Storage));
        let line = KubeError::new(&ask, refused(403)).to_string();
        assert_eq!(
            line,
            "cannot list storageclasses.storage.k8s.io at the Kubernetes API server: it says 403 (no way [31m); let the \
             agent's ClusterRole have the verb list for storageclasses.storage.k8s.io (docs/kubernetes.md)"
        );
    }
}
