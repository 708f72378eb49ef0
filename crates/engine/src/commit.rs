//! What the engine asks of a store: claim a partition, load rows, commit a batch.

use bytes::Bytes;
use daybook_events::Timestamp;
use uuid::Uuid;

use crate::{Intent, Row, RowKey, Stream};

/// What a store answers to a claim: the partition row after `version` was raised, and all that is open.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub partition: u16,
    pub version: i64,
    pub next_data: i64,
    pub next_control: i64,
    pub incarnation: u32,
    pub out_seq: u64,
    pub published_seq: u64,
    /// The shard's last number per output partition, as [`crate::Commit`] wrote it; empty at first.
    pub last_numbers: Bytes,
    /// High-water marks, likewise.
    pub marks: Bytes,
    /// The part was not born with its topic: the first number seen of each shard is accepted.
    pub accepts_first: bool,
    /// Next number for a held record.
    pub held_next: u64,
    /// Outbox rows above `published_seq`, in order.
    pub outbox: Vec<OutboxRow>,
    pub intents: Vec<Intent>,
    /// Keys with held records or a blocking parked record.
    pub blocked: Vec<BlockedKey>,
    /// Earliest due time of any row.
    pub next_due: Option<Timestamp>,
}

impl Claimed {
    /// Of a partition of which nothing has been applied, and for which nothing was published.
    pub fn first(partition: u16, version: i64) -> Self {
        Self {
            partition,
            version,
            next_data: 0,
            next_control: 0,
            incarnation: 1,
            out_seq: 0,
            published_seq: 0,
            last_numbers: Bytes::new(),
            marks: Bytes::new(),
            accepts_first: false,
            held_next: 1,
            outbox: Vec::new(),
            intents: Vec::new(),
            blocked: Vec::new(),
            next_due: None,
        }
    }
}

/// A key with records waiting. `parked` is the id of the record that blocks it, if one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedKey {
    pub key: Bytes,
    pub held: u64,
    pub parked: Option<Uuid>,
}

/// One batch of one shard in the outbox; `messages` is packed by [`crate::pack`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    pub partition: u16,
    pub first_seq: u64,
    pub last_seq: u64,
    pub messages: Bytes,
}

/// What the engine wants to read. Every list is bounded by the engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    pub rows: Vec<(u16, RowKey)>,
    /// Ids of commands from outside.
    pub applied: Vec<Uuid>,
    /// Held records of a key in order.
    pub held: Vec<HeldAsk>,
    pub due: Vec<DueAsk>,
    pub parked: Vec<Uuid>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HeldAsk {
    pub partition: u16,
    pub key: Bytes,
    pub limit: u32,
}

/// Rows whose due time is at most `until`, in the order (due, key, part), after the given one.
#[derive(Clone, Debug, PartialEq)]
pub struct DueAsk {
    pub partition: u16,
    pub until: Timestamp,
    pub after: Option<(Timestamp, RowKey)>,
    pub limit: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Rows that exist; a row that was asked for and is not here does not exist.
    pub rows: Vec<(RowKey, Row)>,
    pub applied: Vec<Applied>,
    pub held: Vec<Held>,
    pub due: Vec<DueRow>,
    /// Per partition of a due ask: the earliest due time above its `until`.
    pub next_due: Vec<(u16, Option<Timestamp>)>,
    pub parked: Vec<Parked>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRow {
    pub partition: u16,
    pub due: Timestamp,
    pub row: RowKey,
}

/// A command from outside that was applied, kept for 14 days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub id: Uuid,
    pub request_hash: Option<[u8; 32]>,
    /// Type name and body of the closing reply, once there is one.
    pub closing: Option<(String, Vec<u8>)>,
}

/// A record that waits behind its key, in the order of `number`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub partition: u16,
    pub number: u64,
    pub raw: RawRecord,
}

/// A record as it stood in the log, enough to apply it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord {
    pub stream: Stream,
    pub offset: i64,
    pub time: Timestamp,
    pub key: Option<Bytes>,
    pub header: Option<Bytes>,
    pub value: Option<Bytes>,
}

/// A record that could not be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Parked {
    /// UUIDv5 of part, topic, partition and offset.
    pub id: Uuid,
    pub partition: u16,
    pub raw: RawRecord,
    pub code: String,
    pub detail: String,
    pub attempts: u32,
    pub parked_at: Timestamp,
    /// Whether its key waits behind it.
    pub blocks: bool,
}

/// One batch: all of it in one transaction, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub partitions: Vec<PartitionCommit>,
    /// Sorted by key; `None` deletes.
    pub rows: Vec<StateRow>,
    pub outbox: Vec<OutboxRow>,
    pub intents_put: Vec<Intent>,
    pub intents_gone: Vec<Uuid>,
    pub held_put: Vec<Held>,
    /// (partition, number)
    pub held_gone: Vec<(u16, u64)>,
    pub parked_put: Vec<Parked>,
    pub parked_gone: Vec<Uuid>,
    /// Insert, or set the closing of an existing one.
    pub applied_put: Vec<Applied>,
    pub history: Vec<HistoryRow>,
    pub tables: Vec<TableChanges>,
}

/// The fence and the numbers of one partition. A version that differs refuses the partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionCommit {
    pub partition: u16,
    /// As last stored by this writer; the commit stores it plus one.
    pub version: i64,
    pub next_data: i64,
    pub next_control: i64,
    pub out_seq: u64,
    pub published_seq: u64,
    pub held_next: u64,
    /// `None`: unchanged.
    pub marks: Option<Bytes>,
    pub last_numbers: Option<Bytes>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StateRow {
    pub partition: u16,
    pub key: RowKey,
    pub row: Option<Row>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HistoryRow {
    pub partition: u16,
    pub key: Uuid,
    pub at: Timestamp,
    /// A JSON object.
    pub entry: String,
}

/// Changes to one table, at most one per primary key, sorted by it.
#[derive(Clone, Debug, PartialEq)]
pub struct TableChanges {
    pub table: &'static str,
    /// JSON objects; a column that is absent or null stays as it is.
    pub upserts: Vec<serde_json::Map<String, serde_json::Value>>,
    /// JSON objects of the primary key.
    pub deletes: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// How a commit can end otherwise than well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// These partitions have another version: somebody else writes them. Nothing was written.
    Fenced(Vec<u16>),
    /// The data cannot be stored (SQLSTATE 22, 23): retrying is pointless. Nothing was written.
    Data { sqlstate: String },
    /// Connection, serialization, resources (08, 40, 53, 57) *before* COMMIT could have happened. Nothing was written.
    Retry { sqlstate: String },
    /// The connection broke when the commit may have happened.
    Unknown,
}
