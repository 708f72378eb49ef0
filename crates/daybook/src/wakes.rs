//! Tells waiting HTTP requests that there is news of their operation, once it is committed: within this process and, by Redis, in
//! every other. Whoever misses it asks again by itself, so nothing here is ever waited for.

use std::collections::HashSet;
use std::time::Duration;

use daybook_driver::Observer;
use daybook_engine::Commit;
use daybook_facade::{Wakes, wake_channel};
use daybook_service::metrics::{Counters, MetricsError};
use daybook_service::{Drain, Metrics, Secret};
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;
use uuid::Uuid;

/// How the names of the tables begin that tell of operations, and the column with the operation's id.
const TABLES: &str = "operation";
const ID_COLUMN: &str = "operation_id";

/// News that wait to be published; what is more is dropped, and only makes somebody wait longer.
const QUEUE_MAX: usize = 10_000;
/// News published in one exchange with Redis.
const AT_ONCE: usize = 500;
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How long to wait before Redis is tried again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Hears of the commits of the projections of operations.
#[derive(Clone)]
pub struct Waker {
    wakes: Wakes,
    queue: Option<Sender<Uuid>>,
    dropped: Counters<0>,
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Waker").finish_non_exhaustive()
    }
}

impl Waker {
    /// A waker, and where there is Redis what is to be published there.
    ///
    /// # Errors
    /// When another metric has the name of this one's.
    pub fn new(wakes: Wakes, metrics: &Metrics, redis: bool) -> Result<(Self, Option<Receiver<Uuid>>), MetricsError> {
        let help = "News of operations that were not told by Redis.";
        let dropped = metrics.counter("daybook_wakes_dropped_total", help, [])?;
        let (queue, told) = redis.then(|| mpsc::channel(QUEUE_MAX)).unzip();
        Ok((Self { wakes, queue, dropped }, told))
    }
}

impl Observer for Waker {
    fn committed(&self, commit: &Commit) {
        for operation_id in operations_of(commit) {
            self.wakes.wake(operation_id);
            if self.queue.as_ref().is_some_and(|queue| queue.try_send(operation_id).is_err()) {
                self.dropped.with([]).inc();
            }
        }
    }
}

fn operations_of(commit: &Commit) -> HashSet<Uuid> {
    let tables = commit.tables.iter().filter(|changes| changes.table.starts_with(TABLES));
    let rows = tables.flat_map(|changes| &changes.upserts);
    rows.filter_map(|row| row.get(ID_COLUMN)?.as_str()?.parse().ok()).collect()
}

/// Publishes news to Redis until the drain begins. What cannot be published is dropped.
///
/// # Errors
/// When the address cannot be read.
pub async fn publish(url: Secret<String>, mut news: Receiver<Uuid>, drain: Drain) -> Result<(), redis::RedisError> {
    let client = redis::Client::open(url.expose().as_str())?;
    loop {
        let ended = tokio::select! {
            () = drain.begun() => return Ok(()),
            ended = publish_once(&client, &mut news) => ended,
        };
        let Err(error) = ended else { return Ok(()) };
        tracing::warn!(error, "redis takes no news of operations");
        tokio::select! {
            () = drain.begun() => return Ok(()),
            () = tokio::time::sleep(RECONNECT_PAUSE) => {}
        }
    }
}

/// Publishes until the connection fails, or nobody brings news any more.
async fn publish_once(client: &redis::Client, news: &mut Receiver<Uuid>) -> Result<(), String> {
    let connecting = timeout(CONNECT_LIMIT, client.get_multiplexed_async_connection()).await;
    let mut connection = connecting.map_err(|_| "no connection in time")?.map_err(|error| error.to_string())?;
    let mut batch = Vec::with_capacity(AT_ONCE);
    while news.recv_many(&mut batch, AT_ONCE).await > 0 {
        let told = timeout(ANSWER_LIMIT, tell(&mut connection, &batch)).await;
        told.map_err(|_| "no answer in time")?.map_err(|error| error.to_string())?;
        batch.clear();
    }
    Ok(())
}

async fn tell(connection: &mut MultiplexedConnection, news: &[Uuid]) -> redis::RedisResult<()> {
    let mut pipeline = redis::pipe();
    for operation_id in news {
        pipeline.publish(wake_channel(*operation_id), "").ignore();
    }
    pipeline.query_async(connection).await
}

#[cfg(test)]
mod tests {
    use daybook_engine::TableChanges;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_operation_of_a_commit_is_told_once() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let row = |id: Uuid| json!({ "operation_id": id, "step": "open" }).as_object().unwrap().clone();
        let changes = |table, upserts| TableChanges { table, upserts, deletes: Vec::new() };
        let commit = Commit {
            tables: vec![
                changes("operation", vec![row(first)]),
                changes("operation_step_enrollment", vec![row(first), row(second)]),
                changes("course", vec![row(Uuid::from_u128(3))]),
            ],
            ..Commit::default()
        };
        assert_eq!(operations_of(&commit), HashSet::from([first, second]));
    }
}
