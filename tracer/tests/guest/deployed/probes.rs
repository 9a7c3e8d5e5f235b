//! A manifest's probes, asked as a kubelet asks them: so often, for so long, and given up after so many failures.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::kubelet::{NODE_IP, text};

/// Asks until it succeeds. A readiness probe is asked for ever; here as often as the other may fail.
pub(super) fn await_success(probe: &Value, ports: &Value, is_running: impl Fn() -> Result<bool>) -> Result<()> {
    const FAILURES: u64 = 60;
    let seconds = |name: &str| probe[name].as_u64().map(Duration::from_secs).with_context(|| format!("no {name}"));
    let (period, patience) = (seconds("periodSeconds")?, seconds("timeoutSeconds")?);
    let failures = probe["failureThreshold"].as_u64().unwrap_or(FAILURES);
    let path = text(&probe["httpGet"]["path"]);
    let ports = ports.as_array().context("no ports")?;
    let port = ports.iter().find(|port| port["name"] == probe["httpGet"]["port"]).context("no such port")?;
    let address = format!("{NODE_IP}:{}", port["containerPort"]).parse()?;
    for _ in 0..failures {
        if succeeds(address, path, patience).unwrap_or(false) {
            return Ok(());
        }
        ensure!(is_running()?, "it has ended");
        thread::sleep(period);
    }
    Err(anyhow::anyhow!("{failures} times in a row"))
}

fn succeeds(address: SocketAddr, path: &str, patience: Duration) -> Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    // Any status from 200 to 399 is a success to a kubelet.
    Ok(answer.starts_with("HTTP/1.1 2") || answer.starts_with("HTTP/1.1 3"))
}
