//! What the engine remembers of one partition: all of it can be had again by a claim.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use daybook_events::{Shard, Timestamp, key};
use hashbrown::HashMap;
use uuid::Uuid;

use crate::cache::Cache;
use crate::codec::Corrupt;
use crate::marks::{LastNumbers, Marks, Verdict};
use crate::mutation::LeftOut;
use crate::offsets::{Offsets, Reached};
use crate::outbox::{Publisher, unpack};
use crate::performing::{OpenIntent, Run};
use crate::waits::Waits;
use crate::{
    Action, Claimed, Conclusion, DueRow, EffectPolicy, Held, Intent, Limits, Mutation, Outgoing, Record, RowKey, Stream,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Claiming {
        retry_at: Option<Timestamp>,
        attempts: u32,
    },
    Live,
    /// Asked back by the group: finishes what is in flight.
    Leaving,
    /// A lost record was found in the log: nothing more is read until an operator has looked.
    Halted,
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) number: u16,
    pub(crate) phase: Phase,
    pub(crate) token: u64,
    /// Rises with each batch that is begun for it.
    pub(crate) turn: u64,
    pub(crate) memory: Memory,
}

/// As of the last commit, except for the queues.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) version: i64,
    pub(crate) next_data: i64,
    pub(crate) next_control: i64,
    pub(crate) incarnation: u32,
    pub(crate) out_seq: u64,
    pub(crate) held_next: u64,
    pub(crate) held: u64,
    pub(crate) accepts_first: bool,
    pub(crate) marks: Marks,
    pub(crate) last_numbers: LastNumbers,
    pub(crate) blocked: HashMap<Bytes, Blocked>,
    pub(crate) intents: HashMap<Uuid, OpenIntent>,
    /// When waiting intents are to be performed.
    pub(crate) schedule: BTreeSet<(Timestamp, Uuid)>,
    pub(crate) cache: Cache,
    pub(crate) publisher: Publisher,
    pub(crate) offsets: Offsets,
    pub(crate) timers: Timers,
    pub(crate) waits: Waits,
    pub(crate) data: Queue,
    pub(crate) control: Queue,
    pub(crate) answers: VecDeque<Answer>,
    pub(crate) released: VecDeque<Held>,
    pub(crate) due: VecDeque<DueRow>,
    /// Keys whose held records are to be loaded.
    pub(crate) draining: VecDeque<Bytes>,
    pub(crate) left_out: LeftOut,
}

/// Why a key's records wait. A key with none of the three is not in the map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) busy: Option<Uuid>,
    pub(crate) parked: Option<Uuid>,
    pub(crate) held: u64,
}

impl Blocked {
    pub(crate) fn is_open(&self) -> bool {
        self.busy.is_none() && self.parked.is_none()
    }

    pub(crate) fn is_free(&self) -> bool {
        self.is_open() && self.held == 0
    }
}

/// What became of an intent, on its way into a batch.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) intent_id: Uuid,
    pub(crate) what: Told,
}

#[derive(Clone, Debug)]
pub(crate) enum Told {
    Conclusion(Conclusion),
    Attention { code: String },
}

/// Fetched records of one stream.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) records: VecDeque<Arc<Record>>,
    pub(crate) bytes: usize,
    /// The offset that must come next.
    pub(crate) next: i64,
    pub(crate) paused: bool,
}

impl Queue {
    pub(crate) fn at(next: i64) -> Self {
        Self { records: VecDeque::new(), bytes: 0, next, paused: false }
    }

    /// # Errors
    /// The offset that was expected, when records are missing before this one.
    pub(crate) fn push(&mut self, record: Record) -> Result<(), i64> {
        if record.offset < self.next {
            return Ok(());
        }
        if record.offset > self.next {
            return Err(self.next);
        }
        self.next = record.offset + 1;
        self.bytes += record.size();
        self.records.push_back(Arc::new(record));
        Ok(())
    }

    pub(crate) fn pop(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes -= record.size();
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// No row is due before this.
    pub(crate) next_due: Option<Timestamp>,
    pub(crate) stage: Stage,
    /// How often the log was asked for its ends.
    pub(crate) round: u64,
    /// A row was due while its key was blocked: it is asked again when a key opens.
    pub(crate) skipped: bool,
}

/// A timer due at t fires only after everything that was in the topics when t passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Idle,
    /// The log was asked for its ends.
    Asked { until: Timestamp },
    /// These offsets must be reached first.
    Barrier { until: Timestamp, data: i64, control: i64 },
    /// Rows up to `until` are loaded page by page and fired.
    Firing { until: Timestamp, after: Option<(Timestamp, RowKey)>, last_page: bool },
}

impl Timers {
    pub(crate) fn note(&mut self, due: Timestamp) {
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }

    /// The last round that is over.
    pub(crate) fn finished(&self) -> u64 {
        self.round - u64::from(self.stage != Stage::Idle)
    }
}

impl Partition {
    pub(crate) fn claiming(number: u16) -> Self {
        let phase = Phase::Claiming { retry_at: None, attempts: 0 };
        Self { number, phase, token: 0, turn: 0, memory: Memory::empty() }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// The group offset to commit, when it has moved on.
    pub(crate) fn witness(&mut self) -> Option<Action> {
        let memory = &mut self.memory;
        let Reached { out_seq, next_data, waits } = memory.offsets.published(memory.publisher.published())?;
        Some(Action::Witness { partition: self.number, next_data, incarnation: memory.incarnation, out_seq, waits })
    }
}

impl Memory {
    /// Whether it is to be told that something here waits for a participant.
    pub(crate) fn waits(&self) -> bool {
        self.waits.are_open(self.timers.finished())
    }

    /// What is to be told as the group offset when all that came of it is published.
    pub(crate) fn note_offset(&mut self) {
        let waits = self.waits();
        self.offsets.note(Reached { out_seq: self.out_seq, next_data: self.next_data, waits });
    }

    fn empty() -> Self {
        Self {
            version: 0,
            next_data: 0,
            next_control: 0,
            incarnation: 0,
            out_seq: 0,
            held_next: 0,
            held: 0,
            accepts_first: false,
            marks: Marks::default(),
            last_numbers: LastNumbers::default(),
            blocked: HashMap::new(),
            intents: HashMap::new(),
            schedule: BTreeSet::new(),
            cache: Cache::new(0),
            publisher: Publisher::new(0, 0),
            offsets: Offsets::default(),
            timers: Timers::default(),
            waits: Waits::default(),
            data: Queue::at(0),
            control: Queue::at(0),
            answers: VecDeque::new(),
            released: VecDeque::new(),
            due: VecDeque::new(),
            draining: VecDeque::new(),
            left_out: LeftOut::default(),
        }
    }

    /// Takes over what the store holds; answers what the shard has yet to publish, in order.
    ///
    /// # Errors
    /// When stored bytes cannot be read.
    pub(crate) fn claimed(
        claimed: Claimed,
        attempt: u64,
        limits: &Limits,
        policy: Option<&EffectPolicy>,
        now: Timestamp,
    ) -> Result<(Self, Vec<Arc<Outgoing>>), Corrupt> {
        let mut unpublished = Vec::new();
        for row in &claimed.outbox {
            unpublished.extend(unpack(&row.messages)?.into_iter().map(Arc::new));
        }
        unpublished.retain(|message| message.seq > claimed.published_seq);
        let mut publisher = Publisher::new(attempt, claimed.published_seq);
        publisher.append(&unpublished);
        // Until its first timers were looked at: the last owner may have put off what is due.
        let waits = Waits::until_looked_at(claimed.next_due.is_some_and(|due| due <= now));
        let mut memory = Self {
            version: claimed.version,
            next_data: claimed.next_data,
            next_control: claimed.next_control,
            incarnation: claimed.incarnation,
            out_seq: claimed.out_seq,
            held_next: claimed.held_next,
            accepts_first: claimed.accepts_first,
            marks: Marks::decode(&claimed.marks)?,
            last_numbers: LastNumbers::decode(&claimed.last_numbers)?,
            cache: Cache::new(limits.cache_bytes_max),
            publisher,
            waits,
            timers: Timers { next_due: claimed.next_due, ..Timers::default() },
            data: Queue::at(claimed.next_data),
            control: Queue::at(claimed.next_control),
            ..Self::empty()
        };
        memory.note_offset();
        for blocked in claimed.blocked {
            memory.held += blocked.held;
            let of_key = Blocked { busy: None, parked: blocked.parked, held: blocked.held };
            memory.blocked.insert(blocked.key, of_key);
        }
        for intent in claimed.intents {
            memory.found(intent, policy, now);
        }
        let draining = memory.blocked.iter().filter(|(_, blocked)| blocked.is_open()).map(|(key, _)| key.clone());
        let mut draining: Vec<_> = draining.collect();
        draining.sort_unstable();
        memory.draining = draining.into();
        Ok((memory, unpublished))
    }

    fn found(&mut self, intent: Intent, policy: Option<&EffectPolicy>, now: Timestamp) {
        if policy.is_none_or(|policy| !policy.detached) {
            let key = Bytes::copy_from_slice(&key::of(intent.key));
            self.blocked.entry(key).or_default().busy = Some(intent.id);
        }
        if let Some(policy) = policy {
            self.open(OpenIntent::found(intent, policy, now));
        }
    }

    pub(crate) fn open(&mut self, open: OpenIntent) {
        if let Run::Waiting { at, .. } = open.run {
            self.schedule.insert((at, open.intent.id));
        }
        self.intents.insert(open.intent.id, open);
    }

    pub(crate) fn close(&mut self, intent_id: Uuid) {
        if let Some(open) = self.intents.remove(&intent_id)
            && let Run::Waiting { at, .. } = open.run
        {
            self.schedule.remove(&(at, intent_id));
        }
    }

    pub(crate) fn queue(&mut self, stream: Stream) -> &mut Queue {
        match stream {
            Stream::Data => &mut self.data,
            Stream::Control => &mut self.control,
        }
    }

    /// The open intent that keeps a key busy.
    pub(crate) fn intent_of(&self, key: &Bytes) -> Option<&Intent> {
        let id = self.blocked.get(key)?.busy?;
        self.intents.get(&id).map(|open| &open.intent)
    }

    /// Judges the number of a message by `marks`: those of the partition, or those of the batch.
    pub(crate) fn judge(&self, marks: &Marks, shard: &Shard) -> Verdict {
        match marks.judge(shard, self.accepts_first) {
            Verdict::Duplicate | Verdict::Gap { .. } if self.left_out.has(Mutation::MarksIgnored) => Verdict::Apply,
            Verdict::Gap { .. } if self.left_out.has(Mutation::GapPassed) => Verdict::Apply,
            verdict => verdict,
        }
    }

    pub(crate) fn calling(&self) -> bool {
        self.intents.values().any(|open| matches!(open.run, Run::Calling { .. }))
    }
}
