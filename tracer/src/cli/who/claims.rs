//! A claim's file systems, as a running agent knows them: asked by its socket, one question, `docs/control.md`.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::device::Dev;

/// The agent answers at once; a minute is for one that is very busy.
const PATIENCE: Duration = Duration::from_mins(1);
/// The question.
const VOLUMES: &[u8] = b"{\"version\":1,\"query\":\"volumes\"}\n";

/// Why the agent has not told.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClaimsError {
    /// Nobody listens.
    #[error(
        "cannot ask about claims at {}: no agent runs that knows them; start `mount-tracer agent` on this node with access to the API \
         server (docs/kubernetes.md), or ask for the volume's path",
        socket.display()
    )]
    NoAgent {
        /// Where.
        socket: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// It broke off, or is another version.
    #[error("cannot understand what the agent answers at {}; are the agent and this program of one version?", socket.display())]
    Answer {
        /// Where.
        socket: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
}

/// A volume in use, as far as it is of interest here.
#[derive(Debug, Deserialize)]
pub(super) struct Volume {
    pub(super) namespace: Option<String>,
    pub(super) claim: Option<Claim>,
    #[serde(deserialize_with = "dev")]
    pub(super) dev: Dev,
}

#[derive(Debug, Deserialize)]
pub(super) struct Claim {
    pub(super) name: String,
}

impl Volume {
    /// `NAMESPACE/NAME` of its claim.
    pub(super) fn claim(&self) -> Option<String> {
        Some(format!("{}/{}", self.namespace.as_ref()?, self.claim.as_ref()?.name))
    }
}

fn dev<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Dev, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

/// The last line of an answer.
#[derive(Deserialize)]
struct End {
    end: bool,
    error: Option<String>,
}

/// All volumes in use on the node.
pub(super) fn volumes(socket: &Path) -> Result<Vec<Volume>, ClaimsError> {
    let stream =
        UnixStream::connect(socket).map_err(|source| ClaimsError::NoAgent { socket: socket.to_owned(), source })?;
    ask(stream).map_err(|source| ClaimsError::Answer { socket: socket.to_owned(), source })
}

fn ask(mut stream: UnixStream) -> io::Result<Vec<Volume>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(VOLUMES)?;
    let mut volumes = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        match serde_json::from_str::<End>(&line) {
            Ok(End { end: true, error: None }) => return Ok(volumes),
            Ok(End { error: Some(error), .. }) => return Err(io::Error::other(error)),
            _ => volumes.push(serde_json::from_str(&line)?),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    /// What is made of an answer.
    fn answered(answer: &'static str) -> Result<Vec<Volume>, ClaimsError> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let agent = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut question).unwrap();
            assert_eq!(question.as_bytes(), VOLUMES);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let told = volumes(&socket);
        agent.join().unwrap();
        told
    }

    #[test]
    fn volumes_are_read_up_to_the_end() {
        let told = answered(concat!(
            r#"{"version":1,"pod_uid":"u","namespace":"shop","claim":{"name":"data"},"dev":"259:3"}"#,
            "\n",
            r#"{"version":1,"pod_uid":"u","namespace":null,"claim":null,"dev":"0:45"}"#,
            "\n",
            r#"{"version":1,"end":true,"tables":{}}"#,
            "\n"
        ));
        let told = told.unwrap();
        let claims: Vec<Option<String>> = told.iter().map(Volume::claim).collect();
        assert_eq!(claims, [Some("shop/data".to_owned()), None]);
        assert_eq!(told[0].dev, Dev { major: 259, minor: 3 });
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for (answer, part) in [
            ("", "unexpected end"),
            ("garbage\n", "expected value"),
            ("{\"version\":1,\"end\":true,\"error\":\"query \\\"volumes\\\" is not known\"}\n", "is not known"),
        ] {
            let error = answered(answer).unwrap_err();
            let said = crate::output::say::chain(&error);
            assert!(said.contains("of one version?") && said.contains(part), "{said}");
        }
        let error = volumes(Path::new("/none/agent.sock")).unwrap_err();
        assert!(error.to_string().contains("start `mount-tracer agent`"), "{error}");
    }
}
