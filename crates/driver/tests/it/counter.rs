//! The smallest leaf: counts the messages of each key, and tells each count.

use daybook_engine::{
    Conclusion, Context, EffectPolicy, Emit, Fault, Incoming, Input, Leaf, NewIntent, OnUnknown, Output, PartKind,
    Provider, Row, RowKey, Rows, Spec,
};
use uuid::Uuid;

pub const NAME: &str = "counter";
pub const INPUT: &str = "test.counter.commands.v1";
pub const CONTROL: &str = "test.counter.control.v1";
pub const OUTPUT: &str = "test.counter.events.v1";
/// What goes in and out; only its name matters here.
pub const TYPE: &str = "daybook.learning.SeatReserved";

/// What the acting one tells before it asks the outside world.
pub const ASKED: &[u8] = b"asked";

pub struct Counter {
    spec: Spec,
}

impl Counter {
    pub fn new() -> Self {
        Self {
            spec: Spec {
                name: NAME,
                kind: PartKind::Aggregate,
                input: INPUT,
                control: CONTROL.to_owned(),
                outputs: vec![OUTPUT],
                tables: Vec::new(),
                effects: None,
            },
        }
    }

    /// Asks the outside world before each count.
    pub fn acting() -> Self {
        let mut counter = Self::new();
        counter.spec.effects = Some(EffectPolicy {
            provider: Provider { name: "moody", down: &[] },
            detached: false,
            key_lifetime_ms: 60_000,
            has_lookup: false,
            settle_ms: 0,
            on_unknown: OnUnknown::AtLeastOnce,
            attempts_max: 50,
            backoff_min_ms: 10,
            backoff_max_ms: 100,
            concurrency: 4,
            call_timeout_ms: 500,
        });
        counter
    }

    fn count(key: Uuid, rows: &mut Rows<'_>, out: &mut Output) -> Result<(), Fault> {
        let row = RowKey::entity(key);
        let number = rows.get(row)?.map_or(0, |row| row.number) + 1;
        let body = number.to_be_bytes().to_vec();
        rows.put(row, Row { number, due: None, status: None, body: body.clone().into() });
        Self::tell(key, body, out);
        Ok(())
    }

    fn tell(key: Uuid, body: Vec<u8>, out: &mut Output) {
        out.messages.push(Emit {
            topic: OUTPUT.into(),
            key,
            type_name: TYPE,
            body,
            id: None,
            reply_to: None,
            reply_for: None,
            thread: None,
        });
    }
}

impl Leaf for Counter {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn parts(&self, _: &Input<'_>, _: &mut Vec<Uuid>) {}

    fn handle(&self, input: &Input<'_>, rows: &mut Rows<'_>, _: &Context, out: &mut Output) -> Result<(), Fault> {
        match input {
            Input::Message(Incoming { body: b"poison", .. }) => panic!("poison"),
            Input::Message(incoming) if self.spec.effects.is_some() => {
                Self::tell(incoming.key, ASKED.to_vec(), out);
                out.intents.push(NewIntent { request: incoming.body.to_vec(), reply: None });
                Ok(())
            }
            Input::Message(incoming) => Self::count(incoming.key, rows, out),
            Input::Concluded { intent, conclusion: Conclusion::Answered(_) } => Self::count(intent.key, rows, out),
            Input::Concluded { intent, conclusion: Conclusion::Recorded(events) } => {
                events.iter().try_for_each(|_| Self::count(intent.key, rows, out))
            }
            Input::Concluded { .. } | Input::Control(_) | Input::Due { .. } => Ok(()),
        }
    }
}
