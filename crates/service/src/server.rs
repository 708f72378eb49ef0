//! HTTP/1.1 for any router, bounded in every direction: connections, headers that don't come, bodies that don't come, and
//! the time to end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::ServiceExt as _;
use tower_http::timeout::RequestBodyDeadlineLayer;

use crate::drain::Drain;
use crate::settings;

/// How long a client may take for a request's head; also how long an idle connection is kept.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The most header fields of a request.
const HEADERS_MAX: usize = 64;

/// The most bytes of a request's head.
const HEAD_MAX_BYTES: usize = 32 * 1024;

/// Accepting fails when the process has no file descriptors left; trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server allows its clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most connections at once; more wait in the listen queue.
    pub max_connections: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
    /// How long a request's body may take to arrive, counted from its first read.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_connections: 256, header_timeout: HEADER_TIMEOUT, body_timeout: Duration::from_secs(30) }
    }
}

impl From<&settings::Http> for Limits {
    fn from(http: &settings::Http) -> Self {
        let request_timeout = Duration::from_millis(http.request_timeout_ms);
        Limits {
            max_connections: http.max_connections,
            header_timeout: HEADER_TIMEOUT.min(request_timeout),
            body_timeout: request_timeout,
        }
    }
}

/// Serves `router` on `listener` until `drain` begins: then no connection is accepted, those that are open end
/// after the request they are in, and what is left when the time is up is cut. Handlers find the client's address as
/// `ConnectInfo<SocketAddr>`. Sizes of bodies are the router's own business.
///
/// # Errors
/// None: what goes wrong with one connection is that connection's end.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, drain: Drain) -> Result<(), Infallible> {
    // With its state, although there is none, so that handlers are put into their layers now instead of for each request.
    let router = router.layer(RequestBodyDeadlineLayer::new(limits.body_timeout)).with_state(());
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let mut connections = JoinSet::new();
    while let Some((stream, peer, permit)) = next(&listener, &permits, &drain).await {
        while connections.try_join_next().is_some() {}
        let (router, limits, drain) = (router.clone(), limits.clone(), drain.clone());
        connections.spawn(async move {
            converse(stream, peer, router, &limits, &drain).await;
            drop(permit);
        });
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = all_ended => {}
        () = drain.time_is_up() => {}
    }
    connections.shutdown().await;
    Ok(())
}

/// The next connection and its place among those allowed; `None` when the drain begins.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    drain: &Drain,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = async {
        let permit = Arc::clone(permits).acquire_owned().await.expect("this semaphore is never closed");
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, permit),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = drain.begun() => None,
        accepted = accepted => Some(accepted),
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, limits: &Limits, drain: &Drain) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection without nodelay");
    }
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = drain.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        // Clients go away all the time; that is theirs to know.
        tracing::debug!(%error, "connection ended early");
    }
}
