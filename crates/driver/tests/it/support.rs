//! A log and a database of its own for each test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daybook_driver::{Error, Options, Part, Surroundings, run_part};
use daybook_engine::{Leaf, PARTITIONS, Performer};
use daybook_events::{Header, HeaderRef, Retention, Schemas, Timestamp, descriptor, frame, key, unframe};
use daybook_log::{Log, Request, Requests, Start, Subject, TopicPlan};
use daybook_service::{Drain, Metrics};
use daybook_stack::{Server, Stack};
use daybook_store::{StartFrom, Store};
use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::counter::{ASKED, CONTROL, Counter, INPUT, OUTPUT, TYPE};
use crate::lagging;

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(240);

pub struct Bench {
    pub log: Arc<Log>,
    pub store: Store,
    pub metrics: Metrics,
    pub postgres: String,
    pub schema_prefix: String,
    requests: Requests,
    sent: std::cell::Cell<u128>,
}

/// A running part.
pub struct Running {
    pub drain: Drain,
    pub task: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Ends it in good order.
    pub async fn end(self) {
        self.drain.begin("test");
        timeout(PATIENCE, self.task).await.expect("in time").expect("no panic").expect("no refusal");
    }

    /// Ends it as if its process had been killed.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_err());
    }
}

impl Bench {
    pub async fn new() -> Self {
        let urls = Stack::shared_for_tests(&[Server::Kafka, Server::Registry, Server::Postgres]).expect("a stack");
        let name = daybook_service::ids::random().simple().to_string();
        let log = Log::open(daybook_log::Settings {
            brokers: urls.kafka.clone(),
            registry: urls.registry.clone(),
            topic_prefix: format!("d{name}."),
            ..daybook_log::Settings::default()
        })
        .expect("settings");
        let topics = [INPUT, CONTROL, OUTPUT].iter().chain(&lagging::TOPICS).map(|name| TopicPlan {
            name: (*name).to_owned(),
            partitions: PARTITIONS,
            // The records of the tests are older than what a command's topic keeps.
            retention: Retention::Forever,
        });
        log.admin().apply(&topics.collect::<Vec<_>>()).await.expect("topics");
        let subject = Subject {
            name: format!("{OUTPUT}-{TYPE}"),
            full_name: TYPE,
            schema: descriptor(TYPE).expect("a message of the contract").schema,
            compatibility: "FULL_TRANSITIVE",
        };
        log.registry().register(&[subject]).await.expect("registered");
        let schema_prefix = format!("d{}_", &name[..12]);
        let mut settings = daybook_store::Settings::of(urls.postgres.clone());
        settings.schema_prefix.clone_from(&schema_prefix);
        let store = Store::connect(settings).await.expect("a database");
        let requests = log.requests("test", PATIENCE).expect("settings");
        Self {
            log: Arc::new(log),
            store,
            metrics: Metrics::new().expect("metrics"),
            postgres: urls.postgres.clone(),
            schema_prefix,
            requests,
            sent: std::cell::Cell::new(0),
        }
    }

    /// Runs the counter from the first record of its topics.
    pub fn run(&self) -> Running {
        self.run_leaf(Counter::new(), None, Some(StartFrom::Beginning))
    }

    #[expect(clippy::disallowed_methods, reason = "a task that a test can kill")]
    pub fn run_leaf(&self, leaf: impl Leaf, performer: Option<Arc<dyn Performer>>, from: Option<StartFrom>) -> Running {
        let drain = Drain::new(Duration::from_secs(20));
        let around = Surroundings {
            log: Arc::clone(&self.log),
            store: self.store.clone(),
            drain: drain.clone(),
            metrics: self.metrics.clone(),
            readers: [Counter::new().spec(), lagging::Waiter::new().spec()].into_iter().collect(),
        };
        let part = Part { leaf: Arc::new(leaf), performer };
        Running { drain, task: tokio::spawn(run_part(part, Options { from, ..Options::default() }, around)) }
    }

    /// Sends one message per number, to one of ten keys each.
    pub async fn send(&self, numbers: std::ops::Range<u128>) {
        let id = self.log.registry().id_of(TYPE).expect("registered");
        for chunk in numbers.collect::<Vec<_>>().chunks(500) {
            let sending = chunk.iter().map(|number| {
                let mut value = Vec::new();
                frame(id, &mut value);
                value.extend_from_slice(b"count");
                self.send_raw(INPUT, key_of(*number), value)
            });
            join_all(sending).await;
        }
    }

    pub async fn send_raw(&self, topic: &str, to: Uuid, value: Vec<u8>) {
        self.sent.set(self.sent.get() + 1);
        let message_id = Uuid::from_u128(self.sent.get());
        let mut header = Vec::new();
        Header::first(message_id, Timestamp(0)).encode(&mut header).expect("a header");
        let request = Request {
            topic,
            key: &key::of(to),
            type_name: TYPE,
            message_id,
            time: Timestamp(1_700_000_000_000_000),
            header: &header,
            value: &value,
        };
        self.requests.publish(request, Instant::now() + PATIENCE).await.expect("published");
    }

    /// Reads the output until it tells this many counts, and checks that they are exactly 1, 2, 3… for each key and the
    /// numbering has no gap.
    pub async fn expect_counts(&self, total: u64) {
        let mut tail = self.log.tail(OUTPUT, Start::Beginning, true).await.expect("a topic");
        let mut marks: BTreeMap<(u16, u16), u64> = BTreeMap::new();
        let mut counts: BTreeMap<Uuid, u64> = BTreeMap::new();
        while counts.values().sum::<u64>() < total {
            let record = timeout(PATIENCE, tail.next_raw()).await.expect("in time").expect("readable").expect("more");
            let header = HeaderRef::decode(record.header.as_deref().expect("a header")).expect("a header");
            let shard = header.shard.expect("numbered");
            let mark = marks.entry((record.partition, shard.partition)).or_default();
            if shard.seq <= *mark {
                continue;
            }
            assert!(shard.prev <= *mark, "number {} after {mark} in {record:?}", shard.seq);
            *mark = shard.seq;
            let (_, body) = unframe(record.value.as_deref().expect("a value")).expect("framed");
            if body == ASKED {
                continue;
            }
            let count = counts.entry(key::parse(record.key.as_deref().expect("a key")).expect("an id")).or_default();
            *count += 1;
            assert_eq!(body, count.to_be_bytes());
        }
    }

    /// Copies the part's tables.
    pub fn copy(&self) -> String {
        let schemas = format!("{}*", self.schema_prefix);
        let dumped = std::process::Command::new("pg_dump").args([&self.postgres, "--schema", &schemas]).output();
        let dumped = dumped.expect("pg_dump is installed");
        assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        String::from_utf8(dumped.stdout).expect("SQL")
    }

    /// Puts the part's tables back to what they were when they were copied.
    pub fn restore(&self, copy: &str) {
        let drop = format!(
            "DO $drop$ DECLARE name text; BEGIN
               FOR name IN SELECT nspname FROM pg_namespace WHERE starts_with(nspname, '{}') LOOP
                 EXECUTE format('DROP SCHEMA %I CASCADE', name);
               END LOOP;
             END $drop$;",
            self.schema_prefix
        );
        let file = std::env::temp_dir().join(format!("{}copy.sql", self.schema_prefix));
        std::fs::write(&file, drop + copy).expect("a file");
        let done = std::process::Command::new("psql")
            .args([&self.postgres, "-v", "ON_ERROR_STOP=1", "-q", "-o", "/dev/null", "-f"])
            .arg(&file)
            .status()
            .expect("psql is installed");
        std::fs::remove_file(&file).expect("it was just read");
        assert!(done.success());
    }

    /// Runs SQL on the part's own tables.
    pub fn sql(&self, statement: &str) {
        let done = std::process::Command::new("psql")
            .args([&self.postgres, "-v", "ON_ERROR_STOP=1", "-q", "-c", statement])
            .status()
            .expect("psql is installed");
        assert!(done.success());
    }
}

fn key_of(number: u128) -> Uuid {
    Uuid::from_u128(0x1000 + number % 10)
}
