//! Waiting for news of an operation: Redis tells of them, and where there is no Redis, or it has lost one, asking again does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daybook_service::{Drain, Secret};
use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

/// What stands before an operation's id in the name of its channel.
const CHANNEL: &str = "daybook:operation:";

/// How soon to ask again at first, and at last.
const POLL_FIRST: Duration = Duration::from_millis(100);
const POLL_LAST: Duration = Duration::from_millis(500);

/// How long to wait before Redis is tried again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The Redis channel on which news of an operation is told, without content. Whoever runs the projections of operations tells it
/// after their commit.
pub fn wake_channel(operation_id: Uuid) -> String {
    format!("{CHANNEL}{operation_id}")
}

/// Who waits for which operation. Clones share it.
#[derive(Clone, Default)]
pub struct Wakes {
    waiting: Arc<Mutex<HashMap<Uuid, Arc<Notify>>>>,
}

impl Wakes {
    /// Wakes those who wait for this operation.
    pub fn wake(&self, operation_id: Uuid) {
        if let Some(notify) = self.waiting().get(&operation_id) {
            notify.notify_waiters();
        }
    }

    /// Listens to Redis until the drain begins; connects again whenever the connection is lost. Meanwhile waiting is slower, and
    /// nothing worse.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub async fn listen(self, url: Secret<String>, drain: Drain) -> Result<(), BadRedisUrl> {
        let client = redis::Client::open(url.expose().as_str()).map_err(|_| BadRedisUrl)?;
        loop {
            tokio::select! {
                () = drain.begun() => return Ok(()),
                ended = self.listen_once(&client) => {
                    let error = ended.err().map(|error| error.to_string());
                    tracing::warn!(error, "redis tells no news; asking the read store instead");
                }
            }
            tokio::select! {
                () = drain.begun() => return Ok(()),
                () = tokio::time::sleep(RECONNECT_PAUSE) => {}
            }
        }
    }

    async fn listen_once(&self, client: &redis::Client) -> Result<(), ListenError> {
        let mut news =
            timeout(CONNECT_TIMEOUT, client.get_async_pubsub()).await.map_err(|_| ListenError::Timeout)??;
        news.psubscribe(format!("{CHANNEL}*")).await?;
        tracing::info!("listening to redis for news of operations");
        let mut messages = news.on_message();
        while let Some(message) = messages.next().await {
            let id = message.get_channel_name().strip_prefix(CHANNEL).and_then(|id| id.parse().ok());
            if let Some(id) = id {
                self.wake(id);
            }
        }
        Ok(())
    }

    pub(crate) fn waiter(&self, operation_id: Uuid) -> Waiter {
        let notify = Arc::clone(self.waiting().entry(operation_id).or_default());
        Waiter { wakes: self.clone(), operation_id, notify, pause: POLL_FIRST }
    }

    /// A panic while it was held can't have broken a map of finished entries.
    fn waiting(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Redis's address cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cache.redis_url cannot be read: it must look like redis://:password@host:port")]
pub struct BadRedisUrl;

#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error("no connection in time")]
    Timeout,
}

/// One who waits for news of an operation.
pub(crate) struct Waiter {
    wakes: Wakes,
    operation_id: Uuid,
    notify: Arc<Notify>,
    pause: Duration,
}

impl Waiter {
    /// Runs `look` now, and again after each piece of news and each pause, until it finds something or the time is up. Listening
    /// begins before looking, so that no news falls in between.
    pub(crate) async fn find<T, E, F>(&mut self, by: Instant, mut look: impl FnMut() -> F) -> Result<Option<T>, E>
    where
        F: Future<Output = Result<Option<T>, E>>,
    {
        loop {
            let notify = Arc::clone(&self.notify);
            let mut news = std::pin::pin!(notify.notified());
            news.as_mut().enable();
            if let Some(found) = look().await? {
                return Ok(Some(found));
            }
            if Instant::now() >= by {
                return Ok(None);
            }
            let pause_ends = (Instant::now() + self.pause).min(by);
            self.pause = (self.pause * 2).min(POLL_LAST);
            tokio::select! {
                () = news => self.pause = POLL_FIRST,
                () = sleep_until(pause_ends) => {}
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.wakes.waiting();
        // The map's own and this one: nobody else waits.
        if Arc::strong_count(&self.notify) <= 2 {
            waiting.remove(&self.operation_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn news_wakes_before_the_next_look_is_due() {
        let wakes = Wakes::default();
        let id = Uuid::from_u128(1);
        let mut waiter = wakes.waiter(id);
        let begun = Instant::now();
        let mut looks = 0;
        let found = waiter.find(begun + Duration::from_secs(5), || {
            looks += 1;
            wakes.wake(id);
            ready(Ok::<_, ()>((looks == 3).then_some(looks)))
        });
        assert_eq!(found.await, Ok(Some(3)));
        assert!(begun.elapsed() < POLL_FIRST);
    }

    #[tokio::test]
    async fn without_news_it_looks_again_and_gives_up_in_time() {
        let wakes = Wakes::default();
        let begun = Instant::now();
        let by = begun + Duration::from_millis(250);
        let mut looks = 0;
        let mut waiter = wakes.waiter(Uuid::from_u128(1));
        let found = waiter.find(by, || {
            looks += 1;
            ready(Ok::<Option<()>, ()>(None))
        });
        assert_eq!(found.await, Ok(None));
        assert!((2..=4).contains(&looks), "{looks}");
        assert!(Instant::now() >= by);
        drop(waiter);
        assert!(wakes.waiting().is_empty());
    }
}
