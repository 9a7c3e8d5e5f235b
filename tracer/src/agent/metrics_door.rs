//! `/metrics`, `/livez` and `/readyz` by HTTP, for whoever reaches the address: so everything here has a limit, and the loop is asked only now
//! and then, however often somebody scrapes.

use std::{convert::Infallible, future::Future, io, net::TcpListener as StdListener, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderName},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore},
    time::{Instant, timeout},
};

use super::{
    asks::{Asks, Health},
    doors::patiently,
};
use crate::output::metrics;

/// Connections at once from the node itself, where more wait in the kernel, and as many from elsewhere.
const CONNECTIONS: usize = 16;
/// How long a connection may take from its beginning to its end: it has one request.
const CONNECTION: Duration = Duration::from_secs(10);
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Lines of a request's head.
const HEADERS: usize = 64;
/// An answer that is younger is given again.
const FRESH: Duration = Duration::from_millis(200);
/// Its pages.
const METRICS: &str = "/metrics";
const LIVE: &str = "/livez";
const READY: &str = "/readyz";

/// Answers scrapes.
pub(super) async fn serve(listener: StdListener, asks: Asks) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let page = Arc::new(Page::new(asks));
    let [near, far] = [(); 2].map(|()| Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let (connection, from) = patiently(async || listener.accept().await).await;
        // Who asks from another machine must not keep the kubelet from it, which would end the agent.
        let place = match connection.local_addr() {
            Ok(own) if own.ip() == from.ip() => Arc::clone(&near).acquire_owned().await.ok(),
            _ => Arc::clone(&far).try_acquire_owned().ok(),
        };
        // One too many is hung up on.
        let Some(place) = place else { continue };
        let page = Arc::clone(&page);
        tokio::spawn(async move {
            let _place = place;
            // Who is too slow is hung up on.
            let _ = timeout(CONNECTION, attend(connection, &page)).await;
        });
    }
}

/// One request. What is no HTTP, or too much of it, hyper refuses by itself.
async fn attend(connection: TcpStream, page: &Page) {
    let service = service_fn(async |request| Ok::<_, Infallible>(page.answer(&request).await));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(connection), service);
    // Whoever broke it off knows.
    let _ = served.await;
}

/// What the loop said last, and when.
struct Lately<T>(Mutex<Option<(Instant, T)>>);

impl<T: Clone> Lately<T> {
    /// What it said just now, or says when it is asked. Who comes while it is asked waits for the same answer.
    async fn said(&self, ask: impl Future<Output = Option<T>>) -> Option<T> {
        let mut last = self.0.lock().await;
        if let Some((at, said)) = &*last
            && at.elapsed() < FRESH
        {
            return Some(said.clone());
        }
        let said = ask.await?;
        *last = Some((Instant::now(), said.clone()));
        Some(said)
    }
}

/// All pages.
struct Page {
    asks: Asks,
    metrics: Lately<String>,
    health: Lately<Health>,
}

impl Page {
    fn new(asks: Asks) -> Self {
        Self { asks, metrics: Lately(Mutex::default()), health: Lately(Mutex::default()) }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        match (request.uri().path(), request.method()) {
            (METRICS, &Method::GET) => self.metrics().await,
            (page @ (LIVE | READY), &Method::GET) => self.health(page).await,
            (METRICS | LIVE | READY, _) => {
                response(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned(), (ALLOW, "GET"))
            }
            _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n"),
        }
    }

    /// The figures of the loop as text.
    async fn metrics(&self) -> Response<String> {
        match self.metrics.said(async { metrics::text(&self.asks.figures().await?).ok() }).await {
            Some(text) => response(StatusCode::OK, text, (CONTENT_TYPE, metrics::CONTENT_TYPE)),
            None => no_answer(),
        }
    }

    /// It lives if the loop says anything; it is ready if the loop says so.
    async fn health(&self, page: &str) -> Response<String> {
        match self.health.said(self.asks.health()).await {
            Some(Health { is_ready }) if is_ready || page == LIVE => plain(StatusCode::OK, "ok\n"),
            Some(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "mount tables are being read for the first time\n"),
            None => no_answer(),
        }
    }
}

fn no_answer() -> Response<String> {
    plain(StatusCode::SERVICE_UNAVAILABLE, "the agent is ending, or has no time to answer\n")
}

fn plain(status: StatusCode, text: &str) -> Response<String> {
    response(status, text.to_owned(), (CONTENT_TYPE, "text/plain; charset=utf-8"))
}

fn response(status: StatusCode, text: String, (name, value): (HeaderName, &'static str)) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpSocket,
        time::sleep,
    };

    use super::*;
    use crate::agent::asks::{Ask, way};

    /// A connection from an address that is not the door's own.
    async fn from_elsewhere(to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap()
    }

    #[tokio::test]
    async fn who_holds_all_places_from_elsewhere_does_not_keep_the_node_out() {
        let (listener, (asks, mut asked)) = (StdListener::bind("127.0.0.1:0").unwrap(), way());
        let address = listener.local_addr().unwrap();
        let loop_of_an_agent = async move {
            let Some(Ask::Health(reply)) = asked.recv().await else { panic!("health is asked for") };
            reply.send(Health { is_ready: true }).unwrap();
        };
        let client = async {
            let mut silent = Vec::new();
            for _ in 0..CONNECTIONS {
                silent.push(from_elsewhere(address).await);
            }
            let mut one_too_many = from_elsewhere(address).await;
            let begun = Instant::now();
            assert_eq!(one_too_many.read(&mut [0]).await.unwrap(), 0, "it is not hung up on");
            assert_eq!(get(address, LIVE).await, "HTTP/1.1 200 OK");
            assert!(begun.elapsed() < HEAD, "they were waited for");
        };
        tokio::select! {
            served = serve(listener, asks) => panic!("nobody ends it: {served:?}"),
            ((), ()) = async { tokio::join!(loop_of_an_agent, client) } => {}
        }
    }

    /// The first line of the answer.
    async fn get(address: SocketAddr, page: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {page} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn it_lives_before_it_is_ready_and_not_when_the_loop_is_gone() {
        const OK: &str = "HTTP/1.1 200 OK";
        const NOT: &str = "HTTP/1.1 503 Service Unavailable";
        let (listener, (asks, mut asked)) = (StdListener::bind("127.0.0.1:0").unwrap(), way());
        let address = listener.local_addr().unwrap();
        let loop_of_an_agent = async move {
            for is_ready in [false, true] {
                let Some(Ask::Health(reply)) = asked.recv().await else { panic!("health is asked for") };
                reply.send(Health { is_ready }).unwrap();
            }
        };
        let client = async {
            assert_eq!([get(address, LIVE).await, get(address, READY).await], [OK, NOT]);
            sleep(FRESH).await;
            assert_eq!([get(address, LIVE).await, get(address, READY).await], [OK, OK]);
            sleep(FRESH).await;
            assert_eq!([get(address, LIVE).await, get(address, READY).await], [NOT, NOT]);
        };
        tokio::select! {
            served = serve(listener, asks) => panic!("nobody ends it: {served:?}"),
            ((), ()) = async { tokio::join!(loop_of_an_agent, client) } => {}
        }
    }
}
