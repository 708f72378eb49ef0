//! Reads a topic from somewhere: for people, and for checks of what stands in the log.

use std::ops::Range;
use std::sync::Arc;

use daybook_engine::{Record, SchemaLookup, Stream};
use futures::future::try_join_all;
use futures::stream::StreamExt;
use hashbrown::HashMap;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

use daybook_events::Timestamp;

use crate::client::{Quiet, base};
use crate::record::read;
use crate::{Admin, Error, Refusal, Registry, Settings};

/// librdkafka wants a group name, though nothing is joined or committed.
const GROUP: &str = "daybook-tail";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Beginning,
    End,
    /// The first record not older than this.
    Time(Timestamp),
    /// This many records before the end of each partition.
    Last(u32),
}

/// Reads all partitions of one topic.
pub struct Tail {
    consumer: StreamConsumer<Quiet>,
    registry: Arc<Registry>,
    /// Partitions that have not come to the end that they had at the beginning, and that end.
    open: HashMap<u16, i64>,
    follow: bool,
}

impl Tail {
    pub(crate) async fn open(
        settings: &Settings,
        admin: &Admin,
        registry: &Arc<Registry>,
        topic: &str,
        start: Start,
        follow: bool,
    ) -> Result<Self, Error> {
        let seen = admin.describe(&[topic.to_owned()]).await?;
        let Some(seen) = seen.first() else {
            return Err(Refusal::TopicsMissing { topics: vec![topic.to_owned()] }.into());
        };
        let partitions = 0..u16::try_from(seen.partitions).unwrap_or(u16::MAX);
        let ends = try_join_all(partitions.clone().map(|partition| admin.ends(topic, partition))).await?;
        let wire = settings.wire(topic);
        let consumer = consumer(settings)?;
        let (consumer, since) = match start {
            Start::Time(time) => first_since(consumer, wire.clone(), partitions.clone(), time).await?,
            Start::Beginning | Start::End | Start::Last(_) => (consumer, HashMap::new()),
        };
        let mut list = TopicPartitionList::new();
        let mut open = HashMap::new();
        for (partition, ends) in partitions.zip(ends) {
            let from = match start {
                Start::Beginning => ends.start,
                Start::End => ends.end,
                Start::Last(count) => (ends.end - i64::from(count)).max(ends.start),
                Start::Time(_) => since.get(&partition).copied().unwrap_or(ends.end),
            };
            if from < ends.end {
                open.insert(partition, ends.end);
            }
            list.add_partition_offset(&wire, i32::from(partition), Offset::Offset(from))
                .map_err(Error::kafka("read a topic"))?;
        }
        consumer.assign(&list).map_err(Error::kafka("read a topic"))?;
        Ok(Self { consumer, registry: Arc::clone(registry), open, follow })
    }

    /// Reads one partition from this offset to its present end.
    pub(crate) async fn open_partition(
        settings: &Settings,
        admin: &Admin,
        registry: &Arc<Registry>,
        topic: &str,
        partition: u16,
        from: i64,
    ) -> Result<Self, Error> {
        let ends = admin.ends(topic, partition).await?;
        if !(ends.start..=ends.end).contains(&from) {
            let (topic, start, end) = (topic.to_owned(), ends.start, ends.end);
            return Err(Refusal::RecordsGone { topic, partition, from, start, end }.into());
        }
        let consumer = consumer(settings)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&settings.wire(topic), i32::from(partition), Offset::Offset(from))
            .map_err(Error::kafka("read a topic"))?;
        consumer.assign(&list).map_err(Error::kafka("read a topic"))?;
        let open = (from < ends.end).then_some((partition, ends.end)).into_iter().collect();
        Ok(Self { consumer, registry: Arc::clone(registry), open, follow: false })
    }

    /// The next record, its schema looked up. `None`: everything was read that was there when it began (never, when
    /// following).
    ///
    /// # Errors
    /// When the log cannot be read on, or the registry cannot be asked.
    pub async fn next(&mut self) -> Result<Option<Record>, Error> {
        let Some(mut record) = self.next_raw().await? else { return Ok(None) };
        if let SchemaLookup::NoSuchId(id) = record.schema
            && let Some(writer) = self.registry.fetch(id).await?
        {
            record.schema = SchemaLookup::Known(writer);
        }
        Ok(Some(record))
    }

    /// As [`Tail::next`], but asks no registry: what is framed counts as an unknown id. May be canceled.
    ///
    /// # Errors
    /// When the log cannot be read on.
    pub async fn next_raw(&mut self) -> Result<Option<Record>, Error> {
        loop {
            if self.open.is_empty() && !self.follow {
                return Ok(None);
            }
            match self.consumer.stream().next().await {
                Some(Ok(message)) => {
                    let Ok(partition) = u16::try_from(message.partition()) else { continue };
                    let record = read(&message, Stream::Data, partition);
                    if self.open.get(&partition).is_some_and(|end| record.offset + 1 >= *end) {
                        self.open.remove(&partition);
                    }
                    return Ok(Some(record));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    // Where the last offsets before the end hold no record, this is the only sign of it.
                    self.open.retain(|open, _| i32::from(*open) != partition);
                }
                Some(Err(failed)) if !is_passing(&failed) => {
                    return Err(Error::Kafka { during: "read a topic", source: failed });
                }
                Some(Err(_)) | None => {}
            }
        }
    }
}

fn consumer(settings: &Settings) -> Result<StreamConsumer<Quiet>, Error> {
    let consumer = base(settings)
        .set("group.id", settings.wire(GROUP))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "8192")
        .create_with_context(Quiet)
        .map_err(|refused| Refusal::Settings(refused.to_string()))?;
    Ok(consumer)
}

/// A broker that comes back is waited for.
fn is_passing(failed: &KafkaError) -> bool {
    matches!(
        failed,
        KafkaError::MessageConsumption(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
        )
    )
}

/// The first record of each partition that is not older than this; partitions without one are left out. Waits for the brokers on a
/// thread that may.
async fn first_since(
    consumer: StreamConsumer<Quiet>,
    topic: String,
    partitions: Range<u16>,
    time: Timestamp,
) -> Result<(StreamConsumer<Quiet>, HashMap<u16, i64>), Error> {
    let failed = Error::kafka("ask for offsets by time");
    let asked = tokio::task::spawn_blocking(move || {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(&topic, i32::from(partition), Offset::Offset(time.millis().max(0)))?;
        }
        let found = consumer.offsets_for_times(list, ANSWER_TIMEOUT)?;
        let firsts = found.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(first) => Some((u16::try_from(element.partition()).ok()?, first)),
            _ => None,
        });
        Ok((firsts.collect(), consumer))
    });
    let (firsts, consumer) = asked.await.map_err(|_| Error::Late("ask for offsets by time"))?.map_err(failed)?;
    Ok((consumer, firsts))
}
