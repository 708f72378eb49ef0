//! Brings a partition whose database was restored to an earlier time up to what it has published since.
//!
//! The book tells in which order the shard applied its inputs: its messages are numbered, and each names its cause and
//! the time of its batch. So the inputs are applied again by the production fold, in that order and at that time. What they
//! lead to has the ids it had then: what is in the book is not published again, and whatever is not gets a number of a new
//! incarnation. Outcomes of effects are not asked for again: the events that they led to are taken from the book.
//!
//! Decided 2026-11-21: the inputs are applied again, instead of folding the part's own events only. Events tell neither a
//! saga's data, nor what is held or parked, nor which request is under way. The price is that the inputs must still be in
//! their topics, and that the release must be the one that ran then: any other outcome than the book's is refused.

mod counted;
mod inputs;
mod plan;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use daybook_events::{Header, Schemas, Shard, Timestamp};
use hashbrown::{HashMap, HashSet};
use uuid::Uuid;

use crate::batch::{Batch, Item, Task};
use crate::fold::{Folded, Folder, Work};
use crate::marks::{LastNumbers, Verdict};
use crate::outbox::{Names, Publisher, pack};
use crate::partition::{Memory, Partition, Phase};
use crate::{
    Claimed, Commit, Corrupt, HeldAsk, Leaf, Limits, Load, Loaded, OutboxRow, Outgoing, PartitionCommit, Record,
};

use counted::{Counted, Number, Published, renumbered};
use inputs::Inputs;
use plan::{Planned, Waiting};

/// Plans for one message: a record that was held, or dropped as a gap and delivered again, is planned for more than once.
/// What does not come of it then never will.
const PLANS_MAX: u32 = 16;

/// A message in the book.
#[derive(Clone, Debug)]
pub struct BookMessage {
    pub topic: Arc<str>,
    /// With the partition that it was published to.
    pub record: Record,
}

/// What recovering a partition reads beside the database.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The shard's own messages, in the order of the log within each topic and partition. Beginning before what the row
    /// has as published; those of other shards are passed over.
    pub published: Vec<BookMessage>,
    /// Every record of the data and of the control topic from the row's next offset on, schemas looked up.
    pub data: Vec<Record>,
    pub control: Vec<Record>,
    /// (incarnation, number) that was committed with the group's offset.
    pub witness: Option<(u32, u64)>,
}

/// What recovery asks for next. All of it is to happen in one transaction.
#[derive(Clone, Debug)]
pub enum RecoveryStep {
    /// Answer: [`Recovery::loaded`].
    Load(Load),
    /// Answer: [`Recovery::committed`], or [`Recovery::refused`].
    Commit(Box<Commit>),
    /// The incarnation is to be stored with the rest, and the transaction to be committed.
    Done(Recovered),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Recovered {
    pub partition: u16,
    /// From now on the shard numbers under this one.
    pub incarnation: u32,
    /// The number that the database had stopped at, and the highest that was ever seen.
    pub known: u64,
    pub highest: u64,
    /// Messages in the book that were arrived at again.
    pub reproduced: u64,
    /// Messages that the book lacks, to be published under the new incarnation.
    pub made_anew: u64,
    /// Records taken in from both topics.
    pub records: u64,
    /// Records that were taken as having changed nothing, because they published nothing then.
    pub passed_over: u64,
}

/// Why a partition cannot be recovered. Nothing of it may be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    #[error(
        "partition {partition}: what led to number {seq} ({type_name}) is neither in the topics nor in the tables; \
         the copy of the database is older than what the topics keep: restore a newer one"
    )]
    CauseUnknown { partition: u16, seq: u64, type_name: String },
    #[error(
        "partition {partition}: this program does not arrive at number {seq} ({type_name}) as it stands in the book; \
         recover with the release that ran when it was published"
    )]
    Differs { partition: u16, seq: u64, type_name: String },
    #[error("partition {partition}: what was recovered cannot be stored (SQLSTATE {sqlstate})")]
    NotStorable { partition: u16, sqlstate: String },
}

/// The recovery of one partition: no I/O, driven by [`Recovery::step`].
pub struct Recovery {
    leaf: Arc<dyn Leaf>,
    schemas: Arc<dyn Schemas + Send + Sync>,
    limits: Limits,
    names: Names,
    number: u16,
    partitions: BTreeMap<u16, Partition>,
    /// Ids of the shard's messages that stand in the book, and those of them that were arrived at.
    published: HashSet<Uuid>,
    reproduced: HashSet<Uuid>,
    /// What is still to be arrived at, in order, and how many of these each cause has.
    above: VecDeque<Published>,
    causes: HashMap<Uuid, u32>,
    complete_to: Number,
    inputs: Inputs,
    waiting: BTreeMap<u64, Waiting>,
    /// Restored as not yet published, and not in the book.
    unsent: Vec<Arc<Outgoing>>,
    planned: VecDeque<Planned>,
    /// Time of the batch that is applied again.
    now: Timestamp,
    one_by_one: bool,
    /// How often the first message was planned for.
    plans: u32,
    pending: Option<Pending>,
    is_closed: bool,
    sums: Recovered,
}

enum Pending {
    Held(Load),
    /// Looking for the timer that led to the first message.
    Due(Load),
    Rows {
        batch: Box<Batch>,
        chunk: Vec<Planned>,
        load: Load,
    },
    Commit {
        commit: Box<Commit>,
        works: Vec<Work>,
        reproduced: Vec<Uuid>,
        /// What it was folded from; nothing for the row alone.
        chunk: Vec<Planned>,
        is_poisoned: bool,
    },
}

impl Recovery {
    /// `None`: the database knows every number that was given; there is nothing to recover.
    ///
    /// # Errors
    /// When stored bytes cannot be read.
    pub fn new(
        leaf: Arc<dyn Leaf>,
        schemas: Arc<dyn Schemas + Send + Sync>,
        limits: Limits,
        claimed: Claimed,
        evidence: Evidence,
        now: Timestamp,
    ) -> Result<Option<Self>, RecoveryError> {
        let (part, number) = (leaf.spec().name, claimed.partition);
        let known = (claimed.incarnation, claimed.out_seq);
        let last = LastNumbers::decode(&claimed.last_numbers)?;
        let Counted { above, ids, highest, complete_to } = Counted::of(part, &claimed, &last, evidence.published);
        let highest = highest.max(evidence.witness.unwrap_or_default());
        if highest <= known {
            return Ok(None);
        }
        let held = claimed.blocked.iter().filter(|blocked| blocked.held > 0).map(|blocked| HeldAsk {
            partition: number,
            key: blocked.key.clone(),
            limit: u32::try_from(blocked.held).unwrap_or(u32::MAX),
        });
        let held = Load { held: held.collect(), ..Load::default() };
        let seconds = u32::try_from(now.millis() / 1_000).unwrap_or(0);
        let incarnation = seconds.max(highest.0.saturating_add(1));
        let base = highest.1.max(known.1);
        let (mut memory, mut unsent) = Memory::claimed(claimed, 0, &limits, leaf.spec().effects.as_ref(), now)?;
        unsent.retain(|message| !ids.contains(&message.message_id));
        memory.incarnation = incarnation;
        memory.last_numbers = LastNumbers::default();
        memory.out_seq = base;
        memory.publisher = Publisher::new(0, base);
        let mut causes = HashMap::new();
        for message in &above {
            *causes.entry(message.cause).or_default() += 1;
        }
        let sums = Recovered { partition: number, incarnation, known: known.1, highest: base, ..Recovered::default() };
        let partition = Partition { phase: Phase::Live, memory, ..Partition::claiming(number) };
        Ok(Some(Self {
            leaf,
            schemas,
            limits,
            names: Names::default(),
            number,
            partitions: BTreeMap::from([(number, partition)]),
            published: ids,
            reproduced: HashSet::new(),
            above: above.into(),
            causes,
            complete_to,
            inputs: Inputs::new(part, evidence.data, evidence.control),
            waiting: BTreeMap::new(),
            unsent,
            planned: VecDeque::new(),
            now,
            one_by_one: false,
            plans: 0,
            pending: (!held.is_empty()).then_some(Pending::Held(held)),
            is_closed: false,
            sums,
        }))
    }

    pub fn partition(&self) -> u16 {
        self.number
    }

    /// Messages of the book that are still to be arrived at.
    pub fn left(&self) -> usize {
        self.above.len()
    }

    /// What is to be done next; the same again until it is answered.
    ///
    /// # Errors
    /// When the partition cannot be recovered.
    pub fn step(&mut self) -> Result<RecoveryStep, RecoveryError> {
        loop {
            match &self.pending {
                Some(Pending::Held(load) | Pending::Due(load) | Pending::Rows { load, .. }) => {
                    return Ok(RecoveryStep::Load(load.clone()));
                }
                Some(Pending::Commit { commit, .. }) => return Ok(RecoveryStep::Commit(commit.clone())),
                None if self.is_closed => return Ok(RecoveryStep::Done(self.sums)),
                None => self.go_on()?,
            }
        }
    }

    /// # Errors
    /// When the partition cannot be recovered.
    pub fn loaded(&mut self, loaded: Loaded) -> Result<(), RecoveryError> {
        match self.pending.take() {
            Some(Pending::Held(_)) => loaded.held.into_iter().for_each(|held| self.wait(held)),
            Some(Pending::Due(load)) => self.due_loaded(&load, loaded.due)?,
            Some(Pending::Rows { mut batch, chunk, load }) => {
                batch.load(&load, loaded, &*self.schemas);
                self.load_or_fold(*batch, chunk)?;
            }
            other => self.pending = other,
        }
        Ok(())
    }

    /// The commit that was asked for is done.
    pub fn committed(&mut self) {
        let Some(Pending::Commit { commit, works, reproduced, .. }) = self.pending.take() else { return };
        for (_, number) in &commit.held_gone {
            self.waiting.remove(number);
        }
        commit.held_put.into_iter().for_each(|held| self.wait(held));
        self.reproduced.extend(reproduced);
        let (acts, now) = (self.leaf.spec().effects.is_some(), self.now);
        for work in works {
            self.sums.records += (work.taken.data + work.taken.control) as u64;
            self.sums.made_anew += work.messages.len() as u64;
            self.memory().absorb(work, acts, now);
        }
    }

    /// The data of the commit that was asked for cannot be stored, and nothing of it was: as then, the one input whose
    /// fault it is will be parked.
    ///
    /// # Errors
    /// When even that cannot be stored.
    pub fn refused(&mut self, sqlstate: String) -> Result<(), RecoveryError> {
        let Some(Pending::Commit { mut chunk, is_poisoned, .. }) = self.pending.take() else { return Ok(()) };
        if chunk.len() > 1 {
            self.apply_singly(chunk);
            return Ok(());
        }
        match chunk.pop().filter(|_| !is_poisoned) {
            Some(planned) => {
                let batch = Batch { poison: Some(sqlstate), ..self.batch(std::slice::from_ref(&planned)) };
                self.load_or_fold(batch, vec![planned])
            }
            None => Err(RecoveryError::NotStorable { partition: self.number, sqlstate }),
        }
    }

    fn apply_singly(&mut self, chunk: Vec<Planned>) {
        chunk.into_iter().rev().for_each(|planned| self.planned.push_front(planned));
        self.one_by_one = true;
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.partitions.get_mut(&self.number).expect("it has one partition").memory
    }

    fn go_on(&mut self) -> Result<(), RecoveryError> {
        if !self.unsent.is_empty() {
            self.send_unsent();
            return Ok(());
        }
        if !self.planned.is_empty() {
            return self.fold_next();
        }
        self.one_by_one = false;
        while let Some(first) = self.above.front()
            && self.reproduced.contains(&first.message_id)
        {
            if let Some(count) = self.causes.get_mut(&first.cause) {
                *count = count.saturating_sub(1);
            }
            self.sums.reproduced += 1;
            self.plans = 0;
            self.above.pop_front();
        }
        self.plans += 1;
        match self.above.front().cloned() {
            Some(_) if self.plans > PLANS_MAX => Err(self.differs()),
            Some(first) => self.plan(&first),
            None => {
                self.close();
                Ok(())
            }
        }
    }

    /// Folds what is planned, as much of it at once as may be.
    fn fold_next(&mut self) -> Result<(), RecoveryError> {
        let most = if self.one_by_one { 1 } else { self.limits.batch_max };
        let chunk: Vec<Planned> = self.planned.drain(..most.min(self.planned.len())).collect();
        let batch = self.batch(&chunk);
        self.load_or_fold(batch, chunk)
    }

    fn batch(&self, chunk: &[Planned]) -> Batch {
        let item = |planned: &Planned| Item { partition: self.number, token: 0, task: planned.task.clone() };
        Batch::of(chunk.iter().map(item).collect())
    }

    fn load_or_fold(&mut self, mut batch: Batch, chunk: Vec<Planned>) -> Result<(), RecoveryError> {
        let load = batch.missing(&*self.leaf, &mut self.partitions);
        if !load.is_empty() {
            self.pending = Some(Pending::Rows { batch: Box::new(batch), chunk, load });
            return Ok(());
        }
        let folder =
            Folder::new(&*self.leaf, &*self.schemas, &self.limits, self.now, &self.partitions, &batch, &mut self.names);
        let Folded { commit, works, reproduced, .. } = folder.knowing(&self.published).fold(&[]);
        if self.is_complete() && works.iter().any(|work| !work.messages.is_empty()) {
            return self.differed(chunk);
        }
        let is_poisoned = batch.poison.is_some();
        self.pending = Some(Pending::Commit { commit: Box::new(commit), works, reproduced, chunk, is_poisoned });
        Ok(())
    }

    /// Whether the book lacks nothing up to the message that is to be arrived at.
    fn is_complete(&self) -> bool {
        self.above.front().is_some_and(|first| first.number <= self.complete_to)
    }

    /// Something new came of it, though every number up to here is in the book.
    fn differed(&mut self, mut chunk: Vec<Planned>) -> Result<(), RecoveryError> {
        if chunk.len() > 1 {
            self.apply_singly(chunk);
            return Ok(());
        }
        match chunk.pop() {
            Some(Planned { task: Task::Record(understood) | Task::Verb(understood, _), is_silent: true }) => {
                self.sums.passed_over += 1;
                self.pass_over(&understood);
                Ok(())
            }
            // What the book says of an operator's verb stands; the record that it was about stays as it is.
            Some(Planned { task: Task::Verb(understood, _), is_silent: false }) => {
                let verb = understood.header.as_ref().map(|header| header.message_id);
                let told = self.above.iter().filter(|message| Some(message.cause) == verb);
                self.reproduced.extend(told.map(|message| message.message_id));
                self.sums.passed_over += 1;
                self.pass_over(&understood);
                Ok(())
            }
            _ => Err(self.differs()),
        }
    }

    /// It published nothing then, so it changed nothing.
    fn pass_over(&mut self, understood: &crate::understood::Understood) {
        let memory = self.memory();
        let next = understood.record.offset + 1;
        match understood.record.stream {
            crate::Stream::Data => memory.next_data = next,
            crate::Stream::Control => memory.next_control = next,
        }
        let shard = understood.header.as_ref().and_then(|header| header.shard.as_ref());
        if let Some(shard) = shard
            && memory.marks.judge(shard, memory.accepts_first) == Verdict::Apply
        {
            memory.marks.advance(shard);
        }
    }

    /// What was to be published when the copy was made, and is not in the book, goes out under new numbers.
    fn send_unsent(&mut self) {
        let part: Arc<str> = self.leaf.spec().name.into();
        let (number, incarnation) = (self.number, self.sums.incarnation);
        let unsent = std::mem::take(&mut self.unsent);
        let memory = self.memory();
        let mut messages = Vec::with_capacity(unsent.len());
        for message in unsent {
            let seq = memory.out_seq + 1;
            let prev = memory.last_numbers.replace(&message.topic, message.partition, seq);
            let shard = Shard { instance: Arc::clone(&part), partition: number, incarnation, seq, prev };
            // The engine has written it, so it can be read.
            let Some(header) = renumbered(&message.header, shard) else { continue };
            memory.out_seq = seq;
            messages.push(Outgoing { seq, header, ..Outgoing::clone(&message) });
        }
        self.sums.made_anew += messages.len() as u64;
        let outbox = messages.first().zip(messages.last()).map(|(first, last)| OutboxRow {
            partition: number,
            first_seq: first.seq,
            last_seq: last.seq,
            messages: pack(&messages),
        });
        self.store_row(outbox);
    }

    /// The last commit: offsets and marks, also of what was passed over.
    fn close(&mut self) {
        self.store_row(None);
        self.is_closed = true;
    }

    fn store_row(&mut self, outbox: Option<OutboxRow>) {
        let number = self.number;
        let memory = self.memory();
        let row = PartitionCommit {
            partition: number,
            version: memory.version,
            next_data: memory.next_data,
            next_control: memory.next_control,
            out_seq: memory.out_seq,
            published_seq: memory.publisher.published(),
            held_next: memory.held_next,
            marks: Some(memory.marks.encode()),
            last_numbers: Some(memory.last_numbers.encode()),
        };
        memory.version += 1;
        let commit = Commit { partitions: vec![row], outbox: outbox.into_iter().collect(), ..Commit::default() };
        let (works, reproduced, chunk) = (Vec::new(), Vec::new(), Vec::new());
        self.pending = Some(Pending::Commit { commit: Box::new(commit), works, reproduced, chunk, is_poisoned: false });
    }

    fn differs(&self) -> RecoveryError {
        let (seq, type_name) = self.first();
        RecoveryError::Differs { partition: self.number, seq, type_name }
    }

    fn cause_unknown(&self) -> RecoveryError {
        let (seq, type_name) = self.first();
        RecoveryError::CauseUnknown { partition: self.number, seq, type_name }
    }

    fn first(&self) -> (u64, String) {
        let first = self.above.front();
        first.map_or((0, String::new()), |first| (first.number.1, first.understood.type_name().to_owned()))
    }
}

fn message_id(header: Option<&bytes::Bytes>) -> Option<Uuid> {
    header.and_then(|bytes| Header::decode(bytes).ok()).map(|header| header.message_id)
}
