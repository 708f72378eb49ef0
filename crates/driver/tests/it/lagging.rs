//! A deadline waits for a participant that does not run, and for one that waits itself.

use std::time::Duration;

use daybook_engine::{Context, Emit, Fault, Input, Leaf, Output, PartKind, Participant, Row, RowKey, Rows, Spec};
use daybook_events::{Schemas, Timestamp, frame};
use daybook_log::Start;
use daybook_store::StartFrom;
use tokio::time::timeout;
use uuid::Uuid;

use crate::counter::{INPUT, TYPE};
use crate::support::{Bench, PATIENCE};

pub const TOPICS: [&str; 6] =
    [WAITER_INPUT, "test.waiter.control.v1", WAITER_OUTPUT, CALLER_INPUT, "test.caller.control.v1", CALLER_OUTPUT];
const WAITER_INPUT: &str = "test.waiter.inbox.v1";
const WAITER_OUTPUT: &str = "test.waiter.events.v1";
const CALLER_INPUT: &str = "test.caller.inbox.v1";
const CALLER_OUTPUT: &str = "test.caller.events.v1";
const WAITER_DEADLINE_MS: i64 = 10;
/// Longer than that of whom it calls.
const CALLER_DEADLINE_MS: i64 = 1_000;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const ENTITY: Uuid = Uuid::from_u128(0x1003);

/// Asks somebody who never answers, and gives up when it has been silent for too long.
pub struct Waiter {
    spec: Spec,
    asks: &'static str,
    deadline_ms: i64,
}

impl Waiter {
    pub fn new() -> Self {
        let spec = saga("waiter", WAITER_INPUT, TOPICS[1], WAITER_OUTPUT);
        Self { spec, asks: INPUT, deadline_ms: WAITER_DEADLINE_MS }
    }

    /// Who asks the waiter.
    fn caller() -> Self {
        let spec = saga("caller", CALLER_INPUT, TOPICS[4], CALLER_OUTPUT);
        Self { spec, asks: WAITER_INPUT, deadline_ms: CALLER_DEADLINE_MS }
    }
}

fn saga(name: &'static str, input: &'static str, control: &str, output: &'static str) -> Spec {
    Spec {
        name,
        kind: PartKind::Saga,
        input,
        control: control.to_owned(),
        outputs: vec![output],
        tables: Vec::new(),
        effects: None,
    }
}

impl Leaf for Waiter {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn parts(&self, _: &Input<'_>, _: &mut Vec<Uuid>) {}

    fn handle(&self, input: &Input<'_>, rows: &mut Rows<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault> {
        let row = RowKey::entity(input.key());
        let (topic, due) = match input {
            Input::Due { .. } => (self.spec.outputs[0], None),
            Input::Message(_) | Input::Control(_) | Input::Concluded { .. } => {
                (self.asks, Some(cx.now.plus_ms(self.deadline_ms)))
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
        Some(Participant { topic: self.asks, key: ENTITY })
    }
}

/// Waits until it is shown that a partition is waited for.
async fn shown(bench: &Bench, part: &str) {
    let lags = format!("daybook_participants_lagging{{part=\"{part}\"}} 1");
    let shown = async {
        while !bench.metrics.render().unwrap().contains(&lags) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    timeout(PATIENCE, shown).await.expect("it is shown that somebody is waited for");
}

async fn begin(bench: &Bench, topic: &str) {
    let mut value = Vec::new();
    frame(bench.log.registry().id_of(TYPE).expect("registered"), &mut value);
    bench.send_raw(topic, ENTITY, value).await;
}

/// Waits until a part has given up; answers when that was written.
async fn gave_up(bench: &Bench, output: &str) -> Timestamp {
    let mut tail = bench.log.tail(output, Start::Beginning, true).await.unwrap();
    let record = timeout(PATIENCE, tail.next_raw()).await.expect("it gives up").unwrap();
    record.expect("a record").time
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_waits_for_a_participant_that_waits_itself() {
    let bench = Bench::new().await;
    let waiter = bench.run_leaf(Waiter::new(), None, Some(StartFrom::Beginning));
    let caller = bench.run_leaf(Waiter::caller(), None, Some(StartFrom::Beginning));
    begin(&bench, CALLER_INPUT).await;
    shown(&bench, "waiter").await;
    shown(&bench, "caller").await;
    let counter = bench.run();
    let waited = gave_up(&bench, WAITER_OUTPUT).await;
    assert!(gave_up(&bench, CALLER_OUTPUT).await >= waited, "the caller waits for as long as the waiter does");
    counter.end().await;
    waiter.end().await;
    caller.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_waits_for_a_participant_that_does_not_run() {
    let bench = Bench::new().await;
    let waiter = bench.run_leaf(Waiter::new(), None, Some(StartFrom::Beginning));
    begin(&bench, WAITER_INPUT).await;
    shown(&bench, "waiter").await;
    let ends = (0..8).map(|partition| bench.log.admin().ends(WAITER_OUTPUT, partition));
    let ends = futures::future::try_join_all(ends).await.unwrap();
    assert!(ends.iter().all(|ends| ends.end == 0), "it did not give up: {ends:?}");
    let counter = bench.run();
    gave_up(&bench, WAITER_OUTPUT).await;
    counter.end().await;
    waiter.end().await;
}
