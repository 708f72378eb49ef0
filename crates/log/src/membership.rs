//! What the consumer group does with a part's partitions.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::Notify;
use tracing::warn;

use crate::client::{forward_error, forward_log};

/// A change of what the group gives us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Assigned(Vec<u16>),
    /// Asked back. The group waits until it is answered by an unassignment.
    Revoked(Vec<u16>),
    /// Gone already; likewise to be answered.
    Lost(Vec<u16>),
}

/// Notes the changes; the fetcher takes them from here. Called while polling.
#[derive(Default)]
pub(crate) struct Membership {
    changes: Mutex<VecDeque<Change>>,
    /// Wakes the fetcher: a rebalance is served inside a poll that goes on waiting for records.
    pub noted: Notify,
    closing: AtomicBool,
}

impl Membership {
    pub fn take(&self) -> Option<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// From now on a revocation is answered at once: the engine has let go of everything.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn note(&self, change: Change) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
        self.noted.notify_one();
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, partitions: Vec<u16>) {
        // Answered with nothing: the group goes on, and records are fetched once the engine says from where.
        if let Err(failed) = consumer.incremental_assign(&TopicPartitionList::new()) {
            warn!(%failed, "an assignment could not be answered; the group will repeat it");
        }
        self.note(Change::Assigned(partitions));
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, partitions: Vec<u16>) {
        if self.closing.load(Ordering::Acquire) {
            if let Err(failed) = consumer.unassign() {
                warn!(%failed, "the last revocation could not be answered");
            }
        } else if consumer.assignment_lost() {
            self.note(Change::Lost(partitions));
        } else {
            self.note(Change::Revoked(partitions));
        }
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&error, reason);
    }
}

impl ConsumerContext for Membership {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = list.elements().iter().filter_map(|element| u16::try_from(element.partition()).ok()).collect();
        if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assigned(consumer, partitions);
        } else {
            self.revoked(consumer, partitions);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(failed) = result {
            // Only lag tools and the witness read it; the next commit carries newer values.
            warn!(%failed, "a group offset was not committed");
        }
    }
}
