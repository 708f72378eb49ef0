//! Recovers a part whose database is behind the book: what the engine asks for is read from the log and done in the store,
//! a partition at a time.

use std::sync::Arc;
use std::time::Duration;

use daybook_engine::{
    BookMessage, Claimed, CommitError, Evidence, Leaf, Limits, PARTITIONS, Record, Recovered, Recovery, RecoveryStep,
    Spec,
};
use daybook_events::{HeaderRef, Timestamp};
use daybook_log::{Committed, Log, Refusal, Start, Tail};
use daybook_store::{PartStore, Recovering, Store};
use futures::{StreamExt as _, stream};
use tokio::time::Instant;
use tracing::info;

use crate::Error;
use crate::prepare::look;

/// The shard's messages are looked for from this long before the last one that the outbox has: brokers keep the time in
/// milliseconds, and a clock may have been set back.
const MARGIN_MS: i64 = 60 * 60 * 1_000;
/// Bytes of messages and records that one recovery may hold in memory.
const EVIDENCE_BYTES_MAX: usize = 2 << 30;
/// How long the members of the group may take to be gone: longer than a session.
const LEAVE_LIMIT: Duration = Duration::from_secs(15);
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Topics that are read side by side.
const TOPICS_AT_ONCE: usize = 8;
/// Progress is told whenever this many messages were arrived at.
const PROGRESS_EVERY: usize = 10_000;

/// What is to be recovered, and how.
pub struct Task<'a> {
    pub leaf: Arc<dyn Leaf>,
    /// Every topic that the part may have published to, replies included.
    pub topics: &'a [String],
    /// Does everything, and gives it up at the end.
    pub dry_run: bool,
}

/// Where a partition stands before its recovery.
struct Restored {
    claimed: Claimed,
    last_made: Option<Timestamp>,
    committed: Option<Committed>,
}

/// Brings every partition of the part up to what it has published; answers those that were behind. No process may run the
/// part meanwhile. What was done to a partition is stored before the next one is begun.
///
/// # Errors
/// Nothing of the partition at hand is stored then.
pub async fn recover_part(task: &Task<'_>, log: &Log, store: &Store) -> Result<Vec<Recovered>, Error> {
    let spec = task.leaf.spec();
    let part = spec.name;
    wait_until_left(part, log).await.map_err(Error::log(part))?;
    let seen = look(spec, log).await.map_err(Error::log(part))?;
    let store = store.prepare(spec, &seen, None).await.map_err(Error::store(part))?;
    let restored = restored(spec, log, &store).await?;
    let mut published = published(spec, task.topics, &restored, log).await.map_err(Error::log(part))?;
    let mut recovered = Vec::new();
    for (restored, published) in restored.into_iter().zip(published.drain(..)) {
        recovered.extend(partition(task, log, &store, restored, published).await?);
    }
    store.close().await;
    Ok(recovered)
}

/// A process that has just ended, or was killed, is a member of its group for a while.
async fn wait_until_left(part: &str, log: &Log) -> Result<(), daybook_log::Error> {
    let until = Instant::now() + LEAVE_LIMIT;
    loop {
        match log.admin().members(part).await? {
            0 => return Ok(()),
            members if Instant::now() >= until => {
                return Err(Refusal::GroupInUse { group: part.to_owned(), members }.into());
            }
            _ => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

/// The rows as they are, left as they are.
async fn restored(spec: &Spec, log: &Log, store: &PartStore) -> Result<Vec<Restored>, Error> {
    let part = spec.name;
    let fetcher = log.fetcher(part, spec.input, &spec.control).map_err(Error::log(part))?;
    let partitions: Vec<u16> = (0..PARTITIONS).collect();
    let committed = fetcher.committed(&partitions).await.map_err(Error::log(part))?;
    fetcher.close().await;
    let mut restored = Vec::new();
    for number in partitions {
        let (mut looking, claimed, _) = store.recovering(number).await.map_err(Error::store(part))?;
        let last_made = looking.last_made().await.map_err(Error::store(part))?;
        looking.give_up().await;
        let committed = committed.iter().find(|committed| committed.partition == number).copied();
        restored.push(Restored { claimed, last_made, committed });
    }
    Ok(restored)
}

/// The part's own messages since the restored moment, by the shard that numbered them.
async fn published(
    spec: &Spec,
    topics: &[String],
    restored: &[Restored],
    log: &Log,
) -> Result<Vec<Vec<BookMessage>>, daybook_log::Error> {
    // A shard whose outbox is empty may have published at any time, or never.
    let earliest = restored.iter().map(|restored| restored.last_made).min().flatten();
    let start = earliest.map_or(Start::Beginning, |at| Start::Time(at.plus_ms(-MARGIN_MS)));
    let reading = topics.iter().map(|topic| published_in(topic, spec.name, start, log));
    // Reading a topic to its end is mostly waiting.
    let mut read = stream::iter(reading).buffered(TOPICS_AT_ONCE);
    let mut published: Vec<Vec<BookMessage>> = vec![Vec::new(); usize::from(PARTITIONS)];
    while let Some(of_topic) = read.next().await {
        for (partition, message) in of_topic? {
            if let Some(of_shard) = published.get_mut(usize::from(partition)) {
                of_shard.push(message);
            }
        }
    }
    Ok(published)
}

/// What the part has published to this topic, each with the partition of its shard.
async fn published_in(
    topic: &str,
    part: &str,
    start: Start,
    log: &Log,
) -> Result<Vec<(u16, BookMessage)>, daybook_log::Error> {
    let name: Arc<str> = topic.into();
    let mut tail = log.tail(topic, start, false).await?;
    let mut published = Vec::new();
    while let Some(record) = tail.next().await? {
        let header = record.header.as_deref().and_then(|bytes| HeaderRef::decode(bytes).ok());
        let shard = header.and_then(|header| header.shard).filter(|shard| shard.instance == part);
        if let Some(partition) = shard.map(|shard| shard.partition) {
            published.push((partition, BookMessage { topic: Arc::clone(&name), record }));
        }
    }
    Ok(published)
}

async fn partition(
    task: &Task<'_>,
    log: &Log,
    store: &PartStore,
    restored: Restored,
    published: Vec<BookMessage>,
) -> Result<Option<Recovered>, Error> {
    let spec = task.leaf.spec();
    let part = spec.name;
    let Restored { claimed: before, committed, .. } = restored;
    let witness = committed.and_then(|committed| committed.witness).map(|w| (w.incarnation, w.out_seq));
    let highest = highest(&published).max(witness);
    if highest.is_none_or(|highest| highest <= (before.incarnation, before.out_seq)) {
        return Ok(None);
    }
    let records = read_inputs(spec, log, &before, &published).await?;
    let (data, control) = records;
    let evidence = Evidence { published, data, control, witness };
    let (mut transaction, claimed, at) = store.recovering(before.partition).await.map_err(Error::store(part))?;
    if (claimed.next_data, claimed.out_seq) != (before.next_data, before.out_seq) {
        return Err(Error::MovedMeanwhile { part: part.to_owned(), partition: before.partition });
    }
    let schemas = Arc::clone(log.registry());
    let recovery = Recovery::new(Arc::clone(&task.leaf), schemas, Limits::default(), claimed, evidence, at);
    let refused = |source| Error::Recovery { part: part.to_owned(), source };
    let Some(mut recovery) = recovery.map_err(refused)? else { return Ok(None) };
    let recovered = carry_out(&mut recovery, &mut transaction, part).await?;
    if task.dry_run {
        transaction.give_up().await;
    } else {
        transaction.finish(&recovered).await.map_err(Error::store(part))?;
    }
    info!(part, ?recovered, dry_run = task.dry_run, "a partition is recovered");
    Ok(Some(recovered))
}

async fn carry_out(
    recovery: &mut Recovery,
    transaction: &mut Recovering,
    part: &'static str,
) -> Result<Recovered, Error> {
    let refused = |source| Error::Recovery { part: part.to_owned(), source };
    let partition = recovery.partition();
    let moved = || Error::MovedMeanwhile { part: part.to_owned(), partition };
    let mut told = recovery.left();
    loop {
        match recovery.step().map_err(refused)? {
            RecoveryStep::Load(load) => {
                let loaded = transaction.load(&load).await.map_err(Error::store(part))?;
                recovery.loaded(loaded).map_err(refused)?;
            }
            RecoveryStep::Commit(commit) => match transaction.commit(&commit).await.map_err(Error::store(part))? {
                Ok(()) => recovery.committed(),
                Err(CommitError::Data { sqlstate }) => recovery.refused(sqlstate).map_err(refused)?,
                Err(_) => return Err(moved()),
            },
            RecoveryStep::Done(recovered) => return Ok(recovered),
        }
        if told >= recovery.left() + PROGRESS_EVERY {
            told = recovery.left();
            info!(part, left = told, "recovering");
        }
    }
}

/// All that was not taken in when the copy was made.
async fn read_inputs(
    spec: &Spec,
    log: &Log,
    row: &Claimed,
    published: &[BookMessage],
) -> Result<(Vec<Record>, Vec<Record>), Error> {
    let part = spec.name;
    let mut room = EVIDENCE_BYTES_MAX;
    let too_much = || Error::TooFarBehind { part: part.to_owned(), partition: row.partition, max: EVIDENCE_BYTES_MAX };
    for message in published {
        room = room.checked_sub(message.record.size()).ok_or_else(too_much)?;
    }
    let tail = log.tail_of(spec.input, row.partition, row.next_data).await.map_err(Error::log(part))?;
    let data = read_to_end(tail, &mut room).await.map_err(Error::log(part))?.ok_or_else(too_much)?;
    let tail = log.tail_of(&spec.control, row.partition, row.next_control).await.map_err(Error::log(part))?;
    let control = read_to_end(tail, &mut room).await.map_err(Error::log(part))?.ok_or_else(too_much)?;
    let control = control.into_iter().map(|record| Record { stream: daybook_engine::Stream::Control, ..record });
    Ok((data, control.collect()))
}

/// `None`: more than there is room for.
async fn read_to_end(mut tail: Tail, room: &mut usize) -> Result<Option<Vec<Record>>, daybook_log::Error> {
    let mut records = Vec::new();
    while let Some(record) = tail.next().await? {
        match room.checked_sub(record.size()) {
            Some(left) => *room = left,
            None => return Ok(None),
        }
        records.push(record);
    }
    Ok(Some(records))
}

fn highest(published: &[BookMessage]) -> Option<(u32, u64)> {
    let numbers = published.iter().filter_map(|message| {
        let header = HeaderRef::decode(message.record.header.as_deref()?).ok()?;
        header.shard.map(|shard| (shard.incarnation, shard.seq))
    });
    numbers.max()
}
