//! The public API, put together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use daybook_facade::{
    Backlog, LogPublisher, Overload, RateLimits, ReadMount, RequestHasher, StoreReads, Tokens, Wakes, Watched,
};
use daybook_log::Log;
use daybook_service::{Metrics, Section, SystemClock};
use daybook_store::Reads;

use crate::leaves::{self, Live};

/// Sections of the settings that the API needs beside `[log]` and `[store]`.
pub const NEEDS: &[Section] = &[Section::Vault, Section::Auth, Section::Payments];

/// Where the payment provider's notices come in.
pub const WEBHOOK_PATH: &str = "/webhooks/payments";

/// Name under which the API publishes.
const PUBLISHER: &str = "api";

/// The router: commands, the read routes of all projections, notices of the provider.
///
/// # Errors
/// For settings that can't be.
pub fn router(
    live: &Live,
    log: &Arc<Log>,
    reads: Reads,
    wakes: Wakes,
    overload: Overload,
    metrics: &Metrics,
) -> Result<Router> {
    let settings = &live.settings;
    let clock = Arc::new(SystemClock::default());
    let longest = Duration::from_millis(settings.http.request_timeout_ms);
    let publisher = LogPublisher::new(log.requests(PUBLISHER, longest)?, Arc::clone(log.registry()));
    let tokens = Tokens::new(&settings.auth, clock.clone()).context("no client for auth.jwks_url can be made")?;
    let redis = settings.cache.redis_url.as_ref();
    let limits = RateLimits::new(&settings.http, redis, clock.clone(), metrics)?;
    let webhook_secret = settings.payments.webhook_secret.clone();
    let facade = daybook_facade::Deps {
        publisher: Arc::new(publisher),
        reads: Arc::new(StoreReads::new(reads)),
        ends: Arc::clone(log) as Arc<_>,
        tokens: Arc::new(tokens),
        limits: Arc::new(limits),
        overload,
        // A secret that every process of the API has, whichever way tokens are signed.
        hasher: RequestHasher::new(webhook_secret.expose().as_bytes()),
        wakes,
        metrics: metrics.clone(),
        clock,
        http: settings.http.clone(),
    };
    let deps =
        ::api::Deps { facade, vault: live.vault()?, webhook_secret, reads: ReadMount::of(&leaves::described()?) };
    Ok(::api::router(deps)?)
}

/// What tells the API how far behind the parts are. Nobody waits for one whose effects are detached: a slow mail server is no
/// reason to refuse.
///
/// # Errors
/// When other metrics have the names of its own.
pub fn backlog(live: &Live, log: &Arc<Log>, reads: Reads, metrics: &Metrics) -> Result<Backlog> {
    let specs = leaves::specs()?;
    let waited_for = specs.iter().filter(|spec| spec.effects.as_ref().is_none_or(|policy| !policy.detached));
    let parts = waited_for.map(|spec| Watched { part: spec.name, topic: spec.input }).collect();
    let target = Duration::from_secs(live.settings.http.backlog_target_seconds);
    Ok(Backlog::new(Arc::new(StoreReads::new(reads)), Arc::clone(log) as Arc<_>, parts, target, metrics)?)
}
