//! Each caller's share of requests, counted in Redis for all processes together; by each for itself where there is no Redis, or where
//! it does not answer. A limit never makes a request fail that is within it.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daybook_service::metrics::{Counters, MetricsError};
use daybook_service::{Clock, Metrics, Secret, settings};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::time::timeout;
use uuid::Uuid;

use crate::quota::{Quota, Verdict};
use crate::wakes::BadRedisUrl;

/// What stands before a caller's id in Redis.
const KEY_PREFIX: &str = "daybook:limit:";

const SCRIPT: &str = include_str!("rate_limit.lua");

/// How long Redis may take; a request does not wait longer for being counted.
const ANSWER_LIMIT: Duration = Duration::from_millis(100);

/// For how long Redis is not asked after it has failed to answer.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

/// The most callers that a process counts by itself.
pub(crate) const CALLERS_MAX: usize = 100_000;

/// Locks among which callers are spread.
const SHARDS: usize = 16;

/// Judges requests by who sends them. Share one per process.
pub struct RateLimits {
    quota: Quota,
    local: Local,
    shared: Option<InRedis>,
    clock: Arc<dyn Clock>,
}

impl RateLimits {
    /// By the settings; in Redis if there is an address.
    ///
    /// # Errors
    /// When the address cannot be read, or a metric has the name of this one's.
    pub fn new(
        http: &settings::Http,
        redis: Option<&Secret<String>>,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<Self, RateLimitsError> {
        let quota = Quota {
            requests: http.rate_limit_requests,
            window: Duration::from_secs(http.rate_limit_window_seconds.into()),
        };
        let shared = redis.map(|url| InRedis::new(url, metrics)).transpose()?;
        Ok(Self { quota, local: Local::default(), shared, clock })
    }

    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }

    /// Counts a request of this caller, and says whether it is within the limit.
    pub(crate) async fn judge(&self, caller: Uuid) -> Verdict {
        let now = self.clock.elapsed();
        if let Some(shared) = &self.shared
            && let Some(verdict) = shared.judge(self.quota, caller, now).await
        {
            return verdict;
        }
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.local.judge(self.quota, caller, now)
    }
}

/// Rate limits cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum RateLimitsError {
    /// The address of Redis.
    #[error(transparent)]
    Url(#[from] BadRedisUrl),
    /// The metric.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// When each caller's debt is paid, in microseconds of this process's clock.
#[derive(Default)]
struct Local {
    hasher: std::hash::RandomState,
    shards: [Mutex<HashMap<Uuid, u64>>; SHARDS],
}

impl Local {
    fn judge(&self, quota: Quota, caller: Uuid, now: u64) -> Verdict {
        let hash = self.hasher.hash_one(caller);
        let shard = usize::try_from(hash % SHARDS as u64).expect("a shard is below SHARDS");
        // A panic while it was held can't have broken a map of numbers.
        let mut paid_at = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if paid_at.len() >= CALLERS_MAX / SHARDS && !paid_at.contains_key(&caller) {
            make_room(&mut paid_at, now);
        }
        quota.judge(paid_at.entry(caller).or_default(), now)
    }
}

/// Forgets who owes nothing; where almost everybody does, all: it admits a few too many, which is better than refusing somebody new.
fn make_room(paid_at: &mut HashMap<Uuid, u64>, now: u64) {
    let before = paid_at.len();
    paid_at.retain(|_, paid_at| *paid_at > now);
    // Looking through all of them has to be worth while.
    if paid_at.len() > before / 2 {
        paid_at.clear();
    }
}

/// The same in Redis.
struct InRedis {
    manager: ConnectionManager,
    /// When it may be asked again, by the process's clock; it is away until then.
    away_until: Mutex<Option<Duration>>,
    judged_locally: Counters<0>,
}

impl InRedis {
    fn new(url: &Secret<String>, metrics: &Metrics) -> Result<Self, RateLimitsError> {
        let client = redis::Client::open(url.expose().as_str()).map_err(|_| BadRedisUrl)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(AWAY_PAUSE))
            .set_response_timeout(Some(ANSWER_LIMIT));
        let manager = ConnectionManager::new_lazy_with_config(client, config).map_err(|_| BadRedisUrl)?;
        let judged_locally = metrics.counter(
            "daybook_rate_limits_local_total",
            "Requests that were counted by the process itself because Redis did not answer.",
            [],
        )?;
        Ok(Self { manager, away_until: Mutex::default(), judged_locally })
    }

    /// `None`: Redis does not answer.
    async fn judge(&self, quota: Quota, caller: Uuid, now: Duration) -> Option<Verdict> {
        if self.away_until().is_some_and(|until| now < until) {
            self.judged_locally.with([]).inc();
            return None;
        }
        let asked = timeout(ANSWER_LIMIT, self.ask(quota, caller)).await;
        match asked.map_err(|_| "no answer in time".to_owned()).and_then(|asked| asked.map_err(|e| e.to_string())) {
            Ok((is_admitted, debt)) => {
                if self.away_until().take().is_some() {
                    tracing::info!("redis counts requests again");
                }
                Some(quota.verdict(is_admitted, debt))
            }
            Err(error) => {
                self.judged_locally.with([]).inc();
                if self.away_until().replace(now + AWAY_PAUSE).is_none() {
                    tracing::warn!(error, "redis does not count requests; this process does it for itself");
                }
                None
            }
        }
    }

    async fn ask(&self, quota: Quota, caller: Uuid) -> redis::RedisResult<(bool, u64)> {
        let mut command = redis::cmd("EVAL");
        command.arg(SCRIPT).arg(1).arg(format!("{KEY_PREFIX}{caller}")).arg(quota.price()).arg(quota.debt_max());
        command.query_async(&mut self.manager.clone()).await
    }

    /// A panic while it was held can't have broken a number.
    fn away_until(&self) -> std::sync::MutexGuard<'_, Option<Duration>> {
        self.away_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const QUOTA: Quota = Quota { requests: 3, window: Duration::from_secs(30) };

    /// A clock that is moved by hand.
    #[derive(Default)]
    struct HandClock(Mutex<Duration>);

    impl HandClock {
        fn advance(&self, by: Duration) {
            *self.0.lock().unwrap() += by;
        }
    }

    impl Clock for HandClock {
        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn elapsed(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    fn limits(clock: &Arc<HandClock>) -> RateLimits {
        RateLimits { quota: QUOTA, local: Local::default(), shared: None, clock: Arc::clone(clock) as Arc<_> }
    }

    #[tokio::test]
    async fn every_caller_has_a_quota_of_its_own() {
        let clock = Arc::new(HandClock::default());
        let limits = limits(&clock);
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for _ in 0..3 {
            assert!(limits.judge(first).await.is_admitted);
        }
        assert!(!limits.judge(first).await.is_admitted);
        assert!(limits.judge(second).await.is_admitted);
        clock.advance(Duration::from_secs(10));
        assert!(limits.judge(first).await.is_admitted);
        assert!(!limits.judge(first).await.is_admitted);
    }

    #[test]
    fn the_number_of_callers_is_bounded() {
        let local = Local::default();
        for caller in 0..3 * CALLERS_MAX as u128 {
            local.judge(QUOTA, Uuid::from_u128(caller), 0);
        }
        let kept: usize = local.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= CALLERS_MAX, "{kept}");
    }

    #[test]
    fn room_is_made_by_forgetting_who_owes_nothing() {
        let mut paid_at = HashMap::from([(Uuid::from_u128(1), 5), (Uuid::from_u128(2), 6), (Uuid::from_u128(3), 20)]);
        make_room(&mut paid_at, 10);
        assert_eq!(paid_at, HashMap::from([(Uuid::from_u128(3), 20)]));
    }
}
