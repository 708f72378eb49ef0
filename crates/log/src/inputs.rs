//! How a part's two topics are consumed.

use daybook_engine::Stream;
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::Settings;
use crate::client::base;

/// The topics of a part, as the brokers know them.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    pub data: String,
    pub control: String,
}

impl Inputs {
    pub fn of(&self, stream: Stream) -> &str {
        match stream {
            Stream::Data => &self.data,
            Stream::Control => &self.control,
        }
    }

    pub fn stream_of(&self, topic: &str) -> Option<Stream> {
        [Stream::Data, Stream::Control].into_iter().find(|stream| self.of(*stream) == topic)
    }

    pub fn one(&self, partition: u16, stream: Stream) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(self.of(stream), i32::from(partition));
        list
    }

    pub fn both(&self, partition: u16) -> TopicPartitionList {
        let mut list = self.one(partition, Stream::Data);
        list.add_partition(self.of(Stream::Control), i32::from(partition));
        list
    }
}

/// Settings of a part's consumer.
pub(crate) fn config(settings: &Settings, group: &str) -> rdkafka::ClientConfig {
    let mut config = base(settings);
    config
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "1000")
        // The task that polls never blocks; if it is stuck for this long the group may have the partitions.
        .set("max.poll.interval.ms", "60000")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Offsets come from the database; one that the log does not have is refused, never guessed.
        .set("auto.offset.reset", "error")
        .set("fetch.min.bytes", "1")
        // Only what an idle consumer costs: a record is answered at once.
        .set("fetch.wait.max.ms", "500")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "50")
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.max.bytes", "8388608")
        .set("check.crcs", "false");
    if let Some(instance) = &settings.instance {
        config.set("group.instance.id", format!("{group}-{instance}"));
    }
    config
}
