//! Work that takes time: each function is one future, whose end is told to the engine.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use daybook_engine::{
    CALL_TIMEOUT, Claimed, Commit, CommitError, KEY_EXPIRED, Load, LoadError, Loaded, Performance, Performed,
    Performer, RawRecord,
};
use daybook_events::{Schemas, Timestamp, unframe};
use daybook_log::{Committed, Ends, Log, Registry, Witness};
use daybook_service::Clock;
use daybook_store::{Answered, PartStore};
use futures::FutureExt;
use tokio::time::Instant;
use tracing::{Instrument, debug, info_span, warn};

use crate::Observer;

/// How long a question to the brokers waits before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Work that has ended.
#[derive(Debug)]
pub(crate) enum Done {
    Claimed { partition: u16, claimed: Option<(Box<Claimed>, Timestamp, Option<Witness>)> },
    Loaded { ticket: u64, result: Result<(Box<Loaded>, Timestamp), LoadError> },
    Committed { ticket: u64, result: Result<Timestamp, CommitError>, nexts: Vec<(u16, i64)>, took: Duration },
    Performed { partition: u16, token: u64, intent_id: uuid::Uuid, outcome: Performed },
    Ends { partition: u16, token: u64, data: i64, control: i64 },
    Progress { partition: u16, token: u64, topic: &'static str, of: u16, end: i64, next: i64, waits: bool },
    Kept,
}

/// Lets go of what the store has kept long enough. Next time will do if it fails.
pub(crate) async fn keep_house(part: &'static str, store: Arc<PartStore>) -> Done {
    if let Err(failed) = store.maintain().await {
        warn!(part, %failed, "housekeeping failed; it is tried again within the hour");
    }
    Done::Kept
}

/// Asks what a partition's shard was last known to have published, and claims it. In this order: what was published before the claim
/// is in the row that it reads. Asked afterwards, a member that has lost the partition meanwhile would hear of its successor's
/// numbers, and take its own row for one that was restored.
pub(crate) async fn claim(
    part: &'static str,
    partition: u16,
    committed: impl Future<Output = Result<Vec<Committed>, daybook_log::Error>>,
    claimed: impl Future<Output = Result<Answered<Claimed>, daybook_store::Error>>,
) -> Done {
    let witness = match committed.await {
        Ok(committed) => committed.first().and_then(|committed| committed.witness),
        Err(failed) => {
            warn!(part, partition, %failed, "the witness of a partition could not be read; trying again");
            return Done::Claimed { partition, claimed: None };
        }
    };
    match claimed.await {
        Ok(answered) => Done::Claimed { partition, claimed: Some((Box::new(answered.value), answered.at, witness)) },
        Err(failed) => {
            warn!(part, partition, %failed, "a partition could not be claimed; trying again");
            Done::Claimed { partition, claimed: None }
        }
    }
}

/// Loads, and looks up the schemas of stored records: the engine asks for them without waiting.
pub(crate) async fn load(store: Arc<PartStore>, registry: Arc<Registry>, ticket: u64, load: Load) -> Done {
    let result = store.load(&load).await;
    if let Ok(loaded) = &result {
        let held = loaded.value.held.iter().map(|held| &held.raw);
        let parked = loaded.value.parked.iter().map(|parked| &parked.raw);
        for raw in held.chain(parked) {
            know_schema(&registry, raw).await;
        }
    }
    Done::Loaded { ticket, result: result.map(|loaded| (Box::new(loaded.value), loaded.at)) }
}

async fn know_schema(registry: &Registry, raw: &RawRecord) {
    if let Some(Ok((id, _))) = raw.value.as_deref().map(unframe)
        && registry.writer(id).is_none()
    {
        // An id that does not exist is left unknown: the engine parks its record again.
        let lookup = registry.resolve(id).await;
        debug!(id, ?lookup, "a stored record's schema was looked up");
    }
}

pub(crate) async fn commit(
    part: &'static str,
    store: Arc<PartStore>,
    ticket: u64,
    commit: Commit,
    observer: Option<Arc<dyn Observer>>,
) -> Done {
    let span = info_span!(
        "batch",
        part,
        partitions = commit.partitions.len(),
        rows = commit.rows.len(),
        outbox = commit.outbox.len(),
        parked = commit.parked_put.len()
    );
    let begun = Instant::now();
    let nexts = commit.partitions.iter().map(|partition| (partition.partition, partition.next_data)).collect();
    let result = store.commit(&commit).instrument(span).await;
    if let Err(failed @ (CommitError::Retry { .. } | CommitError::Data { .. })) = &result {
        warn!(part, ?failed, "a batch was not stored");
    }
    if let (Ok(_), Some(observer)) = (&result, observer) {
        observer.committed(&commit);
    }
    Done::Committed { ticket, result: result.map(|stored| stored.at), nexts, took: begun.elapsed() }
}

/// Until when a call may be made.
pub(crate) struct Until<C> {
    clock: C,
    elapsed: Duration,
    wall: SystemTime,
}

impl<C: Clock> Until<C> {
    pub(crate) fn new(clock: C, left: Duration) -> Self {
        Self { elapsed: clock.elapsed() + left, wall: clock.wall() + left, clock }
    }

    /// By either clock: the one that only goes forward stands still while the computer sleeps, the one on the wall may be set back.
    fn is_past(&self) -> bool {
        self.clock.elapsed() >= self.elapsed || self.clock.wall() >= self.wall
    }
}

/// Calls the outside world, for at most `limit`: after that nobody knows whether it acted. Looks once more whether it is not too
/// late for that, because the process may have been stopped since it was decided.
pub(crate) async fn perform(
    performer: Arc<dyn Performer>,
    token: u64,
    performance: Performance,
    limit: Duration,
    until: Option<Until<impl Clock>>,
) -> Done {
    let (partition, intent_id) = (performance.partition, performance.intent_id);
    if until.is_some_and(|until| until.is_past()) {
        let outcome = Performed::Refused { code: KEY_EXPIRED.to_owned() };
        return Done::Performed { partition, token, intent_id, outcome };
    }
    // A panic in an adapter is an unknown outcome, not the end of the part.
    let call = AssertUnwindSafe(async move { performer.perform(performance).await }).catch_unwind();
    let unknown = |code: &str| Performed::Unknown { code: code.to_owned() };
    let outcome = match tokio::time::timeout(limit, call).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => unknown("adapter-panicked"),
        Err(_) => unknown(CALL_TIMEOUT),
    };
    Done::Performed { partition, token, intent_id, outcome }
}

/// Asks until it is answered; the engine needs both ends.
pub(crate) async fn ends(log: Arc<Log>, data: &'static str, control: Arc<str>, partition: u16, token: u64) -> Done {
    loop {
        match tokio::try_join!(log.admin().ends(data, partition), log.admin().ends(&control, partition)) {
            Ok((Ends { end: data, .. }, Ends { end: control, .. })) => {
                return Done::Ends { partition, token, data, control };
            }
            Err(failed) => {
                warn!(topic = data, partition, %failed, "the ends of a partition could not be asked for; trying again");
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

/// Asks how far the part that reads `topic` has come with its partition `of`, until it is answered. Nobody known to read it is
/// nobody to wait for.
pub(crate) async fn progress(
    log: Arc<Log>,
    reader: Option<&'static str>,
    (partition, token): (u16, u64),
    (topic, of): (&'static str, u16),
) -> Done {
    loop {
        let committed = async {
            match reader {
                Some(part) => log.admin().committed(part, topic, of).await.map(Some),
                None => Ok(None),
            }
        };
        match tokio::try_join!(log.admin().ends(topic, of), committed) {
            Ok((Ends { start, end }, committed)) => {
                let (next, waits) = match committed {
                    None => (end, false),
                    Some(None) => (start, false),
                    Some(Some(committed)) => (committed.next, committed.waits),
                };
                return Done::Progress { partition, token, topic, of, end, next, waits };
            }
            Err(failed) => {
                warn!(topic, of, %failed, "how far a participant has read could not be asked for; trying again");
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use daybook_engine::Mode;
    use uuid::Uuid;

    use super::*;

    /// Two clocks that are set by hand, in seconds.
    #[derive(Clone, Default)]
    struct ByHand {
        wall: Arc<AtomicU64>,
        elapsed: Arc<AtomicU64>,
    }

    impl Clock for ByHand {
        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(self.wall.load(Ordering::Relaxed))
        }

        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.elapsed.load(Ordering::Relaxed))
        }
    }

    struct Obliging;

    impl Performer for Obliging {
        fn perform(&self, _: Performance) -> Pin<Box<dyn Future<Output = Performed> + Send>> {
            Box::pin(async { Performed::Answered(Vec::new()) })
        }
    }

    #[tokio::test]
    async fn the_witness_has_been_told_before_the_claim_is_made() {
        let witness = Witness { incarnation: 1, out_seq: 7 };
        let is_told = AtomicBool::new(false);
        let committed = async {
            tokio::task::yield_now().await;
            is_told.store(true, Ordering::Relaxed);
            Ok(vec![Committed { partition: 3, next: 0, witness: Some(witness), waits: false }])
        };
        let claimed = async {
            assert!(is_told.load(Ordering::Relaxed));
            Ok(Answered { value: Claimed::first(3, 1), at: Timestamp(0) })
        };
        match claim("part", 3, committed, claimed).await {
            Done::Claimed { partition: 3, claimed: Some((_, _, told)) } => assert_eq!(told, Some(witness)),
            other => panic!("{other:?}"),
        }
    }

    async fn outcome(until: Option<Until<ByHand>>) -> Performed {
        let performance = Performance {
            intent_id: Uuid::from_u128(1),
            partition: 0,
            idempotency_key: "key".to_owned(),
            entity: Uuid::from_u128(2),
            request: Vec::new(),
            mode: Mode::Call,
            key_until: None,
            trace: None,
        };
        match perform(Arc::new(Obliging), 1, performance, Duration::from_secs(5), until).await {
            Done::Performed { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_call_whose_time_has_passed_while_the_process_was_stopped_is_not_made() {
        let clock = ByHand::default();
        let until = || Some(Until::new(clock.clone(), Duration::from_secs(60)));
        let answered = Performed::Answered(Vec::new());
        let expired = Performed::Refused { code: KEY_EXPIRED.to_owned() };
        assert_eq!(outcome(until()).await, answered);
        assert_eq!(outcome(None).await, answered);
        let stopped = until();
        clock.elapsed.store(60, Ordering::Relaxed);
        assert_eq!(outcome(stopped).await, expired, "the process was stopped");
        let asleep = until();
        clock.wall.store(60, Ordering::Relaxed);
        assert_eq!(outcome(asleep).await, expired, "the computer was asleep");
    }
}
