//! A client of a running agent, by the bytes of the contract: its socket, line by line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::program::LINE;

/// Where the agent's own files are.
pub(crate) const DIRECTORY: &str = "/run/mount-tracer";
pub(crate) const SOCKET: &str = "/run/mount-tracer/agent.sock";
pub(crate) const TABLES: &str = r#"{"version":1,"query":"tables"}"#;
pub(crate) const AUDIT: &str = r#"{"version":1,"query":"audit"}"#;

/// A connection to the agent's socket.
pub(crate) struct Client {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Client {
    pub(crate) fn connect() -> Result<Self> {
        let stream = UnixStream::connect(SOCKET).with_context(|| format!("cannot connect to {SOCKET}"))?;
        stream.set_read_timeout(Some(LINE))?;
        stream.set_write_timeout(Some(LINE))?;
        let lines = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, lines })
    }

    /// Sends a line, and reads the lines of its answer: those of tables, and the last one.
    pub(crate) fn ask(&mut self, line: impl AsRef<[u8]>) -> Result<(Vec<Value>, Value)> {
        self.send(line)?;
        self.answer()
    }

    pub(crate) fn send(&mut self, line: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(&[line.as_ref(), b"\n"].concat()).context("cannot send a question")
    }

    /// Sends a line without its end, and nothing behind it.
    pub(crate) fn say_last(&mut self, line: &str) -> Result<()> {
        self.stream.write_all(line.as_bytes())?;
        self.stream.shutdown(Shutdown::Write).context("cannot send a last question")
    }

    pub(crate) fn answer(&mut self) -> Result<(Vec<Value>, Value)> {
        let mut tables = Vec::new();
        loop {
            let line = self.line()?.context("the agent hung up before it answered")?;
            ensure!(line["version"] == 1, "no version 1 in {line}");
            if line.get("end") == Some(&Value::Bool(true)) {
                return Ok((tables, line));
            }
            tables.push(line);
        }
    }

    /// The error that answers a line.
    pub(crate) fn error(&mut self, line: impl AsRef<[u8]>) -> Result<String> {
        let (tables, end) = self.ask(line)?;
        ensure!(tables.is_empty(), "tables in answer to what is no question: {tables:?}");
        let error = end["error"].as_str().with_context(|| format!("no error in {end}"))?;
        Ok(error.to_owned())
    }

    /// A line, `None` when the agent has hung up.
    pub(crate) fn line(&mut self) -> Result<Option<Value>> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).context("cannot read an answer")?;
        if read == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).with_context(|| format!("no JSON: {line:?}"))
    }
}
