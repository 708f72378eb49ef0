//! The state machine: what happened goes in, what to do comes out.

mod calls;
mod gauges;
mod happened;
mod leaving;
mod memory;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;

use daybook_events::{Schemas, Timestamp};

use crate::batch::{Batch, choose};
use crate::breaker::Breaker;
use crate::cache::Cache;
use crate::fold::{Folded, Folder, Taken, Work};
use crate::mutation::LeftOut;
use crate::outbox::{Delivery, Names};
use crate::partition::{Answer, Blocked, Memory, Partition, Phase, Stage, Told};
use crate::performing::{Next, OpenIntent, Run};
use crate::waits::{Place, Reading};
use crate::{
    Action, Alarm, Claimed, CommitError, Conclusion, Counters, DueAsk, DueRow, Event, HeldAsk, Leaf, Limits, Load,
    LoadError, Loaded, Mutation, Outgoing, Performance, Performed, Record, Stream, WakeAt,
};

pub use gauges::Gauges;

/// Keys whose held records are loaded at once.
const DRAINED_AT_ONCE: usize = 32;
/// How long a timer that could not be fired waits, in ms.
const FAILED_TIMER_MS: i64 = 60_000;

/// Batches of one part under way at a time, each for partitions of its own: while the database commits one, the next is folded.
const BATCHES_MAX: usize = 3;

/// One part of a leaf on the partitions that this process owns.
pub struct Engine {
    leaf: Arc<dyn Leaf>,
    schemas: Arc<dyn Schemas + Send + Sync>,
    limits: Limits,
    partitions: BTreeMap<u16, Partition>,
    under_way: Vec<UnderWay>,
    /// After a failure: what to try again, and when.
    again: Vec<Again>,
    failures: u32,
    /// Inputs per batch; halved while a batch cannot be stored, doubled afterwards.
    batch_limit: usize,
    /// Tokens, tickets and publishing attempts: every one is another number.
    last_number: u64,
    /// Effects being performed for this part in this process.
    calling: usize,
    breaker: Breaker,
    names: Names,
    counters: Counters,
    left_out: LeftOut,
    /// Caches of lost partitions, where the rule that they die with the claim is left out.
    kept_caches: BTreeMap<u16, Cache>,
}

struct UnderWay {
    ticket: u64,
    batch: Batch,
    stage: Doing,
}

enum Doing {
    /// Held and due records are loaded, before the inputs are chosen.
    Gathering(Load),
    /// States are loaded, before the fold.
    Loading(Load),
    Committing {
        works: Vec<Work>,
        counters: Counters,
    },
}

struct Again {
    at: Timestamp,
    batch: Batch,
}

impl Engine {
    pub fn new(leaf: Arc<dyn Leaf>, schemas: Arc<dyn Schemas + Send + Sync>, mut limits: Limits) -> Self {
        if leaf.spec().effects.is_none() {
            limits.calls_due_max = usize::MAX;
        }
        Self {
            leaf,
            schemas,
            batch_limit: limits.batch_max,
            limits,
            partitions: BTreeMap::new(),
            under_way: Vec::new(),
            again: Vec::new(),
            failures: 0,
            last_number: 0,
            calling: 0,
            breaker: Breaker::new(),
            names: Names::default(),
            counters: Counters::default(),
            left_out: LeftOut::default(),
            kept_caches: BTreeMap::new(),
        }
    }

    /// For the simulator's own tests: leaves one rule out. In a release build nothing can be left out.
    #[must_use]
    pub fn without(mut self, rule: Mutation) -> Self {
        self.left_out = LeftOut::only(rule);
        self
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether nothing is to be done before something happens outside: what tests drain to.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
            && self.again.is_empty()
            && self.partitions.values().all(|partition| {
                let memory = &partition.memory;
                partition.phase == Phase::Live
                    && memory.publisher.unacknowledged() == 0
                    && memory.intents.values().all(|open| open.run == Run::Attention)
                    && memory.data.records.is_empty()
                    && memory.control.records.is_empty()
            })
    }

    /// When it wants to be told the time at the latest, with [`Event::Tick`].
    pub fn wake_at(&self) -> WakeAt {
        let of_partitions = self.partitions.values().flat_map(|partition| {
            let memory = &partition.memory;
            let claim = match partition.phase {
                Phase::Claiming { retry_at, .. } => retry_at,
                _ => None,
            };
            let live = partition.is_live();
            let due = memory.timers.next_due.filter(|_| live && memory.timers.stage == Stage::Idle);
            let effect = memory.schedule.first().filter(|_| live).and_then(|(at, _)| self.breaker.next_attempt(*at));
            let behind = memory.publisher.behind_since().map(|since| since.plus_ms(self.limits.publish_mark_ms));
            let ask = memory.waits.ask_at().filter(|_| live);
            [claim, due, effect, behind, ask, memory.publisher.resend_at()]
        });
        let again = self.again.iter().map(|again| again.at);
        of_partitions.flatten().chain(again).min()
    }

    /// Takes in what happened; appends what is to be done, in order.
    pub fn on(&mut self, event: Event, now: Timestamp, actions: &mut Vec<Action>) {
        self.on_all([event], now, actions);
    }

    /// The same for what happened at once: only then a batch is begun, so that it takes in all of it.
    pub fn on_all(&mut self, events: impl IntoIterator<Item = Event>, now: Timestamp, actions: &mut Vec<Action>) {
        let mut may_go_on = false;
        for event in events {
            may_go_on |= self.take_in(event, now, actions);
        }
        if may_go_on {
            self.advance(now, actions);
        }
    }

    /// Answers whether anything else can follow from it.
    fn take_in(&mut self, event: Event, now: Timestamp, actions: &mut Vec<Action>) -> bool {
        match event {
            Event::Assigned { partition } => self.assigned(partition, actions),
            Event::Revoked { partition } => self.revoked(partition, actions),
            Event::Lost { partition } => self.lost(partition, actions),
            Event::Claimed(claimed) => self.claimed(*claimed, now, actions),
            Event::ClaimFailed { partition } => self.claim_failed(partition, now),
            Event::Fetched { partition, token, records } => self.fetched(partition, token, records, actions),
            Event::Loaded { ticket, result } => self.loaded(ticket, result, now, actions),
            Event::Committed { ticket, result } => self.committed(ticket, result, now, actions),
            Event::Delivered { partition, attempt, seq, ok } => {
                return self.delivered(partition, attempt, seq, ok, now, actions);
            }
            Event::Performed { partition, token, intent_id, outcome } => {
                self.performed(partition, token, intent_id, outcome, now, actions);
            }
            Event::Ends { partition, token, data, control } => self.ends(partition, token, data, control),
            Event::Progress { partition, token, topic, of, end, next, waits } => {
                let reading = Reading { place: Place { topic, partition: of }, end, next, waits };
                self.progress(partition, token, reading, now, actions);
            }
            Event::Tick => {}
        }
        true
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Everything that can go on does.
    fn advance(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let numbers: Vec<u16> = self.partitions.keys().copied().collect();
        for number in numbers {
            self.advance_partition(number, now, actions);
        }
        self.perform(now, actions);
        while let Some(place) = self.again.iter().position(|again| again.at <= now) {
            let again = self.again.remove(place);
            self.load_or_fold(again.batch, now, actions);
        }
        while let Some(batch) = self.next_batch(now) {
            let before = self.batches();
            self.gather(batch, now, actions);
            if self.batches() == before {
                break;
            }
        }
        self.release(actions);
    }

    fn advance_partition(&mut self, number: u16, now: Timestamp, actions: &mut Vec<Action>) {
        let attempt = self.last_number + 1;
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        if let Phase::Claiming { retry_at, .. } = &mut partition.phase {
            if retry_at.is_some_and(|at| at <= now) {
                *retry_at = None;
                actions.push(Action::Claim { partition: number });
            }
            return;
        }
        let token = partition.token;
        let live = partition.is_live();
        let memory = &mut partition.memory;
        if memory.publisher.resend_at().is_some_and(|at| at <= now) {
            self.last_number = attempt;
            let messages = memory.publisher.resend(attempt, memory.left_out.has(Mutation::GoForward));
            self.counters.republished += messages.len() as u64;
            actions.push(Action::Publish { partition: number, attempt, messages });
        }
        if !live {
            return;
        }
        if memory.timers.stage == Stage::Idle && memory.timers.next_due.is_some_and(|due| due <= now) {
            memory.timers.round += 1;
            if memory.left_out.has(Mutation::TimerBeforeUnread) {
                memory.timers.stage = Stage::Barrier { until: now, data: 0, control: 0 };
            } else {
                memory.timers.stage = Stage::Asked { until: now };
                actions.push(Action::AskEnds { partition: number, token });
            }
        }
        if memory.waits() != memory.offsets.waits() {
            memory.note_offset();
            actions.extend(partition.witness());
        }
        let memory = &mut partition.memory;
        let asks = memory.waits.ask(now, memory.publisher.published()).into_iter();
        actions.extend(asks.map(|Place { topic, partition: of }| Action::AskProgress {
            partition: number,
            token,
            topic,
            of,
        }));
        for stream in [Stream::Data, Stream::Control] {
            let queue = memory.queue(stream);
            if queue.paused && queue.bytes <= self.limits.queue_bytes_max / 2 {
                queue.paused = false;
                actions.push(Action::Resume { partition: number, stream });
            }
        }
    }

    /// Loads held and due records that may go on now; or goes straight to choosing inputs.
    fn gather(&mut self, batch: Batch, now: Timestamp, actions: &mut Vec<Action>) {
        let mut load = Load::default();
        for number in &batch.partitions {
            if let Some(partition) = self.partitions.get_mut(number).filter(|partition| partition.is_live()) {
                partition.memory.gather(partition.number, &self.limits, &mut load);
            }
        }
        if load.is_empty() {
            self.choose(batch, now, actions);
            return;
        }
        let ticket = self.next_number();
        actions.push(Action::Load { ticket, load: load.clone() });
        self.under_way.push(UnderWay { ticket, batch, stage: Doing::Gathering(load) });
    }

    fn choose(&mut self, mut batch: Batch, now: Timestamp, actions: &mut Vec<Action>) {
        let members = self.partitions.values().filter(|partition| batch.partitions.contains(&partition.number));
        batch.items = choose(members, &self.limits, self.batch_limit, &*self.schemas, now);
        self.load_or_fold(batch, now, actions);
    }

    fn load_or_fold(&mut self, batch: Batch, now: Timestamp, actions: &mut Vec<Action>) {
        let mut batch = batch.without_stale(&self.partitions);
        let load = batch.missing(&*self.leaf, &mut self.partitions);
        if load.is_empty() {
            self.fold(batch, now, actions);
            return;
        }
        let ticket = self.next_number();
        actions.push(Action::Load { ticket, load: load.clone() });
        self.under_way.push(UnderWay { ticket, batch, stage: Doing::Loading(load) });
    }

    fn loaded(
        &mut self,
        ticket: u64,
        result: Result<Box<Loaded>, LoadError>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some(UnderWay { mut batch, stage, .. }) = self.ended(ticket) else {
            return;
        };
        match (stage, result) {
            (stage @ Doing::Committing { .. }, _) => self.under_way.push(UnderWay { ticket, batch, stage }),
            (Doing::Gathering(load), Ok(loaded)) => {
                self.failures = 0;
                self.gathered(&load, *loaded);
                self.choose(batch, now, actions);
            }
            (Doing::Loading(load), Ok(loaded)) => {
                self.failures = 0;
                batch.load(&load, *loaded, &*self.schemas);
                self.load_or_fold(batch, now, actions);
            }
            (Doing::Gathering(load), Err(_)) => {
                self.ungather(load);
                self.try_again(batch, now);
            }
            (Doing::Loading(_), Err(_)) => self.try_again(batch, now),
        }
    }

    /// The batch whose load or commit has been answered.
    fn ended(&mut self, ticket: u64) -> Option<UnderWay> {
        let place = self.under_way.iter().position(|under_way| under_way.ticket == ticket)?;
        Some(self.under_way.remove(place))
    }

    fn gathered(&mut self, asked: &Load, loaded: Loaded) {
        for held in loaded.held {
            if let Some(partition) = self.partitions.get_mut(&held.partition) {
                if self.left_out.has(Mutation::HeldReversed) {
                    partition.memory.released.push_front(held);
                } else {
                    partition.memory.released.push_back(held);
                }
            }
        }
        for ask in &asked.due {
            let Some(partition) = self.partitions.get_mut(&ask.partition) else {
                continue;
            };
            let found: Vec<_> = loaded.due.iter().filter(|due| due.partition == ask.partition).cloned().collect();
            let next_due = loaded.next_due.iter().find(|(number, _)| *number == ask.partition).and_then(|(_, at)| *at);
            partition.memory.due_loaded(found, next_due, self.limits.page);
        }
    }

    /// A gathering that failed is as if it had not been asked for.
    fn ungather(&mut self, load: Load) {
        for ask in load.held {
            if let Some(partition) = self.partitions.get_mut(&ask.partition) {
                partition.memory.draining.push_front(ask.key);
            }
        }
    }

    fn try_again(&mut self, batch: Batch, now: Timestamp) {
        self.failures += 1;
        self.counters.store_retries += 1;
        let wait_ms = retry_ms(self.failures, self.limits.retry_min_ms, self.limits.retry_max_ms);
        self.again.push(Again { at: now.plus_ms(wait_ms), batch: batch.anew() });
    }

    fn fold(&mut self, batch: Batch, now: Timestamp, actions: &mut Vec<Action>) {
        let members = batch.partitions.iter().filter_map(|number| self.partitions.get(number));
        let behind = members.filter(|partition| {
            let behind_since = partition.memory.publisher.behind_since();
            let overdue = |since: Timestamp| now.ms_since(since) >= self.limits.publish_mark_ms;
            partition.is_live() && behind_since.is_some_and(overdue)
        });
        let behind: Vec<u16> = behind.map(|partition| partition.number).collect();
        if batch.items.is_empty() && behind.is_empty() {
            return;
        }
        let schemas = &*self.schemas;
        let folder = Folder::new(&*self.leaf, schemas, &self.limits, now, &self.partitions, &batch, &mut self.names);
        let Folded { commit, works, alarms, counters, .. } = folder.fold(&behind);
        if commit.partitions.is_empty() {
            return;
        }
        actions.extend(alarms.into_iter().map(Action::Alarm));
        let ticket = self.next_number();
        actions.push(Action::Commit { ticket, commit: Box::new(commit) });
        self.under_way.push(UnderWay { ticket, batch, stage: Doing::Committing { works, counters } });
    }

    fn committed(&mut self, ticket: u64, result: Result<(), CommitError>, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(UnderWay { mut batch, stage: Doing::Committing { works, counters }, .. }) = self.ended(ticket) else {
            return;
        };
        match result {
            Ok(()) => {
                self.failures = 0;
                self.counters.add(&counters);
                self.batch_limit = (self.batch_limit * 2).min(self.limits.batch_max);
                self.keep_rows(batch, &works);
                for work in works {
                    self.absorb(work, now, actions);
                }
            }
            Err(CommitError::Fenced(partitions)) => {
                for number in partitions {
                    self.stand_down(number, actions);
                }
                // What was folded for the others is folded again: nothing was written.
                batch.items.retain(|item| self.partitions.contains_key(&item.partition));
                self.again.push(Again { at: now, batch: batch.anew() });
            }
            Err(CommitError::Data { sqlstate }) => {
                self.bisect(batch, sqlstate, now);
            }
            Err(CommitError::Retry { .. }) => {
                self.try_again(batch, now);
            }
            Err(CommitError::Unknown) => {
                actions.push(Action::Alarm(Alarm::CommitUnknown));
                for work in works {
                    self.claim_anew(work.number, actions);
                }
            }
        }
    }

    /// The batch cannot be stored: halved until one input remains, which is parked.
    fn bisect(&mut self, mut batch: Batch, sqlstate: String, now: Timestamp) {
        if batch.items.len() <= 1 {
            if batch.poison.is_some() {
                // Not even parking can be stored: not the data's fault after all.
                self.try_again(batch, now);
                return;
            }
            batch.poison = Some(sqlstate);
        }
        let half = batch.items.len().div_ceil(2).max(1);
        batch.items.truncate(half);
        self.batch_limit = half;
        self.again.push(Again { at: now, batch: batch.anew() });
    }

    /// Rows that were read are as good as those that were written, while the partition is the same.
    fn keep_rows(&mut self, mut batch: Batch, works: &[Work]) {
        for (number, key) in batch.loaded {
            let version = works.iter().find(|work| work.number == number).map(|work| work.version);
            if let Some(partition) = self.partitions.get_mut(&number)
                && Some(partition.memory.version) == version
                && let Some(row) = batch.rows.remove(&(number, key))
            {
                partition.memory.cache.put(key, row);
            }
        }
    }

    /// Takes over what was committed of one partition, and publishes.
    fn absorb(&mut self, work: Work, now: Timestamp, actions: &mut Vec<Action>) {
        let number = work.number;
        let policy = self.leaf.spec().effects.as_ref();
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        if partition.memory.version != work.version {
            return;
        }
        let memory = &mut partition.memory;
        let messages = memory.absorb(work, policy.is_some(), now);
        if !messages.is_empty() && memory.publisher.append(&messages) {
            actions.push(Action::Publish { partition: number, attempt: memory.publisher.attempt(), messages });
        }
        memory.note_offset();
        actions.extend(partition.witness());
    }
}

fn retry_ms(failures: u32, min: i64, max: i64) -> i64 {
    min.saturating_mul(1_i64 << failures.saturating_sub(1).min(20)).clamp(min, max)
}
