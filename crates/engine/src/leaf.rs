//! The erased interface between the engine and a leaf: bytes in, bytes out, pure and synchronous.

use std::borrow::Cow;

use bytes::Bytes;
use daybook_events::{Header, ReplyTo, Timestamp, Writer};
use uuid::Uuid;

use crate::{Conclusion, Context, Intent, PendingReply, Spec, Thread};

/// A part of a leaf, as the engine sees it. Implemented by the kits.
pub trait Leaf: Send + Sync + 'static {
    fn spec(&self) -> &Spec;

    /// Adds the parts (beside the entity's own row, which is always loaded) that `handle` will ask for.
    /// What it cannot read it leaves: `handle` will say what is wrong.
    fn parts(&self, input: &Input<'_>, parts: &mut Vec<Uuid>);

    /// Applies one input. On `Err` nothing of it takes effect and the record is parked.
    /// May panic: the engine treats that as `Fault { code: "panic" }`.
    fn handle(&self, input: &Input<'_>, rows: &mut Rows<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault>;

    /// Whose answer this row waits for until it is due, if being due gives that up. While that participant has not even
    /// read what it was sent, the row is not handed over as [`Input::Due`].
    fn awaits(&self, _row: &Row) -> Option<Participant> {
        None
    }
}

/// Who was sent a command: the topic that it reads, and the command's key there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participant {
    pub topic: &'static str,
    pub key: Uuid,
}

/// What a leaf is asked to apply.
#[derive(Debug)]
pub enum Input<'a> {
    /// A record of the data topic.
    Message(Incoming<'a>),
    /// A record of the control topic that is not the engine's own business: a provider notice, a saga
    /// verb, the reply to a policy's command.
    Control(Incoming<'a>),
    /// The time in the `due` column of this row has come. The leaf asks its state again; whatever it
    /// finds, it puts the row anew (or the same due comes again).
    Due { row: RowKey },
    /// An effect has ended.
    Concluded { intent: &'a Intent, conclusion: &'a Conclusion },
}

impl Input<'_> {
    /// The entity that it is for.
    pub fn key(&self) -> Uuid {
        match self {
            Input::Message(incoming) | Input::Control(incoming) => incoming.key,
            Input::Due { row } => row.key,
            Input::Concluded { intent, .. } => intent.key,
        }
    }
}

/// A record whose key, header and framing were understood.
#[derive(Debug)]
pub struct Incoming<'a> {
    pub key: Uuid,
    pub header: &'a Header,
    pub writer: &'a Writer,
    /// Avro, without framing.
    pub body: &'a [u8],
    /// The entity's open intent, if it is busy: only control records meet one.
    pub intent: Option<&'a Intent>,
}

/// A row of the part's state: the entity itself (`part` nil) or one of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    pub key: Uuid,
    pub part: Uuid,
}

impl RowKey {
    pub fn entity(key: Uuid) -> Self {
        Self { key, part: Uuid::nil() }
    }

    pub fn part(key: Uuid, part: Uuid) -> Self {
        Self { key, part }
    }

    pub fn is_entity(&self) -> bool {
        self.part.is_nil()
    }
}

/// Largest body of a row, in bytes; above it the message is parked with `state-too-large`.
pub const ROW_BODY_MAX: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// How many events have gone into it.
    pub number: u64,
    pub due: Option<Timestamp>,
    /// A short word for queries (`running`, `stuck`, …); indexed for sagas while it is not final.
    pub status: Option<Cow<'static, str>>,
    pub body: Bytes,
}

/// The rows that an input may read and write; writes take effect only if `handle` answers `Ok`.
pub struct Rows<'a> {
    loaded: &'a dyn Fn(&RowKey) -> Option<Option<Row>>,
    /// Each row once. A message writes a few rows, so looking through them beats a table.
    written: Vec<(RowKey, Option<Row>)>,
}

impl<'a> Rows<'a> {
    /// `loaded` answers `None` for a row that was not loaded, `Some(None)` for one that does not exist.
    pub fn new(loaded: &'a dyn Fn(&RowKey) -> Option<Option<Row>>) -> Self {
        Self { loaded, written: Vec::new() }
    }

    /// # Errors
    /// A fault when the row was not declared by [`Leaf::parts`]: a mistake in the leaf.
    pub fn get(&self, key: RowKey) -> Result<Option<Row>, Fault> {
        if let Some((_, row)) = self.written.iter().find(|(of, _)| *of == key) {
            return Ok(row.clone());
        }
        (self.loaded)(&key).ok_or_else(|| Fault::new("row-not-declared"))
    }

    pub fn put(&mut self, key: RowKey, row: Row) {
        self.write(key, Some(row));
    }

    pub fn delete(&mut self, key: RowKey) {
        self.write(key, None);
    }

    fn write(&mut self, key: RowKey, row: Option<Row>) {
        match self.written.iter_mut().find(|(of, _)| *of == key) {
            Some((_, written)) => *written = row,
            None => self.written.push((key, row)),
        }
    }

    /// What was written, each row once, for the engine.
    pub fn into_written(self) -> Vec<(RowKey, Option<Row>)> {
        self.written
    }
}

/// Everything besides rows that handling one input brings about.
#[derive(Debug, Default)]
pub struct Output {
    pub messages: Vec<Emit>,
    pub intents: Vec<NewIntent>,
    /// Ends the entity's open intent without waiting for its answer (a notice told the outcome).
    pub concludes: Option<Uuid>,
    /// Rows of a projection's tables.
    pub changes: Vec<Change>,
    /// Entries of the entity's history (sagas), JSON objects.
    pub history: Vec<String>,
    /// Set by the kit when the command was refused; only counted.
    pub rejected: bool,
    /// A record to be kept as parked without blocking its key (a policy's rejected command), with its code.
    pub park_beside: Option<Fault>,
}

/// A message to publish. The engine adds number, header, framing and partition.
#[derive(Clone, Debug)]
pub struct Emit {
    pub topic: Cow<'static, str>,
    pub key: Uuid,
    /// Full name of the record type.
    pub type_name: &'static str,
    /// Avro, without framing.
    pub body: Vec<u8>,
    /// Id of the message; by default UUIDv5 of the cause and its place among the cause's messages.
    pub id: Option<Uuid>,
    pub reply_to: Option<ReplyTo>,
    pub reply_for: Option<Uuid>,
    /// By default that of the cause.
    pub thread: Option<Thread>,
}

#[derive(Clone, Debug)]
pub struct NewIntent {
    pub request: Vec<u8>,
    pub reply: Option<PendingReply>,
}

/// A change to a row of a projection: `columns` is a JSON object that holds at least the primary key.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub table: &'static str,
    pub columns: serde_json::Map<String, serde_json::Value>,
    pub delete: bool,
}

/// Why a record cannot be applied: it is parked under this code, and its key waits behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Kebab-case, from a documented set.
    pub code: &'static str,
    /// For the operator; never payload, never a person's data.
    pub detail: String,
}

impl Fault {
    pub fn new(code: &'static str) -> Self {
        Self { code, detail: String::new() }
    }

    pub fn with(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}
