//! Records as they come from and go to the log.

use std::sync::Arc;

use bytes::Bytes;
use daybook_events::{Timestamp, Writer};
use uuid::Uuid;

/// Which of a part's two topics a record came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    Data,
    Control,
}

/// A record as fetched; nothing in it is trusted yet.
#[derive(Clone, Debug)]
pub struct Record {
    pub stream: Stream,
    pub partition: u16,
    pub offset: i64,
    /// The log's timestamp.
    pub time: Timestamp,
    pub key: Option<Bytes>,
    /// Value of the record's `db` header ([`daybook_events::Header`]).
    pub header: Option<Bytes>,
    /// Confluent framing: 0, schema id, Avro.
    pub value: Option<Bytes>,
    /// The writer's schema, looked up by the driver before the record is handed over.
    pub schema: SchemaLookup,
}

impl Record {
    /// Bytes it occupies in queues: what the bounds count.
    pub fn size(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        64 + len(&self.key) + len(&self.header) + len(&self.value)
    }
}

/// The answer of the registry about a record's schema id. A registry that cannot be asked pauses the
/// partition instead: only "no such id" reaches the engine.
#[derive(Clone, Debug)]
pub enum SchemaLookup {
    Known(Arc<Writer>),
    NoSuchId(u32),
    /// The value is missing, too short, or does not begin with the magic byte.
    Unframed,
}

/// A message to be published: fixed in the outbox, so it is the same at every attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its number in the shard, gapless.
    pub seq: u64,
    pub topic: Arc<str>,
    pub partition: u16,
    pub key: Bytes,
    /// Full name of the record type; the driver makes CloudEvents headers of it on events topics.
    pub type_name: Arc<str>,
    pub message_id: Uuid,
    pub time: Timestamp,
    pub header: Bytes,
    /// Framed value.
    pub value: Bytes,
}
