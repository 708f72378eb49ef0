//! The check that the database is not behind the book: restored to an earlier time, it would give numbers a second time.
//!
//! Two things tell what a shard had given: the witness that was committed with the group offset, and the shard's own numbers
//! among the last records of the topics it publishes to.

use std::collections::HashMap;

use daybook_engine::{Claimed, PARTITIONS, Spec};
use daybook_events::HeaderRef;
use daybook_log::{Log, Start, Witness};

use crate::Error;

/// How far back each output partition is read.
const LAST_RECORDS: u32 = 1_000;

/// The highest number of each of the part's shards near the ends of its output topics.
///
/// # Errors
/// When the topics cannot be read.
pub(crate) async fn numbers_in_the_book(spec: &Spec, log: &Log) -> Result<HashMap<u16, Witness>, daybook_log::Error> {
    let mut highest = HashMap::new();
    for topic in spec.outputs.iter().filter(|topic| !topic.contains('*')) {
        let mut tail = log.tail(topic, Start::Last(LAST_RECORDS), false).await?;
        while let Some(record) = tail.next_raw().await? {
            // What has no readable header, or no shard, was not numbered by us.
            let header = record.header.as_deref().and_then(|bytes| HeaderRef::decode(bytes).ok());
            let Some(shard) = header.and_then(|header| header.shard) else { continue };
            if shard.instance == spec.name && shard.partition < PARTITIONS {
                let number = Witness { incarnation: shard.incarnation, out_seq: shard.seq };
                let known = highest.entry(shard.partition).or_insert(number);
                *known = number.max(*known);
            }
        }
    }
    Ok(highest)
}

/// # Errors
/// When a number was published that the row does not know.
pub(crate) fn check(part: &str, claimed: &Claimed, published: Option<Witness>) -> Result<(), Error> {
    let stored = Witness { incarnation: claimed.incarnation, out_seq: claimed.out_seq };
    match published {
        Some(published) if published > stored => {
            Err(Error::DatabaseBehind { part: part.to_owned(), partition: claimed.partition, stored, published })
        }
        Some(_) | None => Ok(()),
    }
}
