//! A deadline waits for a participant that does not run.

use std::time::Duration;

use daybook_engine::{Context, Emit, Fault, Input, Leaf, Output, PartKind, Participant, Row, RowKey, Rows, Spec};
use daybook_events::{Schemas, frame};
use daybook_log::Start;
use daybook_store::StartFrom;
use tokio::time::timeout;
use uuid::Uuid;

use crate::counter::{INPUT, TYPE};
use crate::support::{Bench, PATIENCE};

pub const TOPICS: [&str; 3] = [WAITER_INPUT, "test.waiter.control.v1", WAITER_OUTPUT];
const WAITER_INPUT: &str = "test.waiter.inbox.v1";
const WAITER_OUTPUT: &str = "test.waiter.events.v1";
const DEADLINE_MS: i64 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const ENTITY: Uuid = Uuid::from_u128(0x1003);

/// Asks the counter, which never answers, and gives up when it has been silent for too long.
struct Waiter(Spec);

impl Waiter {
    fn new() -> Self {
        Self(Spec {
            name: "waiter",
            kind: PartKind::Saga,
            input: WAITER_INPUT,
            control: TOPICS[1].to_owned(),
            outputs: vec![WAITER_OUTPUT],
            tables: Vec::new(),
            effects: None,
        })
    }
}

impl Leaf for Waiter {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn parts(&self, _: &Input<'_>, _: &mut Vec<Uuid>) {}

    fn handle(&self, input: &Input<'_>, rows: &mut Rows<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault> {
        let row = RowKey::entity(input.key());
        let (topic, due) = match input {
            Input::Due { .. } => (WAITER_OUTPUT, None),
            Input::Message(_) | Input::Control(_) | Input::Concluded { .. } => {
                (INPUT, Some(cx.now.plus_ms(DEADLINE_MS)))
            }
        };
        let number = rows.get(row)?.map_or(0, |row| row.number) + 1;
        rows.put(row, Row { number, due, status: None, body: Vec::new().into() });
        out.messages.push(Emit {
            topic: topic.into(),
            key: row.key,
            type_name: TYPE,
            body: Vec::new(),
            id: None,
            reply_to: None,
            reply_for: None,
            thread: None,
        });
        Ok(())
    }

    fn awaits(&self, _: &Row) -> Option<Participant> {
        Some(Participant { topic: INPUT, key: ENTITY })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_waits_for_a_participant_that_does_not_run() {
    let bench = Bench::new().await;
    let waiter = bench.run_leaf(Waiter::new(), None, Some(StartFrom::Beginning));
    let mut value = Vec::new();
    frame(bench.log.registry().id_of(TYPE).expect("registered"), &mut value);
    bench.send_raw(WAITER_INPUT, ENTITY, value).await;
    let lags = "daybook_participants_lagging{part=\"waiter\"} 1";
    let shown = async {
        while !bench.metrics.render().unwrap().contains(lags) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    timeout(PATIENCE, shown).await.expect("it is shown that the counter is waited for");
    let ends = (0..8).map(|partition| bench.log.admin().ends(WAITER_OUTPUT, partition));
    let ends = futures::future::try_join_all(ends).await.unwrap();
    assert!(ends.iter().all(|ends| ends.end == 0), "it did not give up: {ends:?}");
    let counter = bench.run();
    let mut gave_up = bench.log.tail(WAITER_OUTPUT, Start::Beginning, true).await.unwrap();
    timeout(PATIENCE, gave_up.next_raw()).await.expect("once it has been read").unwrap().expect("a record");
    counter.end().await;
    waiter.end().await;
}
