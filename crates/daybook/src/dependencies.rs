//! Whether what the process stands on answers: asked every few seconds, told by the health routes.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use daybook_log::Log;
use daybook_service::health::Check;
use daybook_service::settings::Settings;
use daybook_service::{Drain, Health, Secret};
use daybook_store::Store;
use tokio::time::timeout;

/// How often each is asked.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// The checks of what a process stands on.
pub struct Dependencies {
    kafka: Check,
    registry: Check,
    postgres: Check,
    redis: Option<(Check, Secret<String>)>,
}

impl Dependencies {
    /// Their checks, starting.
    pub fn new(health: &Health, settings: &Settings) -> Self {
        let redis = settings.cache.redis_url.clone();
        Self {
            kafka: health.check("kafka"),
            registry: health.check("registry"),
            postgres: health.check("postgres"),
            redis: redis.map(|url| (health.check("redis"), url)),
        }
    }

    /// Asks until the drain begins.
    ///
    /// # Errors
    /// None.
    pub async fn watch(self, log: Arc<Log>, store: Store, drain: Drain) -> Result<(), Infallible> {
        loop {
            self.ask(&log, &store).await;
            tokio::select! {
                () = drain.begun() => return Ok(()),
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
        }
    }

    async fn ask(&self, log: &Log, store: &Store) {
        let kafka = async { log.admin().ends(daybook_events::topics()[0].name, 0).await };
        let redis = async {
            if let Some((check, url)) = &self.redis {
                // Waiting requests take longer without it, and nothing worse.
                told(check, Severity::Works, ping_redis(url)).await;
            }
        };
        tokio::join!(
            told(&self.kafka, Severity::Fails, kafka),
            // Schemas that are known already are not asked for again.
            told(&self.registry, Severity::Works, log.registry().ping()),
            told(&self.postgres, Severity::Fails, store.ping()),
            redis,
        );
    }
}

/// What it means when a dependency is gone.
#[derive(Clone, Copy)]
enum Severity {
    /// The process goes on, worse.
    Works,
    /// It can't do its work.
    Fails,
}

async fn told<T, E>(check: &Check, severity: Severity, question: impl Future<Output = Result<T, E>>) {
    // Errors may name addresses, and reasons are shown to everybody.
    let reason = match timeout(ANSWER_LIMIT, question).await {
        Ok(Ok(_)) => return check.ok(),
        Ok(Err(_)) => "it cannot be asked",
        Err(_) => "it does not answer in time",
    };
    match severity {
        Severity::Works => check.degraded(reason),
        Severity::Fails => check.failed(reason),
    }
}

/// # Errors
/// When it does not answer.
pub async fn ping_redis(url: &Secret<String>) -> redis::RedisResult<()> {
    let client = redis::Client::open(url.expose().as_str())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd("PING").exec_async(&mut connection).await
}
