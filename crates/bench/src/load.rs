//! Fills a topic before the clock starts.

use std::time::Duration;

use anyhow::{Context, Result};
use daybook_engine::PARTITIONS;
use daybook_events::{
    FRAME_BYTES, HEADER_KEY, Header, Message, PublishCourse, Schemas, Shard, Timestamp, encode, frame, key,
};
use daybook_log::Log;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use uuid::Uuid;

use crate::tally;

/// The part that the commands seem to come from: numbered, as between any two parts.
const SENDER: &str = "bench-sender";
/// The entity of which more may be wanted.
const FAVORITE: u64 = 0;
/// How long filled records may take to be acknowledged.
const FLUSH_LIMIT: Duration = Duration::from_secs(60);
/// How long a full queue is waited for.
const FULL_WAIT: Duration = Duration::from_millis(2);
/// When the commands were sent.
const SENT: Timestamp = Timestamp(1_790_000_000_000_000);

/// Sends commands to entities below `entities`, in an order as random as that of people.
pub struct Sender {
    schema: u32,
    topic: String,
    entities: u64,
    favorite: Option<Favorite>,
    sent: u64,
    /// The last number of each of its shards; each sends to the partition of its own number.
    numbers: [u64; PARTITIONS as usize],
}

/// An entity of which more is wanted than of others.
#[derive(Clone, Copy, Debug)]
struct Favorite {
    /// Every so manieth command is for it.
    every: u64,
    /// Its first record cannot be decoded, so that all that follows for it is held.
    is_blocked: bool,
}

/// A command as it is published.
pub struct Made {
    pub id: Uuid,
    /// Nothing is to come of it: its key is blocked.
    pub is_held: bool,
    pub partition: u16,
    pub key: [u8; 36],
    pub header: Vec<u8>,
    pub value: Vec<u8>,
}

impl Sender {
    /// # Errors
    /// When the command's schema is not registered.
    pub fn new(log: &Log, entities: u64) -> Result<Self> {
        let topic = format!("{}{}", log.settings().topic_prefix, PublishCourse::TOPIC);
        Ok(Self { topic, ..Self::unsent(&**log.registry(), entities)? })
    }

    /// For commands that are only made.
    ///
    /// # Errors
    /// When the command's schema is not known.
    pub fn unsent(schemas: &dyn Schemas, entities: u64) -> Result<Self> {
        Ok(Self {
            schema: schemas.id_of(PublishCourse::FULL_NAME).context("the schema is not registered")?,
            topic: PublishCourse::TOPIC.to_owned(),
            entities,
            favorite: None,
            sent: 0,
            numbers: [0; PARTITIONS as usize],
        })
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Lets every so manieth command be for one entity. If that is blocked, its first record is nonsense, which has to be published
    /// before all others ([`Sender::block`]).
    #[must_use]
    pub fn favoring(self, every: u64, is_blocked: bool) -> Self {
        Self { favorite: Some(Favorite { every, is_blocked }), ..self }
    }

    /// The next command.
    ///
    /// # Errors
    /// When it does not fit its schema.
    pub fn make(&mut self) -> Result<Made> {
        let next = self.sent + 1;
        let entity = match self.favorite {
            Some(Favorite { every, .. }) if next % every == 0 => FAVORITE,
            _ => scattered(next) % self.entities,
        };
        // Chance, too, sends to it.
        let is_held = entity == FAVORITE && self.favorite.is_some_and(|favorite| favorite.is_blocked);
        Ok(Made { is_held, ..self.make_for(entity)? })
    }

    fn make_for(&mut self, entity: u64) -> Result<Made> {
        self.sent += 1;
        let command = tally::command(entity);
        let key = key::of(command.key());
        let partition = u16::try_from(key::partition(&key, u32::from(PARTITIONS)))?;
        let mut value = Vec::with_capacity(200);
        frame(self.schema, &mut value);
        encode(&command, &mut value)?;
        let number = &mut self.numbers[usize::from(partition)];
        let prev = *number;
        *number += 1;
        let id = Uuid::from_u64_pair(scattered(self.sent), self.sent);
        let header = header(id, partition, prev);
        let mut encoded = Vec::with_capacity(128);
        header.encode(&mut encoded)?;
        Ok(Made { id, is_held: false, partition, key, header: encoded, value })
    }

    /// Makes and publishes this many, and waits until all are acknowledged. Answers how many of them something is to come of.
    ///
    /// # Errors
    /// When the broker does not take them.
    pub fn fill(&mut self, brokers: &str, count: u64) -> Result<u64> {
        let mut effective = 0;
        self.publish(brokers, count, |sender, _| {
            let made = sender.make()?;
            effective += u64::from(!made.is_held);
            Ok(made)
        })?;
        Ok(effective)
    }

    /// One command for each entity.
    ///
    /// # Errors
    /// When the broker does not take them.
    pub fn fill_each(&mut self, brokers: &str) -> Result<()> {
        self.publish(brokers, self.entities, |sender, entity| sender.make_for(entity))
    }

    /// The record that blocks the favorite.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub fn block(&mut self, brokers: &str) -> Result<()> {
        self.publish(brokers, 1, |sender, _| {
            let mut made = sender.make_for(FAVORITE)?;
            made.value.truncate(FRAME_BYTES);
            Ok(made)
        })
    }

    fn publish(
        &mut self,
        brokers: &str,
        count: u64,
        mut make: impl FnMut(&mut Self, u64) -> Result<Made>,
    ) -> Result<()> {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .create()?;
        for number in 0..count {
            let made = make(self, number)?;
            offer(&producer, &self.topic, &made)?;
        }
        producer.flush(FLUSH_LIMIT).context("filled records are not acknowledged")
    }
}

/// Hands a record over, waiting while the queue is full.
///
/// # Errors
/// When the producer refuses it.
pub fn offer(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, made: &Made) -> Result<()> {
    loop {
        let headers = OwnedHeaders::new_with_capacity(1);
        let record = BaseRecord::<[u8], [u8]>::to(topic)
            .partition(i32::from(made.partition))
            .key(&made.key)
            .payload(&made.value)
            .headers(headers.insert(KafkaHeader { key: HEADER_KEY, value: Some(&made.header) }));
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => std::thread::sleep(FULL_WAIT),
            Err((refused, _)) => return Err(refused).context("a record was refused"),
        }
    }
}

fn header(message_id: Uuid, partition: u16, prev: u64) -> Header {
    let shard = Shard { instance: SENDER.into(), partition, incarnation: 1, seq: prev + 1, prev };
    Header { shard: Some(shard), ..Header::first(message_id, SENT) }
}

/// `SplitMix64`: a number that looks random and is always the same.
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
