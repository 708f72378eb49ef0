//! Folds a batch in memory: what it takes in becomes one [`Commit`]. Nothing here changes what the engine
//! remembers; that happens when the commit has succeeded ([`Work::absorb`]).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use daybook_events::{
    DiscardParked, Discarded, Header, MAX_TEXT_BYTES, Message, OperatorActed, RedriveParked, ReplyTo, ResolveEffect,
    Schemas, Shard, Timestamp, encode, frame, key,
};
use hashbrown::HashMap;
use uuid::Uuid;

use crate::batch::{Batch, Item, Task, Verb};
use crate::marks::{LastNumbers, Marks, Verdict};
use crate::outbox::{Names, pack};
use crate::partition::{Answer, Blocked, Memory, Partition, Told};
use crate::tables::TableFold;
use crate::understood::Understood;
use crate::{
    Alarm, Applied, Commit, Conclusion, Context, Counters, DueRow, Emit, Fault, Held, HistoryRow, Input, Intent,
    IntentStatus, Leaf, Limits, OutboxRow, Outgoing, Output, PARTITIONS, Parked, PartKind, PartitionCommit,
    ROW_BODY_MAX, Row, RowKey, Rows, StateRow, Stream, Thread,
};

/// What the batch makes of one partition; the engine takes it over after the commit.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) number: u16,
    pub(crate) version: i64,
    pub(crate) next_data: i64,
    pub(crate) next_control: i64,
    pub(crate) out_seq: u64,
    pub(crate) published: u64,
    pub(crate) held_next: u64,
    pub(crate) held: u64,
    pub(crate) marks: Option<Marks>,
    pub(crate) last_numbers: Option<LastNumbers>,
    /// Keys whose state of being blocked changed.
    pub(crate) blocked: HashMap<Bytes, Blocked>,
    pub(crate) rows: HashMap<RowKey, Option<Row>>,
    pub(crate) messages: Vec<Outgoing>,
    pub(crate) intents_new: Vec<Intent>,
    pub(crate) intents_attention: Vec<Intent>,
    pub(crate) intents_gone: Vec<Uuid>,
    /// Inputs taken from the queues: answers, released, control, due, data.
    pub(crate) taken: Taken,
    /// A due row was passed over because its key is blocked, or could not be fired.
    pub(crate) due_skipped: bool,
    pub(crate) due_failed: bool,
    incarnation: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) answers: usize,
    pub(crate) released: usize,
    pub(crate) control: usize,
    pub(crate) due: usize,
    pub(crate) data: usize,
}

/// The outcome of folding a batch.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) commit: Commit,
    pub(crate) works: Vec<Work>,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) counters: Counters,
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
        }
    }

    /// `also`: partitions whose row is to be written although they take nothing in.
    pub(crate) fn fold(mut self, also: &[u16]) -> Folded {
        for item in &self.batch.items {
            let Some(partition) = self.partitions.get(&item.partition) else {
                continue;
            };
            let mut work = self.work(partition);
            self.item(partition, &mut work, item);
            self.works.insert(item.partition, work);
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

    /// A record from the log: its offset and its number are taken, whatever becomes of it.
    fn arrive(&mut self, partition: &Partition, work: &mut Work, understood: &Understood, verb: Option<&Verb>) {
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
        if let Some(shard) = understood.header.as_ref().and_then(|header| header.shard.as_ref())
            && !self.is_next(partition, work, understood, shard)
        {
            return;
        }
        if understood.record.stream == Stream::Data
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
        match marks.judge(shard, partition.memory.accepts_first) {
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

    /// Hands a record to the leaf, or parks it.
    fn deliver(&mut self, partition: &Partition, work: &mut Work, understood: &Understood, origin: Origin<'_>) {
        if let Err(fault) = self.apply(partition, work, understood) {
            self.park(partition, work, understood, origin, fault);
            return;
        }
        match origin {
            Origin::Fresh => {}
            Origin::Held(number) => self.let_go(partition, work, understood, number),
            Origin::Parked(parked) => {
                self.commit.parked_gone.push(parked.id);
                self.unpark(partition, work, parked);
            }
        }
    }

    fn let_go(&mut self, partition: &Partition, work: &mut Work, understood: &Understood, number: u64) {
        self.commit.held_gone.push((partition.number, number));
        work.held -= 1;
        if let Some(key) = understood.raw_key() {
            work.change_blocked(partition, &key, |blocked| blocked.held -= 1);
        }
    }

    fn unpark(&mut self, partition: &Partition, work: &mut Work, parked: &Parked) {
        if let Some(key) = parked.raw.key.as_ref().filter(|_| parked.blocks) {
            work.change_blocked(partition, key, |blocked| {
                blocked.parked = blocked.parked.filter(|id| *id != parked.id);
            });
        }
    }

    fn apply(&mut self, partition: &Partition, work: &mut Work, understood: &Understood) -> Result<(), Fault> {
        if let Some(code) = &self.batch.poison {
            return Err(Fault::with("not-storable", format!("sqlstate {code}")));
        }
        let outside = understood.outside_id();
        if let Some(known) = outside.and_then(|id| self.known(id)) {
            return self.answer_again(partition, work, understood, &known);
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
        if let Some(fault) = handled? {
            self.park_record(partition, work, understood, None, fault, false);
        }
        Ok(())
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
        if written.values().flatten().any(|row| row.body.len() > ROW_BODY_MAX) {
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
        of_batch: &HashMap<RowKey, Option<Row>>,
        input: &Input<'_>,
        cx: &Context,
        output: &mut Output,
    ) -> Result<HashMap<RowKey, Option<Row>>, Fault> {
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
            work.change_blocked(partition, &raw_key_of(entity), |blocked| blocked.busy = Some(intent.id));
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

    fn intent_gone(&mut self, partition: &Partition, work: &mut Work, entity: Uuid, intent_id: Uuid) {
        work.intents_gone.push(intent_id);
        self.commit.intents_gone.push(intent_id);
        work.change_blocked(partition, &raw_key_of(entity), |blocked| {
            blocked.busy = blocked.busy.filter(|id| *id != intent_id);
        });
    }

    fn due(&mut self, partition: &Partition, work: &mut Work, due: &DueRow) {
        let key = raw_key_of(due.row.key);
        if self.batch.poison.is_some() {
            work.due_failed = true;
            return;
        }
        if work.blocked_of(partition, &key).is_some() {
            work.due_skipped = true;
            return;
        }
        let mut name = due.row.part.as_bytes().to_vec();
        name.extend(due.due.micros().to_be_bytes());
        let message_id = Uuid::new_v5(&due.row.key, &name);
        let thread = Thread { correlation_id: message_id, ..Thread::default() };
        let cause = Cause { message_id, thread, outside: None };
        match self.handle(partition, work, &Input::Due { row: due.row }, &cause) {
            Ok(_) => self.counters.timers += 1,
            Err(fault) => {
                work.due_failed = true;
                self.counters.timers_failed += 1;
                self.alarms.push(Alarm::TimerFailed { partition: partition.number, code: fault.code.to_owned() });
            }
        }
    }

    fn answer(&mut self, partition: &Partition, work: &mut Work, answer: &Answer) {
        let Some(open) = partition.memory.intents.get(&answer.intent_id) else {
            return;
        };
        if work.intents_gone.contains(&answer.intent_id) {
            return;
        }
        let poison = self.batch.poison.as_ref().map(|code| format!("not-storable-{code}"));
        let failed = match (&answer.what, poison) {
            (_, Some(code)) => Some(code),
            (Told::Attention { code }, None) => Some(code.clone()),
            (Told::Conclusion(conclusion), None) => self.conclude(partition, work, &open.intent, conclusion).err(),
        };
        if let Some(code) = failed {
            self.needs_attention(work, &open.intent, code);
        }
    }

    fn needs_attention(&mut self, work: &mut Work, intent: &Intent, code: String) {
        self.alarms.push(Alarm::NeedsAttention { partition: work.number, code: code.clone() });
        let intent = Intent { status: IntentStatus::NeedsAttention, code: Some(code), ..intent.clone() };
        self.commit.intents_put.push(intent.clone());
        work.intents_attention.push(intent);
    }

    /// # Errors
    /// The code under which a person has to look at it: its outcome is known but cannot be recorded.
    fn conclude(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        intent: &Intent,
        conclusion: &Conclusion,
    ) -> Result<(), String> {
        let reply_for = intent.reply.as_ref().map_or(intent.id, |reply| reply.command_id);
        let cause = Cause {
            message_id: Uuid::new_v5(&intent.id, b"concluded"),
            thread: intent.thread.clone(),
            outside: self.known(reply_for).map(|applied| applied.id),
        };
        let input = Input::Concluded { intent, conclusion };
        self.intent_gone(partition, work, intent.key, intent.id);
        match self.handle(partition, work, &input, &cause) {
            Ok(_) => {
                self.counters.concluded += 1;
                Ok(())
            }
            Err(fault) => {
                work.intents_gone.retain(|id| *id != intent.id);
                self.commit.intents_gone.retain(|id| *id != intent.id);
                work.change_blocked(partition, &raw_key_of(intent.key), |blocked| blocked.busy = Some(intent.id));
                Err(fault.code.to_owned())
            }
        }
    }

    fn park(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        understood: &Understood,
        origin: Origin<'_>,
        fault: Fault,
    ) {
        // Order is kept per key of the data topic; a control record stands behind nothing.
        let blocks = understood.record.stream == Stream::Data && understood.record.key.is_some();
        match origin {
            Origin::Fresh => self.park_record(partition, work, understood, None, fault, blocks),
            Origin::Held(number) => {
                self.let_go(partition, work, understood, number);
                self.park_record(partition, work, understood, None, fault, blocks);
            }
            Origin::Parked(parked) => self.park_record(partition, work, understood, Some(parked), fault, parked.blocks),
        }
    }

    fn park_record(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        understood: &Understood,
        again: Option<&Parked>,
        fault: Fault,
        blocks: bool,
    ) {
        let record = &understood.record;
        let id = again.map_or_else(|| parked_id(self.leaf.spec().name, record), |parked| parked.id);
        let parked = Parked {
            id,
            partition: partition.number,
            raw: understood.raw(),
            code: fault.code.to_owned(),
            detail: fault.detail,
            attempts: again.map_or(0, |parked| parked.attempts) + 1,
            parked_at: again.map_or(self.now, |parked| parked.parked_at),
            blocks,
        };
        if let Some(key) = parked.raw.key.as_ref().filter(|_| blocks) {
            work.change_blocked(partition, key, |blocked| blocked.parked = Some(id));
        }
        self.counters.parked += 1;
        self.alarms.push(Alarm::Parked {
            partition: partition.number,
            offset: record.offset,
            stream: record.stream,
            code: parked.code.clone(),
        });
        self.commit.parked_put.push(parked);
    }

    fn verb(&mut self, partition: &Partition, work: &mut Work, understood: &Understood, verb: &Verb) {
        let Some(header) = &understood.header else { return };
        if self.known(header.message_id).is_some() && header.shard.is_none() {
            self.counters.duplicates += 1;
            return;
        }
        let id = header.message_id;
        self.applied.insert(id, Applied { id, request_hash: header.request_hash, closing: None });
        let cause = Cause { message_id: id, thread: thread_of(header), outside: None };
        let outcome = match verb {
            Verb::Redrive(redrive) => self.redrive(partition, work, redrive),
            Verb::Discard(discard) => self.discard(partition, work, discard, &cause),
            Verb::Resolve(resolve) => self.resolve(partition, work, resolve),
        };
        let acted = verb.acted(self.leaf.spec().name, outcome);
        match encoded(&acted).and_then(|emit| self.drafts(&cause, vec![emit])) {
            Ok(drafts) => self.publish(partition, work, &cause, drafts),
            Err(fault) => self.park_record(partition, work, understood, None, fault, false),
        }
    }

    fn redrive(&mut self, partition: &Partition, work: &mut Work, redrive: &RedriveParked) -> &'static str {
        let Some((parked, understood)) = self.parked(partition, redrive.parked_id) else {
            return "no-such-record";
        };
        let before = self.counters.parked;
        self.deliver(partition, work, understood, Origin::Parked(parked));
        if self.counters.parked > before { "parked-again" } else { "done" }
    }

    fn parked(&self, partition: &Partition, id: Uuid) -> Option<(&'a Parked, &'a Understood)> {
        let batch = self.batch;
        let gone = self.commit.parked_gone.contains(&id);
        let parked = batch.parked.get(&id)?.as_ref().filter(|parked| parked.partition == partition.number && !gone)?;
        Some((parked, batch.redriven.get(&id)?))
    }

    /// Whoever waits for the record's reply is told that it will not come.
    fn discard(
        &mut self,
        partition: &Partition,
        work: &mut Work,
        discard: &DiscardParked,
        cause: &Cause,
    ) -> &'static str {
        let Some((parked, understood)) = self.parked(partition, discard.parked_id) else {
            return "no-such-record";
        };
        // Commands are addressed to aggregates and sagas; whoever only listens owes nobody an answer.
        let is_addressed = matches!(self.leaf.spec().kind, PartKind::Aggregate | PartKind::Saga);
        if is_addressed
            && let Some(header) = &understood.header
            && let Some(reply_to) = &header.reply_to
        {
            let key = parked.raw.key.as_deref().unwrap_or_default();
            let discarded = Discarded {
                key_text: key::to_text(key).into_owned(),
                command: understood.type_name().to_owned(),
                reason: "parked-discarded".to_owned(),
            };
            let of_command = Cause {
                message_id: Uuid::new_v5(&header.message_id, cause.message_id.as_bytes()),
                thread: thread_of(header),
                outside: understood.outside_id(),
            };
            let id = header.message_id;
            let request_hash = header.request_hash;
            if understood.outside_id().is_some() {
                self.applied.insert(id, Applied { id, request_hash, closing: None });
            }
            let emit = encoded(&discarded).map(|emit| Emit {
                topic: reply_to.topic.to_string().into(),
                key: reply_to.key,
                reply_for: Some(id),
                ..emit
            });
            match emit.and_then(|emit| self.drafts(&of_command, vec![emit])) {
                Ok(drafts) => self.publish(partition, work, &of_command, drafts),
                Err(fault) => return fault.code,
            }
        }
        self.commit.parked_gone.push(parked.id);
        self.unpark(partition, work, parked);
        "done"
    }

    fn resolve(&mut self, partition: &Partition, work: &mut Work, resolve: &ResolveEffect) -> &'static str {
        let open = partition.memory.intents.get(&resolve.intent_id);
        let Some(open) = open.filter(|open| !work.intents_gone.contains(&open.intent.id)) else {
            return "no-such-effect";
        };
        let conclusion = match (resolve.happened, &resolve.outcome) {
            (true, Some(outcome)) => Conclusion::Answered(outcome.to_vec()),
            (true, None) => return "outcome-missing",
            (false, _) => Conclusion::GaveUp { code: "operator-says-not".to_owned() },
        };
        match self.conclude(partition, work, &open.intent, &conclusion) {
            Ok(()) => "done",
            Err(_) => "outcome-unreadable",
        }
    }

    /// # Errors
    /// When a message is too large, or of a type that the registry does not know.
    fn drafts(&mut self, cause: &Cause, emits: Vec<Emit>) -> Result<Vec<Draft>, Fault> {
        let drafts = emits.into_iter().enumerate().map(|(place, emit)| {
            let value = self.framed(emit.type_name, &emit.body)?;
            let scopes = emit.thread.as_ref().and_then(|thread| thread.actor.as_ref()).map_or(0, |a| a.scopes.len());
            let reply_topic = emit.reply_to.as_ref().map_or(0, |reply_to| reply_to.topic.len());
            if scopes.max(reply_topic) > MAX_TEXT_BYTES {
                return Err(Fault::new("header-too-long"));
            }
            let place = u32::try_from(place).unwrap_or(u32::MAX).to_be_bytes();
            Ok(Draft {
                topic: self.names.get(&emit.topic),
                type_name: self.names.get(emit.type_name),
                key: emit.key,
                value,
                message_id: emit.id.unwrap_or_else(|| Uuid::new_v5(&cause.message_id, &place)),
                reply_to: emit.reply_to,
                reply_for: emit.reply_for,
                thread: emit.thread,
            })
        });
        drafts.collect()
    }

    fn framed(&self, type_name: &str, body: &[u8]) -> Result<Bytes, Fault> {
        let id = self.schemas.id_of(type_name).ok_or_else(|| Fault::with("type-unregistered", type_name))?;
        let mut value = Vec::with_capacity(body.len() + 5);
        frame(id, &mut value);
        value.extend_from_slice(body);
        if value.len() > self.limits.message_bytes_max {
            return Err(Fault::with("message-too-large", format!("{} bytes", value.len())));
        }
        Ok(value.into())
    }

    /// Numbers the messages, and keeps the closing reply of a command from outside.
    fn publish(&mut self, partition: &Partition, work: &mut Work, cause: &Cause, drafts: Vec<Draft>) {
        for draft in drafts {
            if let (Some(outside), Some(reply_for)) = (cause.outside, draft.reply_for)
                && (outside == reply_for)
            {
                let closing = Some((draft.type_name.to_string(), draft.value[daybook_events::FRAME_BYTES..].to_vec()));
                let known = self.known(outside);
                let request_hash = known.and_then(|applied| applied.request_hash);
                self.applied.insert(outside, Applied { id: outside, request_hash, closing });
            }
            work.out_seq += 1;
            let message = self.number(partition, work, cause, draft);
            work.messages.push(message);
        }
    }

    fn number(&self, partition: &Partition, work: &mut Work, cause: &Cause, draft: Draft) -> Outgoing {
        let key = key::of(draft.key);
        let destination = key::partition(&key, u32::from(PARTITIONS));
        let destination = u16::try_from(destination).expect("a partition is below PARTITIONS");
        let seq = work.out_seq;
        let last_numbers = work.last_numbers.get_or_insert_with(|| partition.memory.last_numbers.clone());
        let thread = draft.thread.as_ref().unwrap_or(&cause.thread);
        let header = Header {
            message_id: draft.message_id,
            shard: Some(Shard {
                instance: self.leaf.spec().name.into(),
                partition: partition.number,
                incarnation: work.incarnation,
                seq,
                prev: last_numbers.replace(&draft.topic, destination, seq),
            }),
            correlation_id: thread.correlation_id,
            causation_id: Some(cause.message_id),
            time: self.now,
            actor: thread.actor.clone(),
            tenant: thread.tenant,
            reply_to: draft.reply_to,
            reply_for: draft.reply_for,
            trace: thread.trace,
            request_hash: None,
        };
        let mut bytes = Vec::with_capacity(192);
        header.encode(&mut bytes).expect("the texts of a draft were checked");
        Outgoing {
            seq,
            topic: draft.topic,
            partition: destination,
            key: Bytes::copy_from_slice(&key),
            type_name: draft.type_name,
            message_id: draft.message_id,
            time: self.now,
            header: bytes.into(),
            value: draft.value,
        }
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
        Folded { commit, works: self.works.into_values().collect(), alarms: self.alarms, counters: self.counters }
    }
}

impl Verb {
    fn acted(&self, consumer: &str, outcome: &str) -> OperatorActed {
        let (key_text, action, target, actor_id, reason) = match self {
            Self::Redrive(verb) => (&verb.key_text, RedriveParked::NAME, verb.parked_id, verb.actor_id, &verb.reason),
            Self::Discard(verb) => (&verb.key_text, DiscardParked::NAME, verb.parked_id, verb.actor_id, &verb.reason),
            Self::Resolve(verb) => (&verb.key_text, ResolveEffect::NAME, verb.intent_id, verb.actor_id, &verb.reason),
        };
        OperatorActed {
            key_text: key_text.clone(),
            consumer: consumer.to_owned(),
            action: action.to_owned(),
            target: target.to_string(),
            actor_id,
            reason: reason.clone(),
            outcome: outcome.to_owned(),
        }
    }
}

impl Work {
    fn new(number: u16, memory: &Memory) -> Self {
        Self {
            number,
            version: memory.version,
            next_data: memory.next_data,
            next_control: memory.next_control,
            out_seq: memory.out_seq,
            published: memory.publisher.published(),
            held_next: memory.held_next,
            held: memory.held,
            marks: None,
            last_numbers: None,
            blocked: HashMap::new(),
            rows: HashMap::new(),
            messages: Vec::new(),
            intents_new: Vec::new(),
            intents_attention: Vec::new(),
            intents_gone: Vec::new(),
            taken: Taken::default(),
            due_skipped: false,
            due_failed: false,
            incarnation: memory.incarnation,
        }
    }

    fn commit(&self) -> PartitionCommit {
        PartitionCommit {
            partition: self.number,
            version: self.version,
            next_data: self.next_data,
            next_control: self.next_control,
            out_seq: self.out_seq,
            published_seq: self.published,
            held_next: self.held_next,
            marks: self.marks.as_ref().map(Marks::encode),
            last_numbers: self.last_numbers.as_ref().map(LastNumbers::encode),
        }
    }

    /// Why the key's records wait, at this point of the batch; `None` if they don't.
    fn blocked_of(&self, partition: &Partition, key: &Bytes) -> Option<Blocked> {
        let blocked = self.blocked.get(key).or_else(|| partition.memory.blocked.get(key)).copied();
        blocked.filter(|blocked| !blocked.is_free())
    }

    fn change_blocked(&mut self, partition: &Partition, key: &Bytes, change: impl FnOnce(&mut Blocked)) {
        let mut blocked = self.blocked_of(partition, key).unwrap_or_default();
        change(&mut blocked);
        self.blocked.insert(key.clone(), blocked);
    }
}

/// What was put and taken away within one batch was never there; what was put twice is as it was put last.
fn settle(commit: &mut Commit) {
    let Commit { held_put, held_gone, parked_put, parked_gone, intents_put, intents_gone, .. } = commit;
    held_put.retain(|held| !held_gone.contains(&(held.partition, held.number)));
    let mut latest = HashMap::new();
    for (place, parked) in parked_put.iter().enumerate() {
        latest.insert(parked.id, place);
    }
    let mut place = 0;
    parked_put.retain(|parked| {
        place += 1;
        latest[&parked.id] == place - 1 && !parked_gone.contains(&parked.id)
    });
    intents_put.retain(|intent| !intents_gone.contains(&intent.id));
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

fn encoded<T: Message>(message: &T) -> Result<Emit, Fault> {
    let mut body = Vec::new();
    encode(message, &mut body).map_err(|error| Fault::with("not-encodable", error.to_string()))?;
    Ok(Emit {
        topic: T::TOPIC.into(),
        key: message.key(),
        type_name: T::FULL_NAME,
        body,
        id: None,
        reply_to: None,
        reply_for: None,
        thread: None,
    })
}

fn parked_id(part: &str, record: &crate::Record) -> Uuid {
    let stream = match record.stream {
        Stream::Data => "data",
        Stream::Control => "control",
    };
    let name = format!("{part}/{stream}/{}/{}", record.partition, record.offset);
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}
