//! IN: HTTP/2 over one connection to a runtime's socket, for gRPC to lie on. Touches that connection and nothing else.
//!
//! Whoever calls polls the connection beside the calls, in the same task: nothing is spawned, and nothing outlives the calls.

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    RecvStream,
    client::{Builder, SendRequest},
};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::{net::UnixStream, select};
use tonic::{
    body::Body,
    codegen::{
        BoxFuture, Service, StdError,
        http::{HeaderMap, Request, Response, Uri},
    },
};

use super::{Client, codec::MESSAGE};

/// Bytes of the headers and trailers of an answer: a status and its message; the crate's own limit is 16 MiB.
const HEADERS: u32 = 16 << 10;
/// What stands where a host would: gRPC wants a name there, and a unix socket has none.
const ORIGIN: &str = "http://localhost";

/// One connection, for calls.
#[derive(Clone)]
pub struct Wire {
    requests: SendRequest<Bytes>,
}

/// Makes the calls over the connection, which ends with them.
pub(super) async fn over<T>(
    connection: UnixStream,
    calls: impl AsyncFnOnce(Client) -> Result<T, tonic::Status>,
) -> Result<T, tonic::Status> {
    let mut settings = Builder::new();
    settings.enable_push(false).max_header_list_size(HEADERS);
    let opened = settings.handshake(connection).await;
    let (requests, connection) = opened.map_err(|error| tonic::Status::from_error(error.into()))?;
    let client = Client::with_origin(Wire { requests }, Uri::from_static(ORIGIN)).max_decoding_message_size(MESSAGE);
    beside(connection, calls(client)).await
}

/// Polls the connection too. When it ends, the calls learn it by themselves.
async fn beside<T>(connection: impl Future<Output = Result<(), h2::Error>>, calls: impl Future<Output = T>) -> T {
    let connection = async {
        let _ = connection.await;
        pending::<Infallible>().await
    };
    select! {
        biased;
        answer = calls => answer,
        never = connection => match never {},
    }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Answer>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    /// A call waits for its turn by itself.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let requests = self.requests.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let (response, mut stream) = requests.ready().await?.send_request(Request::from_parts(head, ()), false)?;
            stream.send_data(body, true)?;
            Ok(response.await?.map(Answer))
        })
    }
}

/// The body of an answer, as it comes.
pub struct Answer(RecvStream);

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        Poll::Ready(match ready!(self.0.poll_data(cx)) {
            Some(data) => Some(data.and_then(|data| self.taken(data))),
            None => {
                ready!(self.0.poll_trailers(cx)).map(|last: Option<HeaderMap>| last.map(Frame::trailers)).transpose()
            }
        })
    }
}

impl Answer {
    /// Lets the runtime send as much again.
    fn taken(&mut self, data: Bytes) -> Result<Frame<Bytes>, h2::Error> {
        self.0.flow_control().release_capacity(data.len())?;
        Ok(Frame::data(data))
    }
}
