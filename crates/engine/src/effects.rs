//! Effects: what a part asks of the outside world.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use daybook_events::{FRAME_BYTES, Header, ReplyTo, Timestamp, TraceContext, Writer};
use uuid::Uuid;

use crate::understood::Understood;
use crate::{Incoming, SchemaLookup, Thread};

/// What an adapter declares about the world behind it.
#[derive(Clone, Debug)]
pub struct EffectPolicy {
    /// Whom it calls.
    pub provider: Provider,
    /// The entity takes other messages while the effect is under way: its outcome is applied when it comes, to the state
    /// that the entity has then. For effects that change nothing which the entity decides by.
    pub detached: bool,
    /// How long the provider honors an idempotency key, in ms; 0: not at all.
    pub key_lifetime_ms: i64,
    /// Whether `look_up` can tell what became of a call.
    pub has_lookup: bool,
    /// How long after a call "not found" proves nothing, in ms.
    pub settle_ms: i64,
    /// What to do with an unknown effect when neither key nor lookup helps.
    pub on_unknown: OnUnknown,
    /// Calls before the effect is given up (never acted) or needs attention (may have acted).
    pub attempts_max: u32,
    pub backoff_min_ms: i64,
    pub backoff_max_ms: i64,
    /// Calls of this part under way at once, in one process.
    pub concurrency: usize,
    /// A call's own time limit, in ms; a revoked partition waits for its calls up to this.
    pub call_timeout_ms: u64,
}

/// Code of an attempt that was not answered within the policy's `call_timeout_ms`.
pub const CALL_TIMEOUT: &str = "call-timeout";

/// Code of a repeated call that was not made, or is not to be made, because the provider may have forgotten its key.
pub const KEY_EXPIRED: &str = "key-expired";

/// Whom an adapter calls, and by which codes it tells that nobody is served there. What the provider says about one
/// request alone, a declined card say, is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// A label of metrics and logs.
    pub name: &'static str,
    /// Codes of refused and unknown attempts; a call over its time limit always counts.
    pub down: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    AtLeastOnce,
    NeedsAttention,
}

/// An effect that was decided, with its prepared request. It is in the book (as an event) and in the
/// `intent` table before the call is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// Id of the command (or timer) that caused it: with part and key it makes the idempotency key.
    pub id: Uuid,
    pub partition: u16,
    /// The entity; busy while the intent is open.
    pub key: Uuid,
    /// Prepared once, sent unchanged at every attempt.
    pub request: Vec<u8>,
    /// Where the closing reply goes when the outcome is known.
    pub reply: Option<PendingReply>,
    pub thread: Thread,
    pub created_at: Timestamp,
    pub status: IntentStatus,
    /// Calls made, as far as was recorded.
    pub attempts: u32,
    /// Why it needs attention; a code, no payload.
    pub code: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentStatus {
    Open,
    NeedsAttention,
}

/// The reply that a command is still owed.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PendingReply {
    pub to: ReplyTo,
    /// Id of the command: the reply's `reply_for`.
    pub command_id: Uuid,
    /// Full name of the command's type.
    pub command: String,
}

/// What the driver is asked to do in the outside world.
#[derive(Clone, Debug, PartialEq)]
pub struct Performance {
    pub intent_id: Uuid,
    pub partition: u16,
    /// The same at every attempt: part, entity, command id.
    pub idempotency_key: String,
    pub entity: Uuid,
    pub request: Vec<u8>,
    pub mode: Mode,
    /// Of a repeated call, which may have acted before: it may not be made from then on, by the database's clock, because the
    /// provider may have forgotten its key. What comes too late is [`Performed::Refused`] with [`KEY_EXPIRED`].
    pub key_until: Option<Timestamp>,
    /// The trace of the flow that it belongs to.
    pub trace: Option<TraceContext>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Call,
    /// Ask what became of the call; changes nothing outside.
    LookUp,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Performed {
    /// The outside world answered, well or badly: the adapter's encoded answer.
    Answered(Vec<u8>),
    /// A lookup found nothing.
    NotFound,
    /// Surely not acted (refused before anything was sent, or the provider said so); worth another attempt.
    Refused { code: String },
    /// May have acted.
    Unknown { code: String },
}

/// How an intent ends; handed to the leaf with the intent.
#[derive(Clone, Debug, PartialEq)]
pub enum Conclusion {
    Answered(Vec<u8>),
    /// Every attempt is known not to have acted and the budget is spent.
    GaveUp {
        code: String,
    },
    /// It was concluded before the database was restored to an earlier time: these events stand in the book.
    Recorded(Vec<RecordedEvent>),
}

/// An event as it stands in the book.
#[derive(Clone, Debug)]
pub struct RecordedEvent {
    key: Uuid,
    header: Header,
    writer: Arc<Writer>,
    body: Bytes,
}

impl RecordedEvent {
    /// `None` for what cannot be read as a message.
    pub(crate) fn of(understood: &Understood) -> Option<Self> {
        let incoming = understood.incoming(None).ok()?;
        let SchemaLookup::Known(writer) = &understood.record.schema else { return None };
        let value = understood.record.value.as_ref()?;
        Some(Self {
            key: incoming.key,
            header: incoming.header.clone(),
            writer: Arc::clone(writer),
            body: value.slice(FRAME_BYTES..),
        })
    }

    /// As a leaf reads it.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { key: self.key, header: &self.header, writer: &self.writer, body: &self.body, intent: None }
    }
}

impl PartialEq for RecordedEvent {
    fn eq(&self, other: &Self) -> bool {
        (&self.header, &self.body) == (&other.header, &other.body)
    }
}

/// Carries out effects: implemented over a leaf's adapter by the kit, called by the driver.
pub trait Performer: Send + Sync + 'static {
    fn perform(&self, performance: Performance) -> Pin<Box<dyn Future<Output = Performed> + Send>>;
}
