//! The operator: looks now and then at what is parked, tries it again or gives it up; and tells what came of effects that
//! need attention.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use daybook_engine::{HistoryRow, Intent, PartKind, RowKey};
use daybook_events::{
    CompensateSaga, DiscardParked, Message, PersonId, RedriveParked, ResolveEffect, RetryStep, Timestamp, key,
};
use serde::Deserialize;
use uuid::Uuid;

use crate::book::BookRecord;
use crate::database::Tables;
use crate::flows::record_of;
use crate::rng::Rng;
use crate::world::World;

/// How often somebody looks, in simulated ms.
const ROUND_MS: i64 = 4_000;
/// How long before it passes a deadline is seen coming, in ms: by then most sagas have been answered.
const SOON_MS: i64 = 30_000;
/// Deadlines that are seen coming in one run.
const DEADLINES_MAX: usize = 200;
/// How long an effect needs attention until somebody looks into the provider's books, in ms: by then none of its calls is on
/// its way any more.
const ATTENTION_MS: (i64, i64) = (2 * 60_000, 20 * 60_000);
const OPERATOR: u128 = 0x0b5e_55ed;

/// As much of an entry of a saga's history as an order needs.
#[derive(Deserialize)]
struct Entry {
    round: i64,
    next_step: Option<String>,
}

pub(crate) struct Operator {
    rng: Rng,
    next_look: Timestamp,
    /// Of orders at deadlines.
    rate: u32,
    /// Deadlines that were seen coming.
    deadlines: BTreeSet<(Timestamp, RowKey)>,
    /// Effects that need attention, and when they get it.
    attention: BTreeMap<Uuid, Timestamp>,
}

impl Operator {
    pub(crate) fn new(world: &mut World) -> Self {
        Self {
            rng: Rng::new(world.rng.next()),
            next_look: world.now.plus_ms(ROUND_MS),
            rate: world.faults.saga_ordered,
            deadlines: BTreeSet::new(),
            attention: BTreeMap::new(),
        }
    }

    pub(crate) fn look(&mut self, world: &mut World) {
        if world.now < self.next_look {
            return;
        }
        self.next_look = world.now.plus_ms(ROUND_MS);
        for part in 0..world.leaves().len() {
            let control = world.leaves()[part].spec().control.clone();
            let parked: Vec<_> =
                world.tables[part].parked.values().map(|parked| (parked.id, parked.raw.key.clone())).collect();
            for (parked_id, key) in parked {
                let record = self.decide(world, parked_id, key.unwrap_or_default());
                world.publish_after(self.rng.between(0, 500), control.clone(), record);
            }
            self.attend(world, part, &control);
            if world.leaves()[part].spec().kind == PartKind::Saga {
                if self.rng.chance(world.faults.saga_ordered) {
                    self.order(world, part, &control);
                }
                self.order_at_deadlines(world, part, &control);
            }
        }
    }

    /// Looks into the books of the world outside, and tells what stands there; again, if it still needs attention much later.
    fn attend(&mut self, world: &mut World, part: usize, control: &str) {
        let needing: Vec<_> = world.tables[part].needing_attention().cloned().collect();
        for intent in needing {
            let soon = || world.now.plus_ms(self.rng.between(ATTENTION_MS.0, ATTENTION_MS.1));
            let at = *self.attention.entry(intent.id).or_insert_with(soon);
            if at <= world.now {
                self.attention.remove(&intent.id);
                let record = self.resolve(world, part, &intent);
                world.publish_after(self.rng.between(0, 500), control.to_owned(), record);
            }
        }
    }

    fn resolve(&mut self, world: &mut World, part: usize, intent: &Intent) -> BookRecord {
        let outcome = world.outside.became_of(world.leaves()[part].spec().name, intent);
        let happened = outcome.is_some();
        world.tally.count(if happened { "effect resolved, done" } else { "effect resolved, not done" });
        let resolve = ResolveEffect {
            key_text: intent.key.to_string(),
            intent_id: intent.id,
            happened,
            evidence: "the provider's books".to_owned(),
            outcome,
            actor_id: PersonId::from_u128(OPERATOR),
            reason: "simulated".to_owned(),
        };
        self.record(world, Bytes::copy_from_slice(&key::of(intent.key)), &resolve)
    }

    /// Retries or compensates a saga that waits, at any time.
    fn order(&mut self, world: &mut World, part: usize, control: &str) {
        let waiting: Vec<_> = world.tables[part].waiting().collect();
        let Some((_, row)) = self.rng.pick(&waiting).copied() else { return };
        let after_ms = self.rng.between(0, 500);
        self.send(world, part, control, row, after_ms);
    }

    /// Does it just when the deadline passes that it has waited for: the engine has loaded what is due by then, and finds it
    /// changed. Few sagas come so far, so this goes on when nothing else goes wrong any more.
    fn order_at_deadlines(&mut self, world: &mut World, part: usize, control: &str) {
        let now = world.database_now();
        let is_soon = |due: Timestamp| due > now && due.ms_since(now) <= SOON_MS;
        let soon: Vec<_> = world.tables[part].waiting().filter(|(due, _)| is_soon(*due)).collect();
        for (due, row) in soon {
            let is_new = self.deadlines.len() < DEADLINES_MAX && self.deadlines.insert((due, row));
            if is_new && self.rng.chance(self.rate) {
                let after_ms = due.ms_since(now) + self.rng.between(1, 6);
                self.send(world, part, control, row, after_ms);
            }
        }
    }

    fn send(&mut self, world: &mut World, part: usize, control: &str, row: RowKey, after_ms: i64) {
        let mut latest = world.tables[part].history.iter().rev().filter(|entry| entry.key == row.key);
        let Some(row) = latest.find(|entry| entry.entry.contains("next_step")).cloned() else { return };
        let Ok(Entry { round, next_step: Some(step) }) = serde_json::from_str(&row.entry) else { return };
        let record = self.verb(world, &row, round, step);
        world.publish_after(after_ms, control.to_owned(), record);
    }

    fn verb(&mut self, world: &mut World, row: &HistoryRow, round: i64, step: String) -> BookRecord {
        let raw_key = Bytes::copy_from_slice(&key::of(row.key));
        let (key_text, actor_id, reason) = (row.key.to_string(), PersonId::from_u128(OPERATOR), "simulated".to_owned());
        if self.rng.chance(700_000) {
            world.tally.count("saga retried");
            self.record(world, raw_key, &RetryStep { key_text, step, round, actor_id, reason })
        } else {
            world.tally.count("saga compensated");
            self.record(world, raw_key, &CompensateSaga { key_text, round, actor_id, reason })
        }
    }

    /// Lets time pass until the next look, if anything waits for it.
    pub(crate) fn looks_again(&mut self, world: &mut World) -> bool {
        let waits = |tables: &Tables| !tables.parked.is_empty() || tables.needing_attention().next().is_some();
        let is_waited_for = world.tables.iter().any(waits);
        if is_waited_for {
            world.now = world.now.max(self.next_look);
        }
        is_waited_for
    }

    fn decide(&mut self, world: &mut World, parked_id: Uuid, raw_key: Bytes) -> BookRecord {
        let key_text = key::to_text(&raw_key).into_owned();
        let (actor_id, reason) = (PersonId::from_u128(OPERATOR), "simulated".to_owned());
        if self.rng.chance(500_000) {
            world.tally.count("redriven");
            self.record(world, raw_key, &RedriveParked { key_text, parked_id, actor_id, reason })
        } else {
            world.tally.count("discarded");
            self.record(world, raw_key, &DiscardParked { key_text, parked_id, actor_id, reason })
        }
    }

    /// Operators are told by the book, not by a reply.
    fn record<C: Message>(&mut self, world: &World, raw_key: Bytes, order: &C) -> BookRecord {
        let operator = Uuid::from_u128(OPERATOR);
        let record = record_of(order, self.rng.uuid(), operator, operator, world.now);
        BookRecord { key: Some(raw_key), header: without_reply(record.header), ..record }
    }
}

pub(crate) fn without_reply(header: Option<Bytes>) -> Option<Bytes> {
    let mut header = daybook_events::Header::decode(&header?).ok()?;
    header.reply_to = None;
    let mut bytes = Vec::new();
    header.encode(&mut bytes).ok()?;
    Some(bytes.into())
}
