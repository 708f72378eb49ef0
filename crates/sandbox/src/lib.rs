#![doc = include_str!("../README.md")]

mod answer;
mod books;
mod cards;
mod clock;
mod control;
mod decide;
mod error;
mod faults;
mod form;
mod http;
mod ids;
mod keys;
mod listing;
mod provider;
mod reads;
mod request;
mod server;
mod signature;
mod stats;
mod store;
mod webhooks;
mod wire;

pub use clock::{Clock, SystemClock};
pub use decide::Fees;
pub use faults::{Fault, Faults};
pub use signature::sign;
pub use store::Error as StoreError;
pub use webhooks::Webhook;

use provider::{Provider, Settings};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long requests that are running may take to end after the stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a sandbox needs to run.
#[derive(Clone)]
pub struct Config {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Holds the log; made if absent. One process at a time.
    pub data_dir: PathBuf,
    /// The key that callers present, such as `sk_test_…`.
    pub api_key: String,
    /// Where events go; without it there are none.
    pub webhook: Option<Webhook>,
    /// How long an idempotency key is honored. Stripe keeps them 24 hours.
    pub key_lifetime: Duration,
    pub faults: Faults,
    pub fees: Fees,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("setting {name}: {cure}")]
    Setting { name: &'static str, cure: String },
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    #[error("cannot set up the client that delivers webhooks")]
    Client(#[from] reqwest::Error),
    #[error("the store cannot be written any more")]
    StoreFailed,
    #[error("the server panicked")]
    Panicked,
}

/// A sandbox that is being served. Dropping it leaves the sandbox running; `stop` ends it.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Stops taking requests, lets those under way end, and closes the log.
    ///
    /// # Errors
    /// The store failed before.
    pub async fn stop(self) -> Result<(), Error> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits until the sandbox ends by itself, which it does only if its store fails.
    async fn ended(self) -> Result<(), Error> {
        self.server.await.unwrap_or(Err(Error::Panicked))
    }
}

/// Serves until `shutdown` resolves.
///
/// # Errors
/// A setting makes no sense, the address or the store can't be used, or the store fails later.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let mut running = serve(config).await?;
    tokio::select! {
        ended = &mut running.server => ended.unwrap_or(Err(Error::Panicked)),
        () = shutdown => running.stop().await,
    }
}

/// Opens the store, listens, and serves in the background.
///
/// # Errors
/// A setting makes no sense, or the address or the store can't be used.
pub async fn serve(config: Config) -> Result<Running, Error> {
    serve_at(config, Arc::new(SystemClock)).await
}

/// The same with a clock of the caller's.
///
/// # Errors
/// As for [`serve`].
#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own: it needs neither a clock nor tasks of the platform's"
)]
pub async fn serve_at(config: Config, clock: Arc<dyn Clock>) -> Result<Running, Error> {
    check(&config)?;
    let client = webhooks::client()?;
    let settings = Settings {
        faults: config.faults.clone(),
        key_lifetime_ms: u64::try_from(config.key_lifetime.as_millis()).unwrap_or(u64::MAX),
        fees: config.fees,
    };
    // Ids of two stores must differ, or a consumer of both would take one payment for the other.
    let (fresh_seed, _) = Uuid::new_v4().as_u64_pair();
    let provider = Provider::open(&config.data_dir, settings, config.webhook.is_some(), clock, fresh_seed)?;
    let provider = Arc::new(provider);
    let listen = |source| Error::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let addr = listener.local_addr().map_err(listen)?;
    let stop = CancellationToken::new();
    let server = tokio::spawn(supervise(provider, listener, client, config, stop.clone()));
    tracing::info!(%addr, "the payment sandbox is listening");
    Ok(Running { addr, stop, server })
}

fn check(config: &Config) -> Result<(), Error> {
    let refuse = |name, cure: &str| Err(Error::Setting { name, cure: cure.to_owned() });
    if config.api_key.is_empty() {
        return refuse("api_key", "give the key that callers present, such as sk_test_local");
    }
    if let Some(webhook) = &config.webhook {
        if !webhook.url.starts_with("http://") && !webhook.url.starts_with("https://") {
            return refuse("webhook.url", "give an address that begins with http:// or https://");
        }
        if webhook.secret.is_empty() {
            return refuse("webhook.secret", "give the secret that signs deliveries");
        }
    }
    if !config.fees.check() {
        return refuse("fees", "give a rate of at most 10000 basis points, and amounts of at most 99999999");
    }
    config.faults.check().or_else(|error| refuse("faults", &error.to_string()))
}

/// Runs the server and the deliveries, and ends both when told to, or when the store fails.
async fn supervise(
    provider: Arc<Provider>,
    listener: TcpListener,
    client: reqwest::Client,
    config: Config,
    stop: CancellationToken,
) -> Result<(), Error> {
    let app = http::App::new(Arc::clone(&provider), &config.api_key);
    let tasks = app.tasks.clone();
    let deliveries = async {
        match config.webhook {
            Some(webhook) => webhooks::deliver(Arc::clone(&provider), client, webhook, stop.clone()).await,
            None => stop.cancelled().await,
        }
    };
    let served = async {
        let (server, ()) = tokio::join!(
            async {
                server::serve(listener, http::router(app), stop.clone()).await;
                tasks.close();
                tasks.wait().await;
            },
            deliveries
        );
        server
    };
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        () = served => Ok(()),
        () = drained => {
            tracing::warn!("some requests did not end in time");
            Ok(())
        }
        () = provider.failed() => {
            stop.cancel();
            Err(Error::StoreFailed)
        }
    }
}
