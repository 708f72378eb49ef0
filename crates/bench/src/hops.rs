//! The bound of one journey at a time: as many hops as it takes, each of them a record through the log and, but for the last, one
//! durable update of one row. No state, no schema, no outbox; librdkafka and the database without a layer of ours.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use daybook_events::{Message as _, RecordParked};
use daybook_log::Log;
use daybook_service::ids;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::runtime::Handle;

use crate::stage::Stage;
use crate::{Figures, latencies, relay};

/// Of a journey of five steps: its begin, and a command and an event for each step and for the end.
const HOPS: usize = 12;
const PARTITION: i32 = 0;
/// Without a record for so long the topic is taken to be broken.
const POLL_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a record's value, about those of a command.
const VALUE: [u8; 200] = [7; 200];

/// One thread that sends to itself.
pub struct Hops {
    topic: String,
    consumer: BaseConsumer,
    producer: ThreadedProducer<DefaultProducerContext>,
    database: PgConnection,
    update: String,
}

impl Hops {
    /// Over the topic of parked records, which no part of a benchmark uses; its records are no messages. Makes a table of its own.
    ///
    /// # Errors
    /// When a client is refused.
    pub async fn new(log: &Log, database_url: &str) -> Result<Self> {
        let topic = format!("{}{}", log.settings().topic_prefix, RecordParked::TOPIC);
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &log.settings().brokers)
            .set("group.id", "bench-hops")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut inputs = TopicPartitionList::new();
        let (_, end) = consumer.fetch_watermarks(&topic, PARTITION, POLL_LIMIT)?;
        inputs.add_partition_offset(&topic, PARTITION, Offset::Offset(end))?;
        consumer.assign(&inputs)?;
        let mut database = PgConnection::connect(database_url).await?;
        let table = format!("bench_hops_{}", ids::random().simple());
        database.execute(AssertSqlSafe(format!("CREATE TABLE {table} (hops bigint)"))).await?;
        database.execute(AssertSqlSafe(format!("INSERT INTO {table} VALUES (0)"))).await?;
        let update = format!("UPDATE {table} SET hops = hops + 1");
        Ok(Self { topic, consumer, producer: relay::producer_config(log).create()?, database, update })
    }

    /// One journey after the other, for so long.
    ///
    /// # Errors
    /// When a record or an update is refused.
    pub async fn driven(mut self, stage: &Stage, warm_up: Duration, measured: Duration) -> Result<Figures> {
        let meter = stage.meter(&[])?;
        let runtime = Handle::current();
        let driven = tokio::task::spawn_blocking(move || {
            self.run(&runtime, warm_up)?;
            self.run(&runtime, measured)
        });
        let mut figures = driven.await.context("the bare journeys")??;
        meter.note(&mut figures)?;
        Ok(figures)
    }

    fn run(&mut self, runtime: &Handle, measured: Duration) -> Result<Figures> {
        let begun = Instant::now();
        let mut took_ms = Vec::new();
        while begun.elapsed() < measured {
            let began = Instant::now();
            for hop in 0..HOPS {
                self.hop()?;
                if hop + 1 < HOPS {
                    let update = sqlx::query(AssertSqlSafe(self.update.as_str())).execute(&mut self.database);
                    ensure!(runtime.block_on(update)?.rows_affected() == 1, "a row of the benchmark is gone");
                }
            }
            took_ms.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        let mut figures = Figures::from([("per_s", took_ms.len() as f64 / begun.elapsed().as_secs_f64())]);
        figures.extend(latencies(took_ms));
        Ok(figures)
    }

    fn hop(&self) -> Result<()> {
        let record = BaseRecord::<[u8], [u8]>::to(&self.topic).partition(PARTITION).key(&VALUE[..36]).payload(&VALUE);
        self.producer.send(record).map_err(|(refused, _)| refused).context("a record was refused")?;
        let arrived = self.consumer.poll(POLL_LIMIT).context("a record does not arrive")??;
        ensure!(arrived.payload() == Some(&VALUE), "somebody else uses the topic");
        Ok(())
    }
}
