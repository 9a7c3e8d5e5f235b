//! What can go wrong between the agent and a container runtime. Touches nothing.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;
use tonic::{Code, Status};

use super::codec::CodecError;
use crate::pods::named::cut;

/// Bytes of a runtime's own words that are passed on.
const WORDS: usize = 300;

/// What was not done, by which socket, and why.
#[derive(Debug)]
pub struct CriError {
    /// What was wanted, as in «cannot …».
    pub operation: &'static str,
    /// Where the runtime was asked.
    pub socket: PathBuf,
    /// Why not.
    pub fault: Fault,
}

impl CriError {
    pub(super) fn new(operation: &'static str, socket: &Path, fault: Fault) -> Self {
        Self { operation, socket: socket.to_owned(), fault }
    }
}

impl fmt::Display for CriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, socket, fault } = self;
        write!(f, "cannot {operation} at the CRI socket {}: {fault}; {}", socket.display(), fault.remedy())
    }
}

/// The fault is told with it, so the cause is the fault's.
impl Error for CriError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// Why a runtime did not tell.
#[derive(Debug, Error)]
pub enum Fault {
    /// Nothing has that path.
    #[error("nothing is there")]
    Absent(#[source] io::Error),
    /// A file, a directory.
    #[error("it is no socket")]
    NoSocket,
    /// Not for this user.
    #[error("it may not be opened")]
    NotPermitted(#[source] io::Error),
    /// A socket that was left over.
    #[error("nobody listens")]
    NobodyListens(#[source] io::Error),
    /// Every other reason not to be connected.
    #[error("no connection")]
    NoConnection(#[source] io::Error),
    /// It was waited for.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// It ended the connection.
    #[error("the runtime hung up before it answered")]
    HungUp(#[source] Why),
    /// It speaks gRPC, but not this.
    #[error("it does not serve runtime.v1.RuntimeService")]
    NoCri(#[source] Said),
    /// It speaks no gRPC, or the answer is no such message.
    #[error("its answer is not understood")]
    Garbage(#[source] Why),
    /// More than is taken.
    #[error("its answer is too large, and was not read")]
    TooLarge(#[source] Why),
    /// It answered, and that it will not.
    #[error("the runtime refused")]
    Refused(#[source] Said),
}

impl Fault {
    /// In one word, for counting; of a closed set.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Absent(_) => "absent",
            Self::NoSocket => "no-socket",
            Self::NotPermitted(_) => "not-permitted",
            Self::NobodyListens(_) => "nobody-listens",
            Self::NoConnection(_) => "no-connection",
            Self::Late(_) => "late",
            Self::HungUp(_) => "hung-up",
            Self::NoCri(_) => "no-cri",
            Self::Garbage(_) => "garbage",
            Self::TooLarge(_) => "too-large",
            Self::Refused(_) => "refused",
        }
    }

    /// What may help.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Absent(_) => "start the runtime, give the agent the node's /run, or name the socket",
            Self::NoSocket => "name the runtime's socket",
            Self::NotPermitted(_) => "run the agent as root",
            Self::NobodyListens(_) => "start the runtime",
            Self::NoConnection(_) | Self::Refused(_) => "see the cause and the runtime's log",
            Self::Late(_) => "see what the runtime is doing; `crictl ps` will wait as well",
            Self::HungUp(_) => "see whether the runtime is restarting; it is asked again",
            Self::NoCri(_) => {
                "take `cri` off `disabled_plugins` of containerd, use 1.6 or newer, or name the socket that the kubelet uses"
            }
            Self::Garbage(_) => {
                "name the socket that the kubelet uses; if it is this one, report it with the runtime's version"
            }
            Self::TooLarge(_) => "remove dead containers and sandboxes (`crictl rm`, `crictl rmp`)",
        }
    }

    /// Why there is no connection.
    pub(super) fn of_connect(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Absent(error),
            io::ErrorKind::PermissionDenied => Self::NotPermitted(error),
            io::ErrorKind::ConnectionRefused => Self::NobodyListens(error),
            _ => Self::NoConnection(error),
        }
    }

    /// What became of the connection.
    pub(super) fn of_connection(error: &h2::Error) -> Self {
        let why = Why::of(error);
        if error.is_io() || error.is_remote() { Self::HungUp(why) } else { Self::Garbage(why) }
    }

    fn of_codec(error: &CodecError) -> Self {
        match error {
            CodecError::Entries => Self::TooLarge(Why::of(error)),
            CodecError::Message(cause) => Self::Garbage(Why::of(cause)),
        }
    }
}

/// A status is the runtime's word, or what this side made of its answer; then a cause of this side stands behind it.
impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        let mut causes = std::iter::successors(status.source(), |cause| (*cause).source());
        let of_this_side = causes.find_map(|cause| {
            let of_connection = cause.downcast_ref().map(Self::of_connection);
            of_connection.or_else(|| cause.downcast_ref().map(Self::of_codec))
        });
        of_this_side.unwrap_or_else(|| Self::of_word(&status))
    }
}

impl Fault {
    fn of_word(status: &Status) -> Self {
        let said = Said { code: status.code(), words: cut(status.message(), WORDS) };
        match said.code {
            Code::Unimplemented => Self::NoCri(said),
            // By tonic, of a message longer than the limit; no runtime answers so to what is asked here.
            Code::OutOfRange => Self::TooLarge(Why::of(&said)),
            // By tonic, of frames and HTTP answers that are no gRPC.
            Code::Internal => Self::Garbage(Why::of(&said)),
            _ => Self::Refused(said),
        }
    }
}

/// A cause in words, not longer than is readable.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Why(String);

impl Why {
    pub(super) fn of(cause: &dyn fmt::Display) -> Self {
        Self(cut(&cause.to_string(), WORDS))
    }
}

/// A runtime's own words, not longer than is readable, and with nothing that a terminal would take for more than letters.
#[derive(Debug, Error)]
#[error("{code:?}: {words:?}")]
pub struct Said {
    /// Of gRPC.
    pub code: Code,
    /// Its message.
    pub words: String,
}
