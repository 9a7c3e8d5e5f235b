//! `/metrics` by HTTP, for whoever reaches the address: so everything here has a limit, and the loop is asked only now and
//! then, however often somebody scrapes.

use std::{convert::Infallible, io, net::TcpListener as StdListener, sync::Arc, time::Duration};

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

use super::{asks::Asks, doors::patiently};
use crate::output::metrics;

/// Connections at once; more wait in the kernel.
const CONNECTIONS: usize = 16;
/// How long a connection may take from its beginning to its end: it has one request.
const CONNECTION: Duration = Duration::from_secs(10);
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Lines of a request's head.
const HEADERS: usize = 64;
/// A text that is younger is given again.
const FRESH: Duration = Duration::from_millis(200);
/// The one page.
const PATH: &str = "/metrics";

/// Answers scrapes.
pub(super) async fn serve(listener: StdListener, asks: Asks) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (places, page) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Page { asks, last: Mutex::default() }));
    // Nobody closes the semaphore.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let ((connection, _), page) = (patiently(async || listener.accept().await).await, Arc::clone(&page));
        tokio::spawn(async move {
            let _place = place;
            // Who is too slow is hung up on.
            let _ = timeout(CONNECTION, attend(connection, &page)).await;
        });
    }
    Ok(())
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

/// The page, and what it was last.
struct Page {
    asks: Asks,
    last: Mutex<Option<(Instant, String)>>,
}

impl Page {
    async fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        match (request.uri().path(), request.method()) {
            (PATH, &Method::GET) => match self.text().await {
                Some(text) => response(StatusCode::OK, text, (CONTENT_TYPE, metrics::CONTENT_TYPE)),
                None => plain(StatusCode::SERVICE_UNAVAILABLE, "the agent is ending, or has no time to answer\n"),
            },
            (PATH, _) => response(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned(), (ALLOW, "GET")),
            _ => plain(StatusCode::NOT_FOUND, "there is only /metrics\n"),
        }
    }

    /// The figures of the loop as text. Who comes while it is asked waits for the same answer.
    async fn text(&self) -> Option<String> {
        let mut last = self.last.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < FRESH
        {
            return Some(text.clone());
        }
        let text = metrics::text(&self.asks.figures().await?).ok()?;
        *last = Some((Instant::now(), text.clone()));
        Some(text)
    }
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
