//! The bound that the consumer is held against: consume, decode, encode, publish with the same headers. No state, no database, no
//! guarantee; librdkafka without a layer of ours.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use daybook_engine::PARTITIONS;
use daybook_events::{
    CoursePublished, Header, HeaderRef, Message, PublishCourse, Schemas, Shard, Writer, decode, encode, frame, key,
    unframe,
};
use daybook_log::{Envelope, Log, source};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header as KafkaHeader, Headers, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use uuid::Uuid;

use crate::tally;

const NAME: &str = "bench-relay";
/// Without a record for so long the topic is taken to be broken.
const POLL_LIMIT: Duration = Duration::from_secs(30);
const FLUSH_LIMIT: Duration = Duration::from_secs(60);
const FULL_WAIT: Duration = Duration::from_millis(2);

/// A producer as fast as ours, and no more.
pub fn producer_config(log: &Log) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &log.settings().brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "500000");
    config
}

/// Relays `count` records from the input of the tally to its output. Blocks.
pub struct Relay {
    schema: u32,
    writer: Arc<Writer>,
    output: String,
    consumer: BaseConsumer,
    producer: ThreadedProducer<DefaultProducerContext>,
}

/// Numbers what is relayed, as a part would.
#[derive(Default)]
struct Numbers {
    sent: u64,
    last: [u64; PARTITIONS as usize],
}

impl Relay {
    /// # Errors
    /// When a client is refused.
    pub fn new(log: &Log) -> Result<Self> {
        let registry = log.registry();
        let input_schema = registry.id_of(PublishCourse::FULL_NAME).context("the schema is not registered")?;
        let prefix = &log.settings().topic_prefix;
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &log.settings().brokers)
            .set("group.id", NAME)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "false")
            .set("check.crcs", "false")
            .set("queued.min.messages", "100000")
            .create()?;
        let mut inputs = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let topic = format!("{prefix}{}", PublishCourse::TOPIC);
            inputs.add_partition_offset(&topic, i32::from(partition), Offset::Beginning)?;
        }
        consumer.assign(&inputs)?;
        let producer = producer_config(log).create()?;
        Ok(Self {
            schema: registry.id_of(CoursePublished::FULL_NAME).context("the schema is not registered")?,
            writer: registry.writer(input_schema).context("the schema is not known")?,
            output: format!("{prefix}{}", CoursePublished::TOPIC),
            consumer,
            producer,
        })
    }

    /// # Errors
    /// When the input ends early, or the broker does not take the output.
    pub fn run(self, count: u64) -> Result<()> {
        let mut numbers = Numbers::default();
        let source = source(NAME);
        for _ in 0..count {
            let message = self.consumer.poll(POLL_LIMIT).context("the input has ended early")??;
            let (key, header, value) = relayed(&message)?;
            let partition = u16::try_from(message.partition())?;
            let mut header_bytes = Vec::with_capacity(192);
            let sent = numbers.header(&header, partition);
            sent.encode(&mut header_bytes)?;
            let command: PublishCourse = decode(&self.writer, unframe(value)?.1)?;
            let mut out = Vec::with_capacity(256);
            frame(self.schema, &mut out);
            encode(&tally::published(command, 1), &mut out)?;
            let envelope = Envelope {
                topic: CoursePublished::TOPIC,
                source: &source,
                type_name: CoursePublished::FULL_NAME,
                message_id: sent.message_id,
                time: sent.time,
                header: &header_bytes,
            };
            publish(&self.producer, &self.output, partition, key, &out, &envelope)?;
        }
        self.producer.flush(FLUSH_LIMIT).context("relayed records are not acknowledged")
    }
}

impl Numbers {
    fn header(&mut self, cause: &HeaderRef<'_>, partition: u16) -> Header {
        self.sent += 1;
        let last = &mut self.last[usize::from(partition)];
        let prev = std::mem::replace(last, self.sent);
        let message_id = Uuid::from_u128(u128::from(self.sent));
        Header {
            shard: Some(Shard { instance: NAME.into(), partition, incarnation: 1, seq: self.sent, prev }),
            correlation_id: cause.correlation_id,
            causation_id: Some(cause.message_id),
            ..Header::first(message_id, cause.time)
        }
    }
}

/// Key, header and value of a record.
fn relayed<'m>(message: &'m BorrowedMessage<'_>) -> Result<(&'m [u8], HeaderRef<'m>, &'m [u8])> {
    let key = message.key().context("a record without a key")?;
    ensure!(key::parse(key).is_some(), "a key that is no id");
    let headers = message.headers().context("a record without headers")?;
    let header = headers.get(0).value.context("a header without a value")?;
    Ok((key, HeaderRef::decode(header)?, message.payload().context("a record without a value")?))
}

/// The headers as librdkafka takes them.
pub fn headers(envelope: &Envelope<'_>) -> OwnedHeaders {
    let mut headers = Some(OwnedHeaders::new_with_capacity(8));
    envelope.each(|key, value| {
        headers = headers.take().map(|headers| headers.insert(KafkaHeader { key, value: Some(value) }));
    });
    headers.unwrap_or_default()
}

fn publish(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    partition: u16,
    key: &[u8],
    value: &[u8],
    envelope: &Envelope<'_>,
) -> Result<()> {
    let record = BaseRecord::<[u8], [u8]>::to(topic)
        .partition(i32::from(partition))
        .key(key)
        .payload(value)
        .timestamp(envelope.time.millis())
        .headers(headers(envelope));
    let mut offered = producer.send(record);
    while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) = offered {
        std::thread::sleep(FULL_WAIT);
        offered = producer.send(record);
    }
    offered.map_err(|(refused, _)| refused).context("a record was refused")
}
