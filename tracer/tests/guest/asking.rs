//! A client of a running agent, by the bytes of the contracts: its socket line by line, and its metrics.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::program::LINE;

/// Where the agent's own files are.
pub(crate) const DIRECTORY: &str = "/run/mount-tracer";
pub(crate) const SOCKET: &str = "/run/mount-tracer/agent.sock";
pub(crate) const TABLES: &str = r#"{"version":1,"query":"tables"}"#;
pub(crate) const SECTIONS: &str = r#"{"version":1,"query":"sections"}"#;
pub(crate) const AUDIT: &str = r#"{"version":1,"query":"audit"}"#;

/// A connection to the agent's socket.
pub(crate) struct Client {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Client {
    pub(crate) fn connect() -> Result<Self> {
        Self::patient(LINE)
    }

    /// One that waits so long for each line.
    pub(crate) fn patient(time: Duration) -> Result<Self> {
        let stream = UnixStream::connect(SOCKET).with_context(|| format!("cannot connect to {SOCKET}"))?;
        stream.set_read_timeout(Some(time))?;
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

/// Where the agent answers scrapes when nothing else is said.
pub(crate) const METRICS: &str = "127.0.0.1:10912";

/// What came back for a request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// A request's bytes, and all that comes back for them until the other side hangs up.
    pub(crate) fn to(address: &str, request: &[u8]) -> Result<Self> {
        let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(LINE))?;
        // It may hang up before it has read everything.
        let _ = stream.write_all(request);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).with_context(|| format!("no answer of {address}"))?;
        Self::parse(&String::from_utf8(bytes).context("an answer that is not UTF-8")?)
    }

    /// GET /metrics.
    pub(crate) fn scrape(address: &str) -> Result<Self> {
        Self::get(address, "/metrics")
    }

    /// GET of a page.
    pub(crate) fn get(address: &str, page: &str) -> Result<Self> {
        Self::to(address, format!("GET {page} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
    }

    fn parse(text: &str) -> Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no end of the head in {text:?}"))?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").with_context(|| format!("no header: {line:?}"))?;
            Ok((name.to_lowercase(), value.to_owned()))
        };
        let status = status.with_context(|| format!("no status in {head:?}"))?;
        Ok(Self { status, headers: lines.map(header).collect::<Result<_>>()?, body: body.to_owned() })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
    }

    /// The value of a series, as the text has it.
    pub(crate) fn value(&self, series: &str) -> Result<u64> {
        let line = self.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = line.with_context(|| format!("no {series} in {}", self.body))?;
        value.parse().with_context(|| format!("{series} is {value}"))
    }
}
