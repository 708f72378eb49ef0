//! The operator: looks at what is parked now and then, tries it again or gives it up.

use std::collections::BTreeSet;

use bytes::Bytes;
use daybook_engine::{HistoryRow, PartKind, RowKey};
use daybook_events::{CompensateSaga, DiscardParked, PersonId, RedriveParked, RetryStep, Timestamp, key};
use serde::Deserialize;
use uuid::Uuid;

use crate::book::BookRecord;
use crate::flows::record_of;
use crate::rng::Rng;
use crate::world::World;

/// How often somebody looks, in simulated ms.
const ROUND_MS: i64 = 4_000;
/// How long before it passes a deadline is seen coming, in ms: by then most sagas have been answered.
const SOON_MS: i64 = 30_000;
/// Deadlines that are seen coming in one run.
const DEADLINES_MAX: usize = 200;
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
}

impl Operator {
    pub(crate) fn new(world: &mut World) -> Self {
        Self {
            rng: Rng::new(world.rng.next()),
            next_look: world.now.plus_ms(ROUND_MS),
            rate: world.faults.saga_ordered,
            deadlines: BTreeSet::new(),
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
            if world.leaves()[part].spec().kind == PartKind::Saga {
                if self.rng.chance(world.faults.saga_ordered) {
                    self.order(world, part, &control);
                }
                self.order_at_deadlines(world, part, &control);
            }
        }
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
        let (id, operator) = (self.rng.uuid(), Uuid::from_u128(OPERATOR));
        let (key_text, actor_id, reason) = (row.key.to_string(), PersonId::new(operator), "simulated".to_owned());
        let record = if self.rng.chance(700_000) {
            world.tally.count("saga retried");
            record_of(&RetryStep { key_text, step, round, actor_id, reason }, id, operator, operator, world.now)
        } else {
            world.tally.count("saga compensated");
            record_of(&CompensateSaga { key_text, round, actor_id, reason }, id, operator, operator, world.now)
        };
        BookRecord {
            key: Some(Bytes::copy_from_slice(&key::of(row.key))),
            header: without_reply(record.header),
            ..record
        }
    }

    /// Looks at once, if anything is parked.
    pub(crate) fn looks_again(&mut self, world: &mut World) -> bool {
        let is_parked = world.tables.iter().any(|tables| !tables.parked.is_empty());
        if is_parked {
            self.next_look = world.now;
        }
        is_parked
    }

    fn decide(&mut self, world: &mut World, parked_id: Uuid, raw_key: Bytes) -> BookRecord {
        let id = self.rng.uuid();
        let operator = Uuid::from_u128(OPERATOR);
        let key_text = key::to_text(&raw_key).into_owned();
        let (actor_id, reason) = (PersonId::new(operator), "simulated".to_owned());
        let record = if self.rng.chance(500_000) {
            world.tally.count("redriven");
            record_of(&RedriveParked { key_text, parked_id, actor_id, reason }, id, operator, operator, world.now)
        } else {
            world.tally.count("discarded");
            record_of(&DiscardParked { key_text, parked_id, actor_id, reason }, id, operator, operator, world.now)
        };
        // Operators are told by the book, not by a reply.
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
