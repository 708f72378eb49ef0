//! The operator: looks at what is parked now and then, tries it again or gives it up.

use bytes::Bytes;
use daybook_events::{DiscardParked, PersonId, RedriveParked, Timestamp, key};
use uuid::Uuid;

use crate::book::BookRecord;
use crate::flows::record_of;
use crate::rng::Rng;
use crate::world::World;

/// How often somebody looks, in simulated ms.
const ROUND_MS: i64 = 4_000;
const OPERATOR: u128 = 0x0b5e_55ed;

pub(crate) struct Operator {
    rng: Rng,
    next_look: Timestamp,
}

impl Operator {
    pub(crate) fn new(world: &mut World) -> Self {
        Self { rng: Rng::new(world.rng.next()), next_look: world.now.plus_ms(ROUND_MS) }
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
        }
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
