//! The doors by which a running agent answers, in a thread of their own: whoever is slow there holds up nobody but itself.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    str::FromStr,
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::{net::UnixListener, runtime, sync::mpsc::Receiver, time::sleep};

use super::{
    AgentError,
    asks::{Ask, Asks, way},
    door::{self, Door},
    lock::{Lock, LockError},
    metrics_door,
};
use crate::output::say::{chain, note};

/// Where the agent's lock and socket are.
pub const DIRECTORY: &str = "/run/mount-tracer";

/// How long to wait until the kernel is asked again.
const BREATH: Duration = Duration::from_millis(100);

/// Why an agent does not start.
#[derive(Debug, Error)]
pub enum DoorsError {
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Nothing can listen where metrics were wanted.
    #[error("cannot listen at {address} for /metrics; name another --metrics-address, or none")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where `/metrics` is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metrics {
    /// At [`Self::DEFAULT`], if that is free.
    #[default]
    Default,
    /// Here.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

impl Metrics {
    /// Where only the node itself can ask. The ports that exporters take by custom, 9100 to 9999, are all given away.
    pub const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10912);

    /// Listens there. An address that somebody typed has to be had; the default one need not.
    fn listen(self) -> Result<Option<TcpListener>, DoorsError> {
        let address = match self {
            Self::Default => Self::DEFAULT,
            Self::At(address) => address,
            Self::Off => return Ok(None),
        };
        match TcpListener::bind(address).map_err(|source| DoorsError::Metrics { address, source }) {
            Ok(listener) => Ok(Some(listener)),
            Err(error) if self == Self::Default => {
                note(format_args!("note: no metrics: {}", chain(&error)));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl FromStr for Metrics {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Off);
        }
        let example = Self::DEFAULT;
        text.parse()
            .map(Self::At)
            .map_err(|_| format!("write an address and a port, as {example} or [::1]:10912, or none"))
    }
}

/// The doors of an agent that is about to start; closed when this is dropped.
#[derive(Debug)]
pub struct Doors {
    // The name goes before the lock does: it must not be another agent's.
    control: Option<Door>,
    metrics: Option<TcpListener>,
    _lock: Option<Lock>,
}

impl Doors {
    /// Makes sure that no other agent runs on this node, and makes what clients will come by. What cannot be made is said,
    /// and done without: limits matter more.
    pub fn make(directory: &Path, metrics: Metrics) -> Result<Self, DoorsError> {
        let lock = match Lock::take(directory) {
            Ok(lock) => Some(lock),
            Err(error @ LockError::Held { .. }) => return Err(error.into()),
            Err(error) => {
                note(format_args!("note: nobody can ask this agent, nor is another one noticed: {}", chain(&error)));
                None
            }
        };
        let control = lock.as_ref().and_then(|lock| {
            let made = Door::make(&lock.directory);
            made.map_err(|error| note(format_args!("note: nobody can ask this agent: {}", chain(&error)))).ok()
        });
        Ok(Self { control, metrics: metrics.listen()?, _lock: lock })
    }

    /// Opens them; what comes in by them.
    pub(super) fn open(&mut self) -> Result<Receiver<Ask>, AgentError> {
        let (asks, asked) = way();
        let (control, metrics) = (self.control.as_mut().and_then(Door::take), self.metrics.take());
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(AgentError::Runtime)?;
        // Here and not in the thread: who is told that the agent is ready can ask it.
        let listening = {
            let _inside = runtime.enter();
            control.map(door::listen).transpose()
        };
        let control = listening.unwrap_or_else(|error| {
            note(format_args!("note: nobody can ask this agent: cannot listen at its socket: {error}"));
            None
        });
        let serve = move || runtime.block_on(serve(control, metrics, asks));
        thread::Builder::new().name("doors".to_owned()).spawn(serve).map_err(AgentError::DoorsThread)?;
        Ok(asked)
    }
}

async fn serve(control: Option<UnixListener>, metrics: Option<TcpListener>, asks: Asks) {
    let control = async {
        if let Some(listener) = control {
            door::serve(listener, asks.clone()).await;
        }
    };
    let metrics = async {
        if let Some(listener) = metrics
            && let Err(error) = metrics_door::serve(listener, asks.clone()).await
        {
            note(format_args!("note: no metrics: cannot listen: {error}"));
        }
    };
    tokio::join!(control, metrics);
}

/// Who comes next. When the kernel gives nobody (no descriptor left, say), it is asked again after a while.
pub(super) async fn patiently<T>(accept: impl AsyncFn() -> io::Result<T>) -> T {
    loop {
        match accept().await {
            Ok(comer) => return comer,
            Err(_) => sleep(BREATH).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_numbers() {
        assert_eq!("none".parse(), Ok(Metrics::Off));
        assert_eq!("0.0.0.0:1".parse(), Ok(Metrics::At(([0, 0, 0, 0], 1).into())));
        assert!(matches!("[::1]:9".parse(), Ok(Metrics::At(SocketAddr::V6(_)))));
        for wrong in ["", "off", ":10912", "127.0.0.1", "127.0.0.1:65536", "localhost:10912", "::1:9"] {
            let error = wrong.parse::<Metrics>().unwrap_err();
            assert!(error.contains("127.0.0.1:10912"), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn only_a_typed_address_has_to_be_had() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let typed = Metrics::At(taken.local_addr().unwrap());
        assert!(matches!(typed.listen(), Err(DoorsError::Metrics { .. })));
        drop(taken);
        assert!(matches!(typed.listen(), Ok(Some(_))));
        assert!(matches!(Metrics::Off.listen(), Ok(None)));
        // Whoever has the default address already is no error.
        assert!(Metrics::Default.listen().is_ok() && Metrics::Default.listen().is_ok());
    }
}
