//! Publishing for façades: one message, acknowledged before a deadline, or not known.

use std::sync::Arc;
use std::time::Duration;

use daybook_engine::PARTITIONS;
use daybook_events::{Timestamp, key};
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::headers::{Envelope, source};
use crate::producer::{Failure, NotTaken, Outbound, Producer, Ticket};
use crate::{Error, Settings};

/// A message from outside.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Without prefix.
    pub topic: &'a str,
    pub key: &'a [u8],
    /// Full name of the record type.
    pub type_name: &'a str,
    pub message_id: Uuid,
    pub time: Timestamp,
    /// An encoded [`daybook_events::Header`].
    pub header: &'a [u8],
    /// Framed value.
    pub value: &'a [u8],
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// Why a message is not known to be in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It may be in the log, or come into it yet. Publishing it again, with the same id, is safe.
    #[error("not known to be published before the deadline")]
    NotKnown,
    /// It is not in the log: too much waits for the brokers already.
    #[error("not published: the queue for the brokers is full")]
    Busy,
    /// It is not in the log and never will be.
    #[error("not published: {bytes} bytes are more than the log takes")]
    TooLarge { bytes: usize },
    /// It is not in the log: the topic is missing, or the like.
    #[error("not published: {0}")]
    Refused(String),
}

/// Publishes for a façade. Cheap to clone; any number of callers at once.
#[derive(Clone)]
pub struct Requests {
    settings: Settings,
    source: Arc<str>,
    producer: Arc<Producer>,
}

impl Requests {
    /// `longest` is the longest deadline that any caller sets: what is older is given up by the producer too.
    ///
    /// # Errors
    /// When the settings are refused.
    pub(crate) fn new(settings: &Settings, facade: &str, longest: Duration) -> Result<Self, Error> {
        let producer = Arc::new(Producer::new(settings, Some(longest))?);
        Ok(Self { settings: settings.clone(), source: source(facade).into(), producer })
    }

    /// Publishes and waits until all in-sync copies have it, at most until the deadline.
    ///
    /// # Errors
    /// See [`PublishError`]: only `NotKnown` leaves it open whether the message is in the log.
    pub async fn publish(&self, request: Request<'_>, deadline: Instant) -> Result<Position, PublishError> {
        let (ticket, answer) = oneshot::channel();
        let bytes = self.send(&request, Ticket::Request(ticket))?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(Ok(position))) => Ok(position),
            Ok(Ok(Err(failure))) => Err(failed(failure, bytes)),
            // Late, or its producer has ended.
            Ok(Err(_)) | Err(_) => Err(PublishError::NotKnown),
        }
    }

    /// Publishes without waiting. That it fails later is only logged.
    ///
    /// # Errors
    /// When it is known at once not to go.
    pub fn hand_over(&self, request: Request<'_>) -> Result<(), PublishError> {
        self.send(&request, Ticket::Nobody).map(|_bytes| ())
    }

    /// Answers the bytes that it takes in the log at most.
    fn send(&self, request: &Request<'_>, ticket: Ticket) -> Result<usize, PublishError> {
        let envelope = Envelope {
            topic: request.topic,
            source: &self.source,
            type_name: request.type_name,
            message_id: request.message_id,
            time: request.time,
            header: request.header,
        };
        let outbound = Outbound { key: request.key, value: request.value, envelope };
        let partition = key::partition(request.key, u32::from(PARTITIONS));
        let partition = u16::try_from(partition).expect("below the number of partitions, which is a u16");
        let topic = self.producer.topic(&self.settings.wire(request.topic));
        let bytes = outbound.size();
        match self.producer.publishing().push(topic, partition, &outbound, ticket) {
            Ok(()) => Ok(bytes),
            Err(NotTaken::Later) => Err(PublishError::Busy),
            Err(NotTaken::TooLarge) => Err(PublishError::TooLarge { bytes }),
        }
    }
}

/// The producer gave it up. Only what a broker refuses before it appends is surely not in the log.
fn failed(failure: Failure, bytes: usize) -> PublishError {
    match failure {
        Failure::Refused(ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge) => {
            PublishError::TooLarge { bytes }
        }
        Failure::Refused(
            refused @ (ResponseError::UnknownTopicOrPartition
            | ResponseError::TopicAuthorizationFailed
            | ResponseError::InvalidTopicException),
        ) => PublishError::Refused(refused.to_string()),
        Failure::Refused(_) | Failure::Late => PublishError::NotKnown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_certain_refusal_is_told_as_one() {
        assert_eq!(failed(Failure::Late, 1), PublishError::NotKnown);
        assert_eq!(failed(Failure::Refused(ResponseError::UnknownServerError), 1), PublishError::NotKnown);
        let too_large = failed(Failure::Refused(ResponseError::MessageTooLarge), 9);
        assert_eq!(too_large, PublishError::TooLarge { bytes: 9 });
        let refused = failed(Failure::Refused(ResponseError::UnknownTopicOrPartition), 1);
        assert!(matches!(refused, PublishError::Refused(_)), "{refused:?}");
    }
}
