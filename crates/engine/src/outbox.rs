//! The outbox: how a batch of messages is packed into one row, and how a shard publishes them.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use daybook_events::Timestamp;

use crate::Outgoing;
use crate::codec::{Corrupt, Reader, put_blob, put_text};

/// Packs messages of consecutive numbers into the `messages` of an [`crate::OutboxRow`].
pub fn pack<M: Borrow<Outgoing>>(messages: &[M]) -> Bytes {
    let messages = || messages.iter().map(Borrow::borrow);
    let size = messages().map(|m| 160 + m.header.len() + m.value.len()).sum();
    let mut out = BytesMut::with_capacity(size);
    for message in messages() {
        out.put_u64(message.seq);
        put_text(&mut out, &message.topic);
        out.put_u16(message.partition);
        put_text(&mut out, &message.type_name);
        out.put_slice(message.message_id.as_bytes());
        out.put_i64(message.time.0);
        put_blob(&mut out, &message.key);
        put_blob(&mut out, &message.header);
        put_blob(&mut out, &message.value);
    }
    out.freeze()
}

/// # Errors
/// When the bytes are not what [`pack`] wrote.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Outgoing>, Corrupt> {
    let mut reader = Reader::new(bytes);
    let mut messages = Vec::new();
    while !reader.is_done() {
        messages.push(Outgoing {
            seq: reader.u64()?,
            topic: reader.text()?.into(),
            partition: reader.u16()?,
            type_name: reader.text()?.into(),
            message_id: reader.uuid()?,
            time: Timestamp(reader.i64()?),
            key: reader.blob()?,
            header: reader.blob()?,
            value: reader.blob()?,
        });
    }
    Ok(messages)
}

/// One shard's publishing: numbers leave in order, and if any delivery fails everything above the
/// acknowledged prefix is sent again in order (go-back-N), also what was acknowledged beyond it.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Tells the deliveries of this round from those of earlier ones.
    attempt: u64,
    /// End of the contiguous acknowledged prefix.
    published: u64,
    /// `published` as the partition row has it, and since when it is behind.
    stored: u64,
    behind_since: Option<Timestamp>,
    waiting: VecDeque<Waiting>,
    /// A delivery failed: everything waiting goes out again at this time, and nothing before.
    resend_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Waiting {
    message: Arc<Outgoing>,
    acknowledged: bool,
}

/// What a delivery report led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Noted,
    Stale,
    GoBack,
}

impl Publisher {
    pub(crate) fn new(attempt: u64, published: u64) -> Self {
        Self { attempt, published, stored: published, behind_since: None, waiting: VecDeque::new(), resend_at: None }
    }

    pub(crate) fn attempt(&self) -> u64 {
        self.attempt
    }

    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    pub(crate) fn unacknowledged(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn resend_at(&self) -> Option<Timestamp> {
        self.resend_at
    }

    /// Since when the row's `published_seq` is behind.
    pub(crate) fn behind_since(&self) -> Option<Timestamp> {
        self.behind_since
    }

    pub(crate) fn note_stored(&mut self, published: u64) {
        self.stored = self.stored.max(published);
        if self.stored == self.published {
            self.behind_since = None;
        }
    }

    /// Takes messages that were committed; answers those to publish now.
    pub(crate) fn append(&mut self, messages: &[Arc<Outgoing>]) -> bool {
        let waiting = messages.iter().map(|message| Waiting { message: Arc::clone(message), acknowledged: false });
        self.waiting.extend(waiting);
        self.resend_at.is_none()
    }

    pub(crate) fn delivered(&mut self, attempt: u64, seq: u64, ok: bool, now: Timestamp, retry_ms: i64) -> Delivery {
        let Some(index) = self.index_of(attempt, seq) else {
            return Delivery::Stale;
        };
        if !ok {
            if self.resend_at.is_none() {
                self.resend_at = Some(now.plus_ms(retry_ms));
            }
            return Delivery::GoBack;
        }
        self.waiting[index].acknowledged = true;
        while self.waiting.front().is_some_and(|first| first.acknowledged) {
            self.waiting.pop_front();
            self.published += 1;
            self.behind_since.get_or_insert(now);
        }
        Delivery::Noted
    }

    fn index_of(&self, attempt: u64, seq: u64) -> Option<usize> {
        if attempt != self.attempt || seq <= self.published {
            return None;
        }
        let index = usize::try_from(seq - self.published - 1).ok()?;
        (index < self.waiting.len()).then_some(index)
    }

    /// Begins a new round: answers everything above the acknowledged prefix, in order. `only_failed` breaks the rule:
    /// what was acknowledged beyond the prefix stays so.
    pub(crate) fn resend(&mut self, attempt: u64, only_failed: bool) -> Vec<Arc<Outgoing>> {
        self.attempt = attempt;
        self.resend_at = None;
        self.waiting
            .iter_mut()
            .filter(|waiting| !(only_failed && waiting.acknowledged))
            .map(|waiting| {
                waiting.acknowledged = false;
                Arc::clone(&waiting.message)
            })
            .collect()
    }
}

/// Names repeat in every message: one allocation each.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: hashbrown::HashMap<String, Arc<str>>,
}

impl Names {
    pub(crate) fn get(&mut self, name: &str) -> Arc<str> {
        Arc::clone(self.known.entry_ref(name).or_insert_with(|| name.into()))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn message(seq: u64) -> Outgoing {
        Outgoing {
            seq,
            topic: "learning.course.events.v1".into(),
            partition: 5,
            key: Bytes::from_static(b"k"),
            type_name: "daybook.learning.SeatReserved".into(),
            message_id: Uuid::from_u128(u128::from(seq)),
            time: Timestamp(17),
            header: Bytes::from_static(b"header"),
            value: Bytes::from_static(b"\0\0\0\0\x01x"),
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms * 1_000)
    }

    fn publishing(seqs: &[u64]) -> Publisher {
        let mut publisher = Publisher::new(1, seqs[0] - 1);
        let messages: Vec<_> = seqs.iter().map(|&seq| Arc::new(message(seq))).collect();
        assert!(publisher.append(&messages));
        publisher
    }

    #[test]
    fn packing_is_lossless_and_cut_bytes_are_told() {
        let messages = vec![message(1), message(2)];
        let packed = pack(&messages);
        assert_eq!(unpack(&packed), Ok(messages));
        assert!(unpack(&packed[..packed.len() - 1]).is_err());
    }

    #[test]
    fn the_published_prefix_is_contiguous() {
        let mut publisher = publishing(&[4, 5, 6]);
        assert_eq!(publisher.delivered(1, 5, true, at(0), 10), Delivery::Noted);
        assert_eq!(publisher.published(), 3);
        assert_eq!(publisher.delivered(1, 4, true, at(0), 10), Delivery::Noted);
        assert_eq!(publisher.published(), 5);
    }

    #[test]
    fn a_failed_delivery_sends_again_what_was_acknowledged_beyond_it() {
        let mut publisher = publishing(&[1, 2, 3]);
        publisher.delivered(1, 1, true, at(0), 10);
        publisher.delivered(1, 3, true, at(0), 10);
        assert_eq!(publisher.delivered(1, 2, false, at(0), 10), Delivery::GoBack);
        assert_eq!(publisher.resend_at(), Some(at(10)));
        assert!(!publisher.append(&[Arc::new(message(4))]), "nothing overtakes the repetition");
        let seqs: Vec<_> = publisher.resend(2, false).iter().map(|m| m.seq).collect();
        assert_eq!(seqs, [2, 3, 4]);
        assert_eq!(publisher.delivered(1, 2, true, at(20), 10), Delivery::Stale);
    }
}
