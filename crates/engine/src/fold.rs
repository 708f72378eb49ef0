//! Folds a batch in memory: what it takes in becomes one [`Commit`]. Nothing here changes what the engine
//! remembers; that happens when the commit has succeeded ([`Work::absorb`]).

mod effects;
mod outgoing;
mod parking;
mod timers;
mod verbs;
mod work;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use daybook_events::{
    DiscardParked, Discarded, Header, MAX_TEXT_BYTES, Message, OperatorActed, RedriveParked, ReplyTo, ResolveEffect,
    Schemas, Shard, Timestamp, encode, frame, key,
};
use hashbrown::{HashMap, HashSet};
use uuid::Uuid;

use crate::batch::{Batch, Item, Task, Verb};
use crate::marks::{LastNumbers, Marks, Verdict};
use crate::outbox::{Names, pack};
use crate::partition::{Answer, Blocked, Memory, Partition, Told};
use crate::tables::TableFold;
use crate::understood::Understood;
use crate::{
    Alarm, Applied, Commit, Conclusion, Context, Counters, DueRow, Emit, Fault, Held, HistoryRow, Input, Intent,
    IntentStatus, Leaf, Limits, Mutation, OutboxRow, Outgoing, Output, PARTITIONS, Parked, PartKind, PartitionCommit,
    ROW_BODY_MAX, Row, RowKey, Rows, StateRow, Stream, Thread,
};

use outgoing::encoded;
pub(crate) use parking::parked_id;
pub(crate) use timers::timer_id;
use work::settle;
pub(crate) use work::{Taken, Work, WrittenRows};

/// The outcome of folding a batch.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) commit: Commit,
    pub(crate) works: Vec<Work>,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) counters: Counters,
    /// Messages that came of it again and stand in the book already (see [`Folder::knowing`]).
    pub(crate) reproduced: Vec<Uuid>,
}

/// Who asked, and what the reply and its effects are tied to.
struct Cause {
    message_id: Uuid,
    thread: Thread,
    /// The command from outside that is being applied: its closing reply is kept.
    outside: Option<Uuid>,
}

/// Where a record comes from that is handed to the leaf.
#[derive(Clone, Copy)]
enum Origin<'a> {
    Fresh,
    Held(u64),
    Parked(&'a Parked),
}

/// A message that is complete but for its number.
struct Draft {
    topic: Arc<str>,
    type_name: Arc<str>,
    key: Uuid,
    value: Bytes,
    message_id: Uuid,
    reply_to: Option<ReplyTo>,
    reply_for: Option<Uuid>,
    thread: Option<Thread>,
}

pub(crate) struct Folder<'a> {
    pub(crate) leaf: &'a dyn Leaf,
    pub(crate) schemas: &'a dyn Schemas,
    pub(crate) limits: &'a Limits,
    pub(crate) now: Timestamp,
    pub(crate) partitions: &'a BTreeMap<u16, Partition>,
    pub(crate) batch: &'a Batch,
    pub(crate) names: &'a mut Names,
    works: BTreeMap<u16, Work>,
    commit: Commit,
    tables: TableFold,
    applied: HashMap<Uuid, Applied>,
    alarms: Vec<Alarm>,
    counters: Counters,
    published: Option<&'a HashSet<Uuid>>,
    reproduced: Vec<Uuid>,
}

impl<'a> Folder<'a> {
    pub(crate) fn new(
        leaf: &'a dyn Leaf,
        schemas: &'a dyn Schemas,
        limits: &'a Limits,
        now: Timestamp,
        partitions: &'a BTreeMap<u16, Partition>,
        batch: &'a Batch,
        names: &'a mut Names,
    ) -> Self {
        Self {
            leaf,
            schemas,
            limits,
            now,
            partitions,
            batch,
            names,
            works: BTreeMap::new(),
            commit: Commit::default(),
            tables: TableFold::default(),
            applied: HashMap::new(),
            alarms: Vec::new(),
            counters: Counters::default(),
            published: None,
            reproduced: Vec::new(),
        }
    }

    /// Messages with these ids stand in the book: they are neither numbered nor published again.
    pub(crate) fn knowing(mut self, published: &'a HashSet<Uuid>) -> Self {
        self.published = Some(published);
        self
    }

    /// `also`: partitions whose row is to be written although they take nothing in.
    pub(crate) fn fold(mut self, also: &[u16]) -> Folded {
        for of_partition in self.batch.items.chunk_by(|one, next| one.partition == next.partition) {
            let Some(partition) = self.partitions.get(&of_partition[0].partition) else {
                continue;
            };
            let mut work = self.work(partition);
            for item in of_partition {
                self.item(partition, &mut work, item);
            }
            self.works.insert(partition.number, work);
        }
        for number in also {
            if let Some(partition) = self.partitions.get(number) {
                let work = self.work(partition);
                self.works.insert(*number, work);
            }
        }
        self.finish()
    }

    fn work(&mut self, partition: &Partition) -> Work {
        self.works.remove(&partition.number).unwrap_or_else(|| Work::new(partition.number, &partition.memory))
    }

    fn item(&mut self, partition: &Partition, work: &mut Work, item: &Item) {
        match &item.task {
            Task::Record(understood) => self.arrive(partition, work, understood, None),
            Task::Verb(understood, verb) => self.arrive(partition, work, understood, Some(verb)),
            Task::SetAside(understood) => self.set_aside(partition, work, understood),
            Task::Held { number, key, understood } => {
                work.taken.released += 1;
                // Something before it blocked the key again: it stays where it is.
                if work.blocked_of(partition, key).is_some_and(|blocked| blocked.is_open()) {
                    self.deliver(partition, work, understood, Origin::Held(*number));
                }
            }
            Task::Due(due) => {
                work.taken.due += 1;
                self.due(partition, work, due);
            }
            Task::Answer(answer) => {
                work.taken.answers += 1;
                self.answer(partition, work, answer);
            }
        }
    }

    /// A record from the log: its offset and its number are taken, whatever becomes of it. Answers whether it counts.
    fn take(&mut self, partition: &Partition, work: &mut Work, understood: &Understood) -> bool {
        match understood.record.stream {
            Stream::Data => {
                work.taken.data += 1;
                work.next_data = understood.record.offset + 1;
            }
            Stream::Control => {
                work.taken.control += 1;
                work.next_control = understood.record.offset + 1;
            }
        }
        let shard = understood.header.as_ref().and_then(|header| header.shard.as_ref());
        shard.is_none_or(|shard| self.is_next(partition, work, understood, shard))
    }

    fn arrive(&mut self, partition: &Partition, work: &mut Work, understood: &Understood, verb: Option<&Verb>) {
        if !self.take(partition, work, understood) {
            return;
        }
        let waits_behind_key =
            understood.record.stream == Stream::Data || partition.memory.left_out.has(Mutation::ControlHeld);
        if waits_behind_key
            && let Some(key) = understood.raw_key()
            && work.blocked_of(partition, &key).is_some()
        {
            self.hold(partition, work, key, understood);
            return;
        }
        match verb {
            Some(verb) => self.verb(partition, work, understood, verb),
            None => self.deliver(partition, work, understood, Origin::Fresh),
        }
    }

    /// Judges the sender's number and, if it is the next, moves the mark.
    fn is_next(&mut self, partition: &Partition, work: &mut Work, understood: &Understood, shard: &Shard) -> bool {
        let marks = work.marks.as_ref().unwrap_or(&partition.memory.marks);
        match partition.memory.judge(marks, shard) {
            Verdict::Apply => {
                work.marks.get_or_insert_with(|| partition.memory.marks.clone()).advance(shard);
                true
            }
            Verdict::Duplicate => {
                self.counters.duplicates += 1;
                false
            }
            Verdict::Gap { mark } => {
                self.counters.gaps += 1;
                self.alarms.push(Alarm::Gap {
                    partition: partition.number,
                    instance: shard.instance.to_string(),
                    shard: shard.partition,
                    mark,
                    prev: shard.prev,
                    seq: shard.seq,
                });
                false
            }
            Verdict::Invalid => {
                self.park(partition, work, understood, Origin::Fresh, Fault::new("shard-invalid"));
                false
            }
        }
    }

    fn hold(&mut self, partition: &Partition, work: &mut Work, key: Bytes, understood: &Understood) {
        let held = Held { partition: partition.number, number: work.held_next, raw: understood.raw() };
        self.commit.held_put.push(held);
        work.held_next += 1;
        work.held += 1;
        work.change_blocked(partition, &key, |blocked| blocked.held += 1);
        self.counters.held += 1;
        if work.held == self.limits.held_max / 100 {
            self.alarms.push(Alarm::HeldFilling { partition: partition.number, held: work.held });
        }
    }

    /// Hands a record to the leaf, or parks it. What was applied and has to be looked at all the same is parked beside its key.
    fn deliver(&mut self, partition: &Partition, work: &mut Work, understood: &Understood, origin: Origin<'_>) {
        let beside = match self.apply(partition, work, understood) {
            Ok(beside) => beside,
            Err(fault) => return self.park(partition, work, understood, origin, fault),
        };
        let again = match origin {
            Origin::Fresh => None,
            Origin::Held(number) => {
                self.let_go(partition, work, understood, number);
                None
            }
            Origin::Parked(parked) => {
                self.unpark(partition, work, parked);
                Some(parked)
            }
        };
        match (beside, again) {
            (Some(fault), _) => self.park_record(partition, work, understood, again, fault, false),
            (None, Some(parked)) => self.commit.parked_gone.push(parked.id),
            (None, None) => {}
        }
    }

    /// Answers why it has to be parked beside its key although it was applied: a policy's command was refused.
    fn apply(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        understood: &Understood,
    ) -> Result<Option<Fault>, Fault> {
        if let Some(code) = &self.batch.poison {
            return Err(Fault::with("not-storable", format!("sqlstate {code}")));
        }
        let outside = understood.outside_id();
        if let Some(known) = outside.and_then(|id| self.known(id)) {
            return self.answer_again(partition, work, understood, &known).map(|()| None);
        }
        let busy = understood.raw_key().and_then(|key| work.blocked_of(partition, &key)).and_then(|b| b.busy);
        let intent = busy.and_then(|id| partition.memory.intents.get(&id)).map(|open| &open.intent);
        let incoming = understood.incoming(intent)?;
        let raw_key = understood.record.key.as_deref().unwrap_or_default();
        if key::partition(raw_key, u32::from(PARTITIONS)) != u32::from(understood.record.partition) {
            return Err(Fault::new("wrong-partition"));
        }
        let header = incoming.header;
        let cause = Cause { message_id: header.message_id, thread: thread_of(header), outside };
        let request_hash = header.request_hash;
        let input = match understood.record.stream {
            Stream::Data => Input::Message(incoming),
            Stream::Control => Input::Control(incoming),
        };
        if let Some(id) = outside {
            self.applied.insert(id, Applied { id, request_hash, closing: None });
        }
        let handled = self.handle(partition, work, &input, &cause);
        match (&handled, outside) {
            (Ok(_), _) => self.counters.applied += 1,
            (Err(_), Some(id)) => {
                self.applied.remove(&id);
            }
            (Err(_), None) => {}
        }
        handled
    }

    fn known(&self, id: Uuid) -> Option<Applied> {
        self.applied.get(&id).or_else(|| self.batch.applied.get(&id)?.as_ref()).cloned()
    }

    /// A command from outside that was applied before: it is answered again with what was recorded.
    /// Without a record yet the first asking's reply is still to come, and goes to the same place.
    fn answer_again(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        understood: &Understood,
        known: &Applied,
    ) -> Result<(), Fault> {
        self.counters.duplicates += 1;
        let (Some(header), Some((type_name, body))) = (&understood.header, &known.closing) else {
            return Ok(());
        };
        let Some(reply_to) = &header.reply_to else {
            return Ok(());
        };
        let cause = Cause { message_id: header.message_id, thread: thread_of(header), outside: None };
        let reply = Draft {
            topic: self.names.get(&reply_to.topic),
            type_name: self.names.get(type_name),
            key: reply_to.key,
            value: self.framed(type_name, body)?,
            message_id: Uuid::new_v5(&header.message_id, b"answered-again"),
            reply_to: None,
            reply_for: Some(header.message_id),
            thread: None,
        };
        self.publish(partition, work, &cause, vec![reply]);
        Ok(())
    }

    /// Runs the leaf. On `Err` nothing of it has taken effect. `Ok(Some)`: the record is to be kept as
    /// parked, without blocking its key.
    fn handle(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        input: &Input<'_>,
        cause: &Cause,
    ) -> Result<Option<Fault>, Fault> {
        let cx = Context { now: self.now, message_id: cause.message_id, thread: cause.thread.clone() };
        let mut output = Output::default();
        let written = self.run_leaf(partition.number, &work.rows, input, &cx, &mut output)?;
        if written.iter().filter_map(|(_, row)| row.as_ref()).any(|row| row.body.len() > ROW_BODY_MAX) {
            return Err(Fault::new("state-too-large"));
        }
        if output.intents.len() > 1 {
            return Err(Fault::new("too-many-effects"));
        }
        for change in &output.changes {
            TableFold::check(&self.leaf.spec().tables, change)?;
        }
        let drafts = self.drafts(cause, std::mem::take(&mut output.messages))?;
        work.rows.extend(written);
        self.publish(partition, work, cause, drafts);
        Ok(self.take_over(partition, work, input.key(), output, cause))
    }

    fn run_leaf(
        &self,
        number: u16,
        of_batch: &WrittenRows,
        input: &Input<'_>,
        cx: &Context,
        output: &mut Output,
    ) -> Result<Vec<(RowKey, Option<Row>)>, Fault> {
        let batch = self.batch;
        let loaded = |key: &RowKey| of_batch.get(key).or_else(|| batch.rows.get(&(number, *key))).cloned();
        let mut rows = Rows::new(&loaded);
        catch_unwind(AssertUnwindSafe(|| self.leaf.handle(input, &mut rows, cx, output)))
            .unwrap_or_else(|_| Err(Fault::new("panic")))?;
        Ok(rows.into_written())
    }

    fn take_over(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        entity: Uuid,
        output: Output,
        cause: &Cause,
    ) -> Option<Fault> {
        let number = partition.number;
        if let Some(intent_id) = output.concludes {
            self.intent_gone(partition, work, entity, intent_id);
        }
        for new in output.intents {
            let intent = Intent {
                id: cause.message_id,
                partition: number,
                key: entity,
                request: new.request,
                reply: new.reply,
                thread: cause.thread.clone(),
                created_at: self.now,
                status: IntentStatus::Open,
                attempts: 0,
                code: None,
            };
            if !self.is_detached() {
                work.change_blocked(partition, &raw_key_of(entity), |blocked| blocked.busy = Some(intent.id));
            }
            self.commit.intents_put.push(intent.clone());
            work.intents_new.push(intent);
        }
        for change in output.changes {
            self.tables.add(&self.leaf.spec().tables, change);
        }
        let history = output.history.into_iter();
        self.commit.history.extend(history.map(|entry| HistoryRow {
            partition: number,
            key: entity,
            at: self.now,
            entry,
        }));
        self.counters.rejected += u64::from(output.rejected);
        output.park_beside
    }

    fn finish(mut self) -> Folded {
        for work in self.works.values() {
            self.commit.partitions.push(work.commit());
            let rows = work.rows.iter();
            self.commit.rows.extend(rows.map(|(key, row)| StateRow {
                partition: work.number,
                key: *key,
                row: row.clone(),
            }));
            if let (Some(first), Some(last)) = (work.messages.first(), work.messages.last()) {
                self.commit.outbox.push(OutboxRow {
                    partition: work.number,
                    first_seq: first.seq,
                    last_seq: last.seq,
                    messages: pack(&work.messages),
                });
            }
        }
        let mut commit = self.commit;
        commit.rows.sort_unstable_by_key(|row| row.key);
        commit.applied_put = self.applied.into_values().collect();
        commit.applied_put.sort_unstable_by_key(|applied| applied.id);
        commit.tables = self.tables.finish(&self.leaf.spec().tables);
        settle(&mut commit);
        Folded {
            commit,
            works: self.works.into_values().collect(),
            alarms: self.alarms,
            counters: self.counters,
            reproduced: self.reproduced,
        }
    }
}

fn raw_key_of(entity: Uuid) -> Bytes {
    Bytes::copy_from_slice(&key::of(entity))
}

fn thread_of(header: &Header) -> Thread {
    Thread {
        correlation_id: header.correlation_id,
        actor: header.actor.clone(),
        tenant: header.tenant,
        trace: header.trace,
    }
}
