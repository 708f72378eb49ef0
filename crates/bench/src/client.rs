//! An HTTP client as light as a load generator has to be: it shares two cores with what it measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderName, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Servers close idle connections, ours after 10 s.
const FRESH: Duration = Duration::from_secs(5);

/// A command over HTTP.
#[derive(Clone, Debug)]
pub struct Post {
    pub path: &'static str,
    /// Signed beforehand: signing is no part of what is measured.
    pub token: Option<Arc<str>>,
    pub idempotency_key: Uuid,
    /// JSON, or nothing.
    pub body: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub location: Option<String>,
    pub retry_after_s: Option<u64>,
    pub body: Bytes,
}

/// One connection, kept alive.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    used_at: Instant,
    /// Moves the bytes; ends with the connection.
    _driver: JoinSet<()>,
}

impl Connection {
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("nobody listens on {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        // Its failure is told to whoever waits for an answer.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { sender, host: address.to_string(), used_at: Instant::now(), _driver: driver })
    }

    /// Whether it was used so recently that the server has surely not closed it.
    pub fn is_fresh(&self) -> bool {
        self.used_at.elapsed() < FRESH && !self.sender.is_closed()
    }

    /// Sends, and waits for the answer.
    ///
    /// # Errors
    /// When the connection ends before, or the answer takes longer than a minute.
    pub async fn post(&mut self, post: Post) -> Result<Answer> {
        let mut request = Request::post(post.path)
            .header(header::HOST, &self.host)
            .header(IDEMPOTENCY_KEY, post.idempotency_key.to_string());
        if let Some(token) = &post.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !post.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::from(post.body))?;
        let exchange = async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
        };
        let (head, body) = timeout(ANSWER_LIMIT, exchange).await.context("no answer")??;
        self.used_at = Instant::now();
        let text = |name| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
        Ok(Answer {
            status: head.status,
            location: text(header::LOCATION),
            retry_after_s: text(header::RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
            body,
        })
    }
}

/// A closed loop: each connection sends its next request when it has the answer to its last.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    pub address: SocketAddr,
    /// Connections, and so requests at once.
    pub at_once: usize,
    /// What goes before and does not count.
    pub warm_up: Duration,
    pub measured: Duration,
    /// Everything else is a failure.
    pub expected: StatusCode,
}

impl Closed {
    /// Sends what `make` makes; answers the time of each request that counts, in ms, and the number of all.
    ///
    /// # Errors
    /// When one is answered otherwise than expected.
    pub async fn run(self, make: impl Fn() -> Post + Clone + Send + 'static) -> Result<(Vec<f64>, u64)> {
        let begun = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..self.at_once {
            workers.spawn(self.one(begun, make.clone()));
        }
        let (mut took_ms, mut sent) = (Vec::new(), 0);
        while let Some(ended) = workers.join_next().await {
            let (of_one, sent_by_it) = ended.context("a connection was cut off")??;
            took_ms.extend(of_one);
            sent += sent_by_it;
        }
        Ok((took_ms, sent))
    }

    async fn one(self, begun: Instant, make: impl Fn() -> Post) -> Result<(Vec<f64>, u64)> {
        let counts_from = begun + self.warm_up;
        let until = counts_from + self.measured;
        let mut connection = Connection::open(self.address).await?;
        let (mut took_ms, mut sent) = (Vec::new(), 0);
        loop {
            let at = Instant::now();
            if at >= until {
                return Ok((took_ms, sent));
            }
            let answer = connection.post(make()).await?;
            let told = || String::from_utf8_lossy(&answer.body).into_owned();
            ensure!(answer.status == self.expected, "{}: {}", answer.status, told());
            sent += 1;
            let now = Instant::now();
            if (counts_from..until).contains(&now) {
                took_ms.push(now.duration_since(at).as_secs_f64() * 1_000.0);
            }
        }
    }
}
