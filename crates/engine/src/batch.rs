//! One batch: which inputs it takes, and what must be loaded before they can be folded.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use daybook_events::{DiscardParked, Message, RedriveParked, ResolveEffect, Schemas, Timestamp, Writer, decode};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use uuid::Uuid;

use crate::marks::Verdict;
use crate::partition::{Answer, Memory, Partition, Phase, Told};
use crate::understood::Understood;
use crate::{
    Applied, Conclusion, DueRow, Input, Leaf, Limits, Load, Loaded, Parked, PartKind, Record, Row, RowKey, Stream,
};

/// An input on its way through a batch. It stays in its queue until the batch is committed.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) partition: u16,
    /// Of the claim it was fetched under: after another claim it counts for nothing.
    pub(crate) token: u64,
    pub(crate) task: Task,
}

#[derive(Clone, Debug)]
pub(crate) enum Task {
    Record(Box<Understood>),
    /// A control record that is the engine's own business.
    Verb(Box<Understood>, Verb),
    Held {
        number: u64,
        key: Bytes,
        understood: Box<Understood>,
    },
    Due(DueRow),
    Answer(Answer),
    /// A record that is held although its key is free: recovery has found that it waited.
    SetAside(Box<Understood>),
}

#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Redrive(RedriveParked),
    Discard(DiscardParked),
    Resolve(ResolveEffect),
}

#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Those that it is for: until it has ended no other batch is.
    pub(crate) partitions: BTreeSet<u16>,
    pub(crate) items: Vec<Item>,
    /// The one item is known not to be storable: it is parked under this code.
    pub(crate) poison: Option<String>,
    /// Everything that is needed, absent ones included.
    pub(crate) rows: HashMap<(u16, RowKey), Option<Row>>,
    /// Those that no cache had, in the order in which they were asked for.
    pub(crate) loaded: Vec<(u16, RowKey)>,
    pub(crate) applied: HashMap<Uuid, Option<Applied>>,
    pub(crate) parked: HashMap<Uuid, Option<Parked>>,
    /// Parked records that are to be applied again, by their parked id.
    pub(crate) redriven: HashMap<Uuid, Understood>,
}

impl Batch {
    pub(crate) fn of(items: Vec<Item>) -> Self {
        Self { items, ..Self::default() }
    }

    pub(crate) fn for_partitions(partitions: BTreeSet<u16>) -> Self {
        Self { partitions, ..Self::default() }
    }

    /// The same inputs again, with nothing loaded.
    pub(crate) fn anew(self) -> Self {
        Self { partitions: self.partitions, items: self.items, poison: self.poison, ..Self::default() }
    }

    /// Drops the inputs of partitions that were claimed anew or are gone, and then all that was loaded.
    pub(crate) fn without_stale(self, partitions: &BTreeMap<u16, Partition>) -> Self {
        let current =
            |item: &Item| partitions.get(&item.partition).is_some_and(|partition| partition.token == item.token);
        if self.items.iter().all(current) {
            return self;
        }
        let mut batch = self.anew();
        batch.items.retain(current);
        batch
    }

    pub(crate) fn load(&mut self, asked: &Load, loaded: Loaded, schemas: &dyn Schemas) {
        self.rows.extend(asked.rows.iter().map(|&place| (place, None)));
        self.loaded.extend(&asked.rows);
        let partitions: HashMap<RowKey, u16> = asked.rows.iter().map(|&(partition, key)| (key, partition)).collect();
        for (key, row) in loaded.rows {
            if let Some(&partition) = partitions.get(&key) {
                self.rows.insert((partition, key), Some(row));
            }
        }
        self.applied.extend(asked.applied.iter().map(|&id| (id, None)));
        self.applied.extend(loaded.applied.into_iter().map(|applied| (applied.id, Some(applied))));
        self.parked.extend(asked.parked.iter().map(|&id| (id, None)));
        for parked in loaded.parked {
            self.redriven.insert(parked.id, Understood::kept(&parked.raw, parked.partition, schemas));
            self.parked.insert(parked.id, Some(parked));
        }
    }

    /// What is still to be loaded; empty when the batch can be folded. Cached rows are taken over.
    pub(crate) fn missing(&mut self, leaf: &dyn Leaf, partitions: &mut BTreeMap<u16, Partition>) -> Load {
        let mut needs = Needs::default();
        let stateful = matches!(leaf.spec().kind, PartKind::Aggregate | PartKind::Saga);
        for item in &self.items {
            if let Some(partition) = partitions.get(&item.partition) {
                needs.item(self, leaf, stateful, partition, &item.task);
            }
        }
        let mut load = Load::default();
        for (number, key) in needs.rows {
            let Entry::Vacant(place) = self.rows.entry((number, key)) else {
                continue;
            };
            let cache = partitions.get_mut(&number).map(|partition| &mut partition.memory.cache);
            match cache.and_then(|cache| cache.touched(&key)) {
                Some(row) => drop(place.insert(row)),
                None => load.rows.push((number, key)),
            }
        }
        load.rows.sort_unstable();
        load.rows.dedup();
        load.applied = needs.applied.into_iter().filter(|id| !self.applied.contains_key(id)).collect();
        load.parked = needs.parked.into_iter().filter(|id| !self.parked.contains_key(id)).collect();
        load
    }
}

impl Load {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.applied.is_empty()
            && self.held.is_empty()
            && self.due.is_empty()
            && self.parked.is_empty()
    }
}

/// Ordered: rows touch the cache as they come, and a seed has to replay.
#[derive(Default)]
struct Needs {
    /// As often as an input needs them.
    rows: Vec<(u16, RowKey)>,
    applied: BTreeSet<Uuid>,
    parked: BTreeSet<Uuid>,
}

impl Needs {
    fn item(&mut self, batch: &Batch, leaf: &dyn Leaf, stateful: bool, partition: &Partition, task: &Task) {
        match task {
            Task::Record(understood) => {
                let shard = understood.header.as_ref().and_then(|header| header.shard.as_ref());
                let memory = &partition.memory;
                if shard.is_some_and(|shard| memory.judge(&memory.marks, shard) == Verdict::Duplicate) {
                    return;
                }
                self.record(leaf, stateful, partition, understood);
            }
            Task::Held { understood, .. } => self.record(leaf, stateful, partition, understood),
            Task::Verb(_, Verb::Redrive(RedriveParked { parked_id, .. })) => {
                self.parked.insert(*parked_id);
                if let Some(understood) = batch.redriven.get(parked_id) {
                    self.record(leaf, stateful, partition, understood);
                }
            }
            Task::Verb(_, Verb::Discard(DiscardParked { parked_id, .. })) => {
                self.parked.insert(*parked_id);
                let redriven = batch.redriven.get(parked_id);
                self.applied.extend(redriven.and_then(Understood::outside_id));
            }
            Task::Verb(_, Verb::Resolve(resolve)) => {
                let code = String::new();
                self.intent(leaf, stateful, partition, resolve.intent_id, &Conclusion::GaveUp { code });
            }
            Task::Due(due) if stateful => {
                self.rows.push((partition.number, due.row));
                self.leaf(leaf, partition, &Input::Due { row: due.row });
            }
            Task::Due(_) => {}
            Task::Answer(Answer { intent_id, what: Told::Conclusion(conclusion) }) => {
                self.intent(leaf, stateful, partition, *intent_id, conclusion);
            }
            Task::Answer(_) | Task::SetAside(_) => {}
        }
    }

    fn record(&mut self, leaf: &dyn Leaf, stateful: bool, partition: &Partition, understood: &Understood) {
        self.applied.extend(understood.outside_id());
        let intent = understood.raw_key().and_then(|key| partition.memory.intent_of(&key));
        let Ok(incoming) = understood.incoming(intent) else {
            return;
        };
        if stateful {
            let input = match understood.record.stream {
                Stream::Data => Input::Message(incoming),
                Stream::Control => Input::Control(incoming),
            };
            self.leaf(leaf, partition, &input);
        }
    }

    fn intent(&mut self, leaf: &dyn Leaf, stateful: bool, partition: &Partition, id: Uuid, conclusion: &Conclusion) {
        let Some(open) = partition.memory.intents.get(&id) else {
            return;
        };
        self.applied.insert(id);
        if stateful {
            self.leaf(leaf, partition, &Input::Concluded { intent: &open.intent, conclusion });
        }
    }

    fn leaf(&mut self, leaf: &dyn Leaf, partition: &Partition, input: &Input<'_>) {
        let entity = input.key();
        self.rows.push((partition.number, RowKey::entity(entity)));
        let mut parts = Vec::new();
        // What panics here panics in `handle` too, and is parked there.
        if catch_unwind(AssertUnwindSafe(|| leaf.parts(input, &mut parts))).is_ok() {
            self.rows.extend(parts.into_iter().map(|part| (partition.number, RowKey::part(entity, part))));
        }
    }
}

/// Chooses what a batch of these partitions takes: at most `limit` inputs, partitions taking turns, nothing removed yet.
pub(crate) fn choose<'a>(
    partitions: impl Iterator<Item = &'a Partition>,
    limits: &Limits,
    limit: usize,
    schemas: &dyn Schemas,
    now: Timestamp,
) -> Vec<Item> {
    let ready: Vec<_> = partitions.map(|partition| (partition, waiting(partition, limits, now))).collect();
    let waiting: Vec<usize> = ready.iter().map(|(_, count)| *count).collect();
    let quota = (limit / ready.len().max(1)).max(1);
    let mut left = limit;
    let mut shares: Vec<usize> = waiting.iter().map(|&count| take(&mut left, count.min(quota))).collect();
    for (share, count) in shares.iter_mut().zip(&waiting) {
        *share += take(&mut left, count - *share);
    }
    ready.iter().zip(shares).flat_map(|((partition, _), share)| of_partition(partition, share, schemas)).collect()
}

fn take(left: &mut usize, wanted: usize) -> usize {
    let taken = wanted.min(*left);
    *left -= taken;
    taken
}

fn takes_work(partition: &Partition, limits: &Limits) -> bool {
    matches!(partition.phase, Phase::Live | Phase::Leaving)
        && partition.memory.publisher.unacknowledged() < limits.unacknowledged_max
}

/// How many inputs a partition has to offer.
pub(crate) fn waiting(partition: &Partition, limits: &Limits, now: Timestamp) -> usize {
    if !takes_work(partition, limits) {
        return 0;
    }
    let memory = &partition.memory;
    if partition.phase == Phase::Leaving {
        return memory.answers.len();
    }
    let is_full = memory.held >= limits.held_max || memory.intents.len() >= limits.intents_max;
    let room = if is_full { 0 } else { limits.calls_due_max - calls_due(memory, limits, now) };
    let data = memory.data.records.len().min(room);
    memory.answers.len() + memory.released.len() + memory.control.records.len() + memory.due.len() + data
}

/// Calls that wait for their turn, counted up to the bound.
fn calls_due(memory: &Memory, limits: &Limits, now: Timestamp) -> usize {
    memory.schedule.iter().take(limits.calls_due_max).take_while(|(at, _)| *at <= now).count()
}

fn of_partition<'a>(
    partition: &'a Partition,
    share: usize,
    schemas: &'a dyn Schemas,
) -> impl Iterator<Item = Item> + use<'a> {
    let (number, token) = (partition.number, partition.token);
    let memory = &partition.memory;
    let answers = memory.answers.iter().map(|answer| Task::Answer(answer.clone()));
    let held = memory.released.iter().map(move |held| Task::Held {
        number: held.number,
        key: held.raw.key.clone().unwrap_or_default(),
        understood: Box::new(Understood::kept(&held.raw, number, schemas)),
    });
    let control = memory.control.records.iter().map(task_of);
    let due = memory.due.iter().map(|due| Task::Due(due.clone()));
    let data = memory.data.records.iter().map(task_of);
    let tasks = answers.chain(held).chain(control).chain(due).chain(data);
    tasks.take(share).map(move |task| Item { partition: number, token, task })
}

pub(crate) fn task_of(record: &Arc<Record>) -> Task {
    let understood = Box::new(Understood::new(Arc::clone(record)));
    match verb_of(&understood) {
        Some(verb) => Task::Verb(understood, verb),
        None => Task::Record(understood),
    }
}

/// A verb that cannot be decoded is left to the leaf, which will refuse it.
fn verb_of(understood: &Understood) -> Option<Verb> {
    if understood.record.stream != Stream::Control {
        return None;
    }
    let body = understood.body();
    match understood.type_name() {
        RedriveParked::FULL_NAME => read(understood.writer()?, body).map(Verb::Redrive),
        DiscardParked::FULL_NAME => read(understood.writer()?, body).map(Verb::Discard),
        ResolveEffect::FULL_NAME => read(understood.writer()?, body).map(Verb::Resolve),
        _ => None,
    }
}

fn read<T: Message>(writer: &Writer, body: &[u8]) -> Option<T> {
    decode(writer, body).ok()
}
