//! A log of its own for each test: one stack, told apart by prefix.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daybook_engine::{Outgoing, PARTITIONS, Record, SchemaLookup, Stream};
use daybook_events::{Header, Retention, Schemas, StaticSchemas, Timestamp, frame, key};
use daybook_log::{Delivered, Fetched, Fetcher, Log, Publisher, Settings, TopicPlan};
use daybook_stack::{Server, Stack};
use uuid::Uuid;

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(240);

pub const DATA: &str = "learning.course.events.v1";
pub const CONTROL: &str = "learning.course.control.v1";
/// A type that the tests publish.
pub const TYPE: &str = "daybook.learning.SeatReserved";
/// An id that no registry here gives.
pub const NO_SUCH_ID: u32 = 999_999_999;

#[expect(clippy::disallowed_methods, reason = "a name that no other run of the tests has")]
pub fn settings() -> Settings {
    let urls = Stack::shared_for_tests(&[Server::Kafka, Server::Registry]).expect("a stack");
    Settings {
        brokers: urls.kafka.clone(),
        registry: urls.registry.clone(),
        topic_prefix: format!("t{}.", Uuid::new_v4().simple()),
        ..Settings::default()
    }
}

/// Kept for ever: the tests' records tell a time years ago, and half a minute after its start a broker deletes what is past retention.
pub fn topic(name: &str) -> TopicPlan {
    TopicPlan { name: name.to_owned(), partitions: PARTITIONS, retention: Retention::Forever }
}

/// A log with the two topics.
pub async fn log() -> Log {
    log_with(settings()).await
}

pub async fn log_with(settings: Settings) -> Log {
    let log = Log::open(settings).expect("settings");
    log.admin().apply(&[topic(DATA), topic(CONTROL)]).await.expect("topics");
    log
}

/// A message of shard 3 for partition 5, framed with this schema id.
pub fn outgoing(topic: &str, seq: u64, schema_id: u32) -> Outgoing {
    let message_id = Uuid::from_u128(u128::from(seq));
    let mut header = Vec::new();
    Header::first(message_id, Timestamp(1_000_000 * i64::try_from(seq).unwrap())).encode(&mut header).unwrap();
    let mut value = Vec::new();
    frame(schema_id, &mut value);
    value.extend_from_slice(format!("body {seq}").as_bytes());
    Outgoing {
        seq,
        topic: Arc::from(topic),
        partition: 5,
        key: Bytes::copy_from_slice(&key::of(Uuid::from_u128(9))),
        type_name: Arc::from(TYPE),
        message_id,
        time: Timestamp(1_700_000_000_000_000),
        header: header.into(),
        value: value.into(),
    }
}

/// Publishes and waits for every acknowledgment.
pub async fn publish(publisher: &mut Publisher, messages: Vec<Outgoing>) -> Vec<Delivered> {
    let count = messages.len();
    publisher.publish(3, 1, messages);
    let mut delivered = Vec::new();
    while delivered.len() < count {
        delivered.push(within(publisher.next()).await);
    }
    delivered
}

/// The id of a schema that the registry of the test has.
pub async fn known_schema(log: &Log) -> u32 {
    let subjects = daybook_log::subjects(&[topic(DATA)]);
    log.registry().register(&subjects).await.expect("registered");
    log.registry().id_of(TYPE).expect("an id")
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// Waits until the group has given all partitions.
pub async fn join(fetcher: &mut Fetcher) -> Vec<u16> {
    fetcher.join().expect("joined");
    let mut assigned = Vec::new();
    while assigned.len() < usize::from(PARTITIONS) {
        match within(fetcher.next()).await.expect("no refusal") {
            Fetched::Assigned(partitions) => assigned.extend(partitions),
            other => panic!("unexpected: {other:?}"),
        }
    }
    assigned.sort_unstable();
    assigned
}

/// Reads until there are `count` records of one stream; answers them with the tokens they came under.
pub async fn records(fetcher: &mut Fetcher, wanted: Stream, count: usize) -> Vec<(u64, Record)> {
    let mut found = Vec::new();
    while found.len() < count {
        if let Fetched::Records { stream, token, records, .. } = within(fetcher.next()).await.expect("no refusal")
            && stream == wanted
        {
            found.extend(records.into_iter().map(|record| (token, record)));
        }
    }
    found
}

pub fn offsets(records: &[(u64, Record)]) -> Vec<i64> {
    records.iter().map(|(_, record)| record.offset).collect()
}

pub fn is_known(record: &Record) -> bool {
    matches!(record.schema, SchemaLookup::Known(_))
}

/// The contract's own schema of a type.
pub fn own_schema(full_name: &str) -> String {
    let id = StaticSchemas.id_of(full_name).expect("a message of the contract");
    StaticSchemas.writer(id).expect("its schema").json().to_owned()
}
