//! What the consumer group does with a part's partitions.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    state: Mutex<State>,
    /// Wakes the fetcher: a rebalance is served inside a poll that goes on waiting for records.
    pub noted: Notify,
}

#[derive(Default)]
struct State {
    phase: Phase,
    changes: VecDeque<Change>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Member,
    Leaving,
    Left,
}

impl Membership {
    pub fn take(&self) -> Option<Change> {
        self.state().changes.pop_front()
    }

    /// From now on revocations are answered here, at once. `unanswered`: one was taken and not answered.
    ///
    /// A rebalance must be answered exactly once. An answer to one that nobody waits for any more never returns if librdkafka
    /// has ended its part of the group meanwhile. So a revocation that was told is answered now; after that the first
    /// event of the closing consumer is; and after a fatal error, when librdkafka lets go by itself, none.
    pub fn leave(&self, consumer: &impl Consumer<Self>, unanswered: bool) {
        let has_failed = consumer.client().fatal_error().is_some();
        let noted = {
            let mut state = self.state();
            state.phase = if has_failed { Phase::Left } else { Phase::Leaving };
            state.changes.drain(..).any(|change| matches!(change, Change::Revoked(_) | Change::Lost(_)))
        };
        if has_failed || noted || unanswered {
            answer(consumer);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: Change) {
        self.state().changes.push_back(change);
        self.noted.notify_one();
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, partitions: Vec<u16>) {
        // Answered with nothing: the group goes on, and records are fetched once the engine says from where.
        if let Err(failed) = consumer.incremental_assign(&TopicPartitionList::new()) {
            warn!(%failed, "an assignment could not be answered; the group will repeat it");
        }
        // A rebalance that gives nothing new is told as an assignment of nothing.
        if !partitions.is_empty() {
            self.note(Change::Assigned(partitions));
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, partitions: Vec<u16>) {
        if consumer.assignment_lost() {
            self.note(Change::Lost(partitions));
        } else {
            self.note(Change::Revoked(partitions));
        }
    }
}

/// Lets go of everything that is fetched, which also answers a revocation.
fn answer(consumer: &impl Consumer<Membership>) {
    if let Err(failed) = consumer.assignment().and_then(|all| consumer.incremental_unassign(&all)) {
        warn!(%failed, "partitions could not be let go");
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
        let is_assignment = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let phase = self.state().phase;
        match phase {
            Phase::Member if is_assignment => self.assigned(consumer, partitions),
            Phase::Member => self.revoked(consumer, partitions),
            Phase::Leaving => {
                // To a closing consumer any answer lets go of everything, so there is only one to give.
                self.state().phase = Phase::Left;
                answer(consumer);
            }
            Phase::Left => {}
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(failed) = result {
            // Only lag tools and the witness read it; the next commit carries newer values.
            warn!(%failed, "a group offset was not committed");
        }
    }
}
