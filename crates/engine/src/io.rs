//! What the engine is told and what it asks for.

use std::sync::Arc;

use daybook_events::Timestamp;

use crate::{Claimed, Commit, CommitError, Load, Loaded, Outgoing, Performance, Performed, Record, Stream};

/// What happened. Handed to [`crate::Engine::on`] with the current time.
#[derive(Debug)]
pub enum Event {
    /// The group gave us this partition.
    Assigned {
        partition: u16,
    },
    /// The group asks for it back: what is in flight is finished, then [`Action::Released`].
    Revoked {
        partition: u16,
    },
    /// It is gone already: nothing of it may be written or published any more.
    Lost {
        partition: u16,
    },
    Claimed(Box<Claimed>),
    /// The claim failed; it is tried again after the backoff.
    ClaimFailed {
        partition: u16,
    },
    /// Records of one partition and stream in the order of the log. `token` is that of the
    /// [`Action::Fetch`] that they answer: others are stale and dropped.
    Fetched {
        partition: u16,
        token: u64,
        records: Vec<Record>,
    },
    Loaded {
        ticket: u64,
        result: Result<Box<Loaded>, LoadError>,
    },
    Committed {
        ticket: u64,
        result: Result<(), CommitError>,
    },
    /// The log acknowledged (or failed) one message of a shard.
    Delivered {
        partition: u16,
        attempt: u64,
        seq: u64,
        ok: bool,
    },
    Performed {
        partition: u16,
        token: u64,
        intent_id: uuid::Uuid,
        outcome: Performed,
    },
    /// The ends of both topics at the time of the answer: offsets of the next record.
    Ends {
        partition: u16,
        token: u64,
        data: i64,
        control: i64,
    },
    /// How far the part that reads `topic` has come with its partition `of`: where the partition ends, what comes next for
    /// the part, and whether it waits for somebody itself. All before `next` was applied, and whatever it led to is in the log.
    Progress {
        partition: u16,
        token: u64,
        topic: &'static str,
        of: u16,
        end: i64,
        next: i64,
        waits: bool,
    },
    /// Nothing; time has passed. The driver calls at the latest at [`crate::Engine::wake_at`].
    Tick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    pub sqlstate: String,
}

/// What the driver is to do. Actions are carried out in the order given.
#[derive(Clone, Debug)]
pub enum Action {
    /// `UPDATE … SET version = version + 1 … RETURNING *`, with everything open. Answer: `Claimed`.
    Claim {
        partition: u16,
    },
    /// Fetch both topics of the partition from here. Records carry the token.
    Fetch {
        partition: u16,
        token: u64,
        data: i64,
        control: i64,
    },
    /// Stop fetching it.
    Forget {
        partition: u16,
    },
    Pause {
        partition: u16,
        stream: Stream,
    },
    Resume {
        partition: u16,
        stream: Stream,
    },
    Load {
        ticket: u64,
        load: Load,
    },
    Commit {
        ticket: u64,
        commit: Box<Commit>,
    },
    /// Publish in this order; acknowledge each with the attempt.
    Publish {
        partition: u16,
        attempt: u64,
        messages: Vec<Arc<Outgoing>>,
    },
    /// Commit the group offset asynchronously, with the witness (incarnation, out_seq) and `waits` as metadata. What everything
    /// before the offset has led to is in the log, but for what `waits` for a participant.
    Witness {
        partition: u16,
        next_data: i64,
        incarnation: u32,
        out_seq: u64,
        waits: bool,
    },
    Perform {
        token: u64,
        performance: Performance,
    },
    AskEnds {
        partition: u16,
        token: u64,
    },
    /// Ask how far the part that reads `topic` has come with its partition `of`. Answer: `Progress`.
    AskProgress {
        partition: u16,
        token: u64,
        topic: &'static str,
        of: u16,
    },
    /// Nothing of a revoked partition is in flight any more.
    Released {
        partition: u16,
    },
    /// Somebody else writes this partition: if the group still gives it to us, assign it again.
    StoodDown {
        partition: u16,
    },
    /// Something an operator should see; also counted.
    Alarm(Alarm),
}

/// Noteworthy, without payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A number is missing in the log: the sender will go back.
    Gap {
        partition: u16,
        instance: String,
        shard: u16,
        mark: u64,
        prev: u64,
        seq: u64,
    },
    Parked {
        partition: u16,
        offset: i64,
        stream: Stream,
        code: String,
    },
    /// A parked record could not be told on the topic of parked records; the table has it.
    Untold {
        partition: u16,
        code: String,
    },
    NeedsAttention {
        partition: u16,
        code: String,
    },
    DeliveryFailed {
        partition: u16,
        seq: u64,
    },
    /// Attempts in a row say that it serves nobody: one at a time is made until it does.
    ProviderDown {
        provider: &'static str,
    },
    ProviderUp {
        provider: &'static str,
    },
    Fenced {
        partition: u16,
    },
    CommitUnknown,
    TimerFailed {
        partition: u16,
        code: String,
    },
    /// Deadlines have waited for a while for whoever reads this partition.
    ParticipantLags {
        partition: u16,
        topic: &'static str,
        of: u16,
        behind: i64,
    },
    /// Stored bytes cannot be read: the partition stands still.
    Corrupt {
        partition: u16,
    },
    HeldFilling {
        partition: u16,
        held: u64,
    },
    OffsetJump {
        partition: u16,
        stream: Stream,
        expected: i64,
        found: i64,
    },
}

/// The bounds of one engine; every one has a metric. The default is that of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Inputs in one batch.
    pub batch_max: usize,
    /// Inputs that must wait before a batch is begun beside another: fewer are better done together, after it.
    pub beside_min: usize,
    /// Bytes queued per partition and stream at which fetching pauses; it resumes at half.
    pub queue_bytes_max: usize,
    /// Bytes of rows in the cache, per partition.
    pub cache_bytes_max: usize,
    /// Messages of a shard committed but not acknowledged; at the bound the partition takes no work.
    pub unacknowledged_max: usize,
    /// Held records per partition; at the bound the partition pauses.
    pub held_max: u64,
    /// Open effects per partition, which detached ones may reach; at the bound it takes no more data.
    pub intents_max: usize,
    /// Effects per partition whose call is due and waits for its turn. No more data is taken than could become one each: what cannot
    /// be done now waits in the book, where it is seen. Of no concern to a part without effects.
    pub calls_due_max: usize,
    /// Held or due rows loaded at once.
    pub page: u32,
    /// How long `published_seq` may wait for the next batch, in ms.
    pub publish_mark_ms: i64,
    /// How long a deadline waits at most for a participant that has not read what it was sent, in ms.
    pub lag_patience_ms: i64,
    /// First and largest wait before a failed claim, load or commit is tried again, in ms.
    pub retry_min_ms: i64,
    pub retry_max_ms: i64,
    /// Largest value that the log takes, in bytes.
    pub message_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_max: 2_000,
            beside_min: 200,
            queue_bytes_max: 8 << 20,
            cache_bytes_max: 2 << 20,
            unacknowledged_max: 10_000,
            held_max: 100_000,
            intents_max: 5_000,
            calls_due_max: 32,
            page: 500,
            publish_mark_ms: 1_000,
            lag_patience_ms: 24 * 60 * 60 * 1_000,
            retry_min_ms: 20,
            retry_max_ms: 2_000,
            message_bytes_max: 1_000_000,
        }
    }
}

/// When something is to be done next, for `wake_at`.
pub type WakeAt = Option<Timestamp>;
