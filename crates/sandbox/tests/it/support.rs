//! A sandbox in a folder of its own, a client for it, and a receiver of its webhooks.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use daybook_sandbox::{Clock, Config, Faults, Fees, Running, SystemClock, Webhook};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

pub const KEY: &str = "sk_test_suite";
pub const SECRET: &str = "whsec_suite";
const WEBHOOK_WAIT: Duration = Duration::from_secs(30);

pub fn config(folder: &Path) -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: folder.to_owned(),
        api_key: KEY.to_owned(),
        webhook: None,
        key_lifetime: Duration::from_secs(24 * 60 * 60),
        faults: Faults::default(),
        fees: Fees::default(),
    }
}

pub struct Sandbox {
    pub running: Running,
    pub client: Client,
    pub folder: TempDir,
    pub webhooks: Receiver,
}

impl Sandbox {
    pub async fn start() -> Sandbox {
        Sandbox::start_at(Arc::new(SystemClock)).await
    }

    pub async fn start_at(clock: Arc<dyn Clock>) -> Sandbox {
        Sandbox::open(tempfile::tempdir().unwrap(), Receiver::start().await, clock).await
    }

    async fn open(folder: TempDir, webhooks: Receiver, clock: Arc<dyn Clock>) -> Sandbox {
        let mut config = config(folder.path());
        config.webhook = Some(Webhook { url: webhooks.url.clone(), secret: SECRET.to_owned() });
        let running = daybook_sandbox::serve_at(config, clock).await.unwrap();
        Sandbox { client: Client::new(running.addr), running, folder, webhooks }
    }

    /// Stops and starts it on the same folder.
    pub async fn restart(self) -> Sandbox {
        self.running.stop().await.unwrap();
        Sandbox::open(self.folder, self.webhooks, Arc::new(SystemClock)).await
    }
}

/// One answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn id(&self) -> &str {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {}", self.body))
    }

    pub fn error(&self, field: &str) -> &Value {
        &self.body["error"][field]
    }

    pub fn was_replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }
}

#[derive(Clone)]
pub struct Client {
    pub http: reqwest::Client,
    pub base: String,
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        // The client wants a TLS provider, whichever test comes first.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Client { http, base: format!("http://{address}") }
    }

    pub fn post(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).bearer_auth(KEY).form(form)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base)).bearer_auth(KEY)
    }

    /// A confirmed payment of 5000 cents, to be captured by hand.
    pub fn pay(&self, card: &str) -> RequestBuilder {
        self.pay_for(card, "order-1")
    }

    /// The same, found again by this name of an order.
    pub fn pay_for(&self, card: &str, order: &str) -> RequestBuilder {
        let form = [
            ("amount", "5000"),
            ("currency", "usd"),
            ("capture_method", "manual"),
            ("confirm", "true"),
            ("payment_method", card),
            ("metadata[order]", order),
        ];
        self.post("/v1/payment_intents", &form)
    }

    pub fn capture(&self, intent: &str) -> RequestBuilder {
        self.post(&format!("/v1/payment_intents/{intent}/capture"), &[])
    }

    pub async fn books(&self) -> Value {
        send(self.get("/sandbox/books")).await.body
    }

    pub async fn stats(&self) -> Value {
        send(self.get("/sandbox/stats")).await.body
    }

    pub async fn change_settings(&self, change: Value) -> Answer {
        let url = format!("{}/sandbox/faults", self.base);
        send(self.http.put(url).bearer_auth(KEY).body(change.to_string())).await
    }

    pub async fn open_dispute(&self, intent: &str) -> Answer {
        let body = json!({ "payment_intent": intent }).to_string();
        send(self.http.post(format!("{}/sandbox/disputes", self.base)).bearer_auth(KEY).body(body)).await
    }
}

pub async fn send(request: RequestBuilder) -> Answer {
    try_send(request).await.unwrap()
}

/// An error is a connection that was closed without an answer.
pub async fn try_send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await?;
    Ok(Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

/// A webhook as it came.
#[derive(Debug)]
pub struct Delivery {
    pub signature: String,
    pub payload: String,
    pub event: Value,
}

impl Delivery {
    pub fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap()
    }
}

#[derive(Clone)]
struct Inbox {
    sender: mpsc::UnboundedSender<Delivery>,
    refusals_left: Arc<AtomicUsize>,
}

pub struct Receiver {
    pub url: String,
    inbox: mpsc::UnboundedReceiver<Delivery>,
    refusals_left: Arc<AtomicUsize>,
}

impl Receiver {
    async fn start() -> Receiver {
        let (sender, inbox) = mpsc::unbounded_channel();
        let refusals_left = Arc::new(AtomicUsize::new(0));
        let state = Inbox { sender, refusals_left: Arc::clone(&refusals_left) };
        let router = Router::new().fallback(receive).with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { url, inbox, refusals_left }
    }

    /// Answers 500 to so many deliveries from now on. They count as received.
    pub fn refuse(&self, count: usize) {
        self.refusals_left.store(count, Ordering::SeqCst);
    }

    pub async fn next(&mut self) -> Delivery {
        let next = tokio::time::timeout(WEBHOOK_WAIT, self.inbox.recv()).await;
        next.expect("a webhook comes").unwrap()
    }

    /// The types of the next so many.
    pub async fn kinds(&mut self, count: usize) -> Vec<String> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            kinds.push(self.next().await.kind().to_owned());
        }
        kinds
    }

    /// What has come by now.
    pub fn now(&mut self) -> Option<Delivery> {
        self.inbox.try_recv().ok()
    }
}

async fn receive(State(inbox): State<Inbox>, headers: HeaderMap, payload: String) -> StatusCode {
    let signature = headers["stripe-signature"].to_str().unwrap().to_owned();
    let event = serde_json::from_str(&payload).unwrap();
    inbox.sender.send(Delivery { signature, payload, event }).unwrap();
    let one_less = |left: usize| left.checked_sub(1);
    match inbox.refusals_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
        Ok(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Err(_) => StatusCode::OK,
    }
}

/// A clock that stands still until it is moved.
pub struct HandClock(AtomicU64);

impl HandClock {
    pub fn at(now_ms: u64) -> Arc<HandClock> {
        Arc::new(HandClock(AtomicU64::new(now_ms)))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
