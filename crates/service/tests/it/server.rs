//! The HTTP server, its health routes, and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use daybook_service::server::{Limits, serve};
use daybook_service::{Drain, Health, Metrics, SystemClock};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

struct Running {
    address: SocketAddr,
    drain: Drain,
    served: JoinHandle<()>,
}

async fn start(router: Router, limits: Limits, drain: Drain) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let draining = drain.clone();
    let served = tokio::spawn(async move {
        let Ok(()) = serve(listener, router, limits, draining).await;
    });
    Running { address, drain, served }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Status, content type, body.
    async fn get(&self, path: &str) -> (u16, String, String) {
        let mut stream = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let text = read_all(&mut stream).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: "));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, content_type.unwrap_or_default().to_owned(), body.to_owned())
    }

    async fn stop(self) {
        self.drain.begin("test");
        self.served.await.unwrap();
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

fn short() -> Limits {
    Limits { max_connections: 8, header_timeout: Duration::from_millis(200), body_timeout: Duration::from_millis(200) }
}

fn health(drain: &Drain) -> Health {
    Health::new(Metrics::new().unwrap(), drain.clone(), Arc::new(SystemClock::default()))
}

#[tokio::test]
async fn health_follows_its_checks() {
    let drain = Drain::default();
    let health = health(&drain);
    let (postgres, kafka) = (health.check("postgres"), health.check("kafka"));
    let server = start(health.router(), short(), drain).await;

    assert_eq!(server.get("/livez").await.0, 200);
    assert_eq!(server.get("/startupz").await.0, 503);
    postgres.ok();
    kafka.failed("broker unreachable");
    assert_eq!(server.get("/startupz").await.0, 200);
    let (status, _, body) = server.get("/readyz").await;
    assert_eq!((status, body.as_str()), (503, "kafka: broker unreachable\n"));
    assert_eq!(server.get("/readyz/postgres").await.0, 200);
    assert_eq!(server.get("/readyz/kafka").await.0, 503);
    assert_eq!(server.get("/readyz/other").await.0, 404);

    let (status, content_type, body) = server.get("/health").await;
    assert_eq!((status, content_type.as_str()), (503, "application/health+json"));
    let document: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["status"], "fail");
    assert_eq!(document["checks"]["postgres"][0]["status"], "pass");
    assert_eq!(document["checks"]["kafka"][0]["output"], "broker unreachable");

    kafka.degraded("slow");
    assert_eq!(server.get("/readyz").await.0, 200);
    let (status, _, body) = server.get("/health").await;
    assert_eq!(status, 200);
    assert!(body.contains("\"status\":\"warn\""), "{body}");
    let (status, content_type, body) = server.get("/metrics").await;
    assert_eq!((status, content_type.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert!(body.contains("daybook_build_info"));
    server.stop().await;
    assert!(!health.is_ready());
}

#[tokio::test]
async fn a_client_that_sends_its_head_slowly_is_cut() {
    let server = start(Router::new().route("/", get(|| async { "ok" })), short(), Drain::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(20), read_all(&mut stream)).await;
    assert!(!answer.expect("the server must close the connection").contains("200 OK"));

    let mut silent = server.connect().await;
    let answer = tokio::time::timeout(Duration::from_secs(20), read_all(&mut silent)).await;
    assert_eq!(answer.expect("the server must close a silent connection"), "");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_its_body_slowly_is_cut() {
    let echo = Router::new().route("/", post(|body: String| async { body }));
    let server = start(echo, short(), Drain::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc").await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(20), read_all(&mut stream)).await;
    let answer = answer.expect("the server must answer and close");
    assert!(!answer.contains("200 OK"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_handler_knows_who_calls() {
    let who = Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }));
    let server = start(who, short(), Drain::default()).await;
    assert_eq!(server.get("/").await.2, "127.0.0.1");
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let limits = Limits { max_connections: 1, header_timeout: Duration::from_secs(30), ..short() };
    let server = start(Router::new().route("/", get(|| async { "ok" })), limits, Drain::default()).await;
    let mut first = server.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();

    let mut second = server.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut byte)).await;
    assert!(waited.is_err(), "the second must wait while the first is open");
    drop(first);
    assert!(read_all(&mut second).await.contains("200 OK"));
    server.stop().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_during_the_drain() {
    let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (reaches, goes_on) = (Arc::clone(&reached), Arc::clone(&go_on));
    let handler = move || {
        let (reaches, goes_on) = (Arc::clone(&reaches), Arc::clone(&goes_on));
        async move {
            reaches.notify_one();
            goes_on.notified().await;
            "finished"
        }
    };
    let server = start(Router::new().route("/", get(handler)), short(), Drain::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    reached.notified().await;
    server.drain.begin("test");
    go_on.notify_one();
    assert!(read_all(&mut stream).await.ends_with("finished"));
    server.served.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_when_the_time_is_up() {
    let reached = Arc::new(Notify::new());
    let reaches = Arc::clone(&reached);
    let handler = move || {
        let reaches = Arc::clone(&reaches);
        async move {
            reaches.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let drain = Drain::new(Duration::from_millis(200));
    let server = start(Router::new().route("/", get(handler)), short(), drain).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    reached.notified().await;
    server.stop().await;
    assert_eq!(read_all(&mut stream).await, "");
}
