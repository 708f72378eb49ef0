//! Which of a shard's messages stand in the book, told by the rule that every reader of it follows.

use std::sync::Arc;

use bytes::Bytes;
use daybook_events::{Header, Shard, Timestamp};
use hashbrown::{HashMap, HashSet};
use uuid::Uuid;

use crate::marks::LastNumbers;
use crate::understood::Understood;
use crate::{BookMessage, Claimed, Record};

/// A number of a shard; a later incarnation is above every number of an earlier one.
pub(crate) type Number = (u32, u64);

/// A message that was published after the moment that the database knows.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) number: Number,
    pub(crate) message_id: Uuid,
    pub(crate) cause: Uuid,
    pub(crate) time: Timestamp,
    pub(crate) is_reply: bool,
    pub(crate) understood: Understood,
}

/// What the book says about a shard.
#[derive(Debug)]
pub(crate) struct Counted {
    /// Above the row's `out_seq`, in the order in which they were made.
    pub(crate) above: Vec<Published>,
    /// Ids of all that readers have counted, those that the row knows included.
    pub(crate) ids: HashSet<Uuid>,
    /// The highest number that was found, counted or not.
    pub(crate) highest: Number,
    /// Up to here nothing is missing above the row's `out_seq`.
    pub(crate) complete_to: Number,
}

impl Counted {
    /// `messages` are in the order of the log within each topic and partition; those of others are passed over.
    pub(crate) fn of(part: &str, claimed: &Claimed, last: &LastNumbers, messages: Vec<BookMessage>) -> Self {
        let known = (claimed.incarnation, claimed.out_seq);
        let mut counted = Self { above: Vec::new(), ids: HashSet::new(), highest: known, complete_to: known };
        let mut reached: HashMap<(Arc<str>, u16), Number> = HashMap::new();
        for BookMessage { topic, record } in messages {
            let Some(header) = record.header.as_deref().and_then(|bytes| Header::decode(bytes).ok()) else { continue };
            let Some(shard) = header.shard.as_ref() else { continue };
            if &*shard.instance != part || shard.partition != claimed.partition {
                continue;
            }
            let number = (shard.incarnation, shard.seq);
            counted.highest = counted.highest.max(number);
            let destination = (topic, record.partition);
            let before = reached.get(&destination).copied();
            let known_last = (claimed.incarnation, last.get(&destination.0, destination.1));
            if !is_counted(shard, before, known, known_last) {
                continue;
            }
            reached.insert(destination, number);
            counted.ids.insert(header.message_id);
            if number > known {
                counted.above.push(published(number, &header, record));
            }
        }
        counted.above.sort_by_key(|message| message.number);
        for message in &counted.above {
            if message.number.0 != known.0 || message.number.1 != counted.complete_to.1 + 1 {
                break;
            }
            counted.complete_to = message.number;
        }
        counted
    }
}

fn published(number: Number, header: &Header, record: Record) -> Published {
    Published {
        number,
        message_id: header.message_id,
        // What nobody caused was caused by itself; the engine publishes nothing of the kind.
        cause: header.causation_id.unwrap_or(header.message_id),
        time: header.time,
        is_reply: header.reply_for.is_some(),
        understood: Understood::new(Arc::new(record)),
    }
}

/// The rule of the marks, for one output partition. The first message that is seen there follows on what the row knows,
/// or is itself known to the row.
fn is_counted(shard: &Shard, before: Option<Number>, known: Number, known_last: Number) -> bool {
    let number = (shard.incarnation, shard.seq);
    let reached = match before {
        Some(before) if number <= before => return false,
        Some(before) => before,
        None if number <= known => return true,
        None => known_last,
    };
    shard.prev <= if reached.0 == shard.incarnation { reached.1 } else { 0 }
}

/// The message as it goes out under another number.
pub(crate) fn renumbered(header: &Bytes, shard: Shard) -> Option<Bytes> {
    let mut header = Header::decode(header).ok()?;
    header.shard = Some(shard);
    let mut bytes = Vec::with_capacity(192);
    header.encode(&mut bytes).ok()?;
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SchemaLookup, Stream};

    const KNOWN: u64 = 10;

    fn claimed() -> Claimed {
        Claimed { incarnation: 7, out_seq: KNOWN, published_seq: KNOWN, ..Claimed::first(3, 1) }
    }

    fn message(partition: u16, prev: u64, seq: u64) -> BookMessage {
        let shard = Shard { instance: "courses".into(), partition: 3, incarnation: 7, seq, prev };
        let id = Uuid::from_u128(u128::from(seq));
        let header = Header { shard: Some(shard), ..Header::first(id, Timestamp(0)) };
        let mut bytes = Vec::new();
        header.encode(&mut bytes).unwrap();
        let record = Record {
            stream: Stream::Data,
            partition,
            offset: 0,
            time: Timestamp(0),
            key: None,
            header: Some(bytes.into()),
            value: None,
            schema: SchemaLookup::Unframed,
        };
        BookMessage { topic: "learning.course.events.v1".into(), record }
    }

    fn counted(messages: Vec<BookMessage>) -> (Vec<u64>, u64, u64) {
        let mut last = LastNumbers::default();
        last.replace("learning.course.events.v1", 0, 9);
        let counted = Counted::of("courses", &claimed(), &last, messages);
        let above = counted.above.iter().map(|message| message.number.1).collect();
        (above, counted.complete_to.1, counted.highest.1)
    }

    #[test]
    fn what_follows_on_what_the_row_knows_counts_once() {
        let messages = vec![message(0, 8, 9), message(0, 9, 11), message(0, 9, 11), message(1, 0, 12)];
        assert_eq!(counted(messages), (vec![11, 12], 12, 12));
    }

    #[test]
    fn what_readers_drop_as_a_gap_does_not_count_and_is_known_as_a_number_all_the_same() {
        let messages = vec![message(0, 9, 11), message(0, 12, 14), message(1, 0, 13)];
        assert_eq!(counted(messages), (vec![11, 13], 11, 14));
    }

    #[test]
    fn others_do_not_count() {
        let mut other = message(0, 9, 11);
        let shard = Shard { instance: "people".into(), partition: 3, incarnation: 7, seq: 11, prev: 9 };
        other.record.header = renumbered(other.record.header.as_ref().unwrap(), shard);
        assert_eq!(counted(vec![other]), (vec![], KNOWN, KNOWN));
    }
}
