//! Publishing for façades: one message, acknowledged before a deadline, or not known.

use std::sync::Arc;
use std::time::Duration;

use daybook_engine::PARTITIONS;
use daybook_events::{Timestamp, key};
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::client::RECORD_BYTES_MAX;
use crate::headers::Envelope;
use crate::producer::{self, Handle, NotTaken, Outbound, Ticket};
use crate::{Error, Settings};

/// Room for the frame of a record batch beside key, header and value.
const RECORD_OVERHEAD_BYTES: usize = 512;

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
    instance: Arc<str>,
    handle: Arc<Handle>,
}

impl Requests {
    /// `longest` is the longest deadline that any caller sets: what is older is given up by the producer too.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub(crate) fn new(settings: &Settings, instance: &str, longest: Duration) -> Result<Self, Error> {
        let mut config = producer::config(settings);
        config.set("message.timeout.ms", longest.as_millis().to_string());
        let handle = Arc::new(Handle::new(config)?);
        Ok(Self { settings: settings.clone(), instance: instance.into(), handle })
    }

    /// Publishes and waits until all in-sync copies have it, at most until the deadline.
    ///
    /// # Errors
    /// See [`PublishError`]: only `NotKnown` leaves it open whether the message is in the log.
    pub async fn publish(&self, request: Request<'_>, deadline: Instant) -> Result<Position, PublishError> {
        let bytes = size_of(&request)?;
        let (ticket, answer) = oneshot::channel();
        match self.send(&request, Ticket::Request(ticket)) {
            Ok(()) => {}
            Err(NotTaken::Later) => {
                // Full, or broken: the next caller finds a working producer.
                self.handle.replace_broken().await;
                return Err(PublishError::Busy);
            }
            Err(NotTaken::Never(code)) => return Err(refused(code, bytes)),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(Ok(position))) => Ok(position),
            Ok(Ok(Err(code))) => Err(failed(code, bytes)),
            // Late, or given up together with a broken producer.
            Ok(Err(_)) | Err(_) => Err(PublishError::NotKnown),
        }
    }

    /// Publishes without waiting. That it fails later is only logged.
    ///
    /// # Errors
    /// When it is known at once not to go.
    pub fn hand_over(&self, request: Request<'_>) -> Result<(), PublishError> {
        let bytes = size_of(&request)?;
        self.send(&request, Ticket::Nobody).map_err(|not_taken| match not_taken {
            NotTaken::Later => PublishError::Busy,
            NotTaken::Never(code) => refused(code, bytes),
        })
    }

    fn send(&self, request: &Request<'_>, ticket: Ticket) -> Result<(), NotTaken> {
        let envelope = Envelope {
            topic: request.topic,
            instance: &self.instance,
            type_name: request.type_name,
            message_id: request.message_id,
            time: request.time,
            header: request.header,
        };
        let partition = key::partition(request.key, u32::from(PARTITIONS));
        let outbound = Outbound {
            topic: &self.settings.wire(request.topic),
            partition: u16::try_from(partition).expect("below the number of partitions, which is a u16"),
            key: request.key,
            value: request.value,
            headers: envelope.headers(),
            time_ms: request.time.millis(),
        };
        self.handle.send(outbound, ticket)
    }
}

/// What it takes in the log at most.
fn size_of(request: &Request<'_>) -> Result<usize, PublishError> {
    let bytes = request.key.len() + request.header.len() + request.value.len() + RECORD_OVERHEAD_BYTES;
    if bytes > RECORD_BYTES_MAX { Err(PublishError::TooLarge { bytes }) } else { Ok(bytes) }
}

/// The producer did not take it: surely not in the log.
fn refused(code: RDKafkaErrorCode, bytes: usize) -> PublishError {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge => PublishError::TooLarge { bytes },
        code => PublishError::Refused(code.to_string()),
    }
}

/// The producer gave it up. Only what a broker refuses before it appends is surely not in the log.
fn failed(code: RDKafkaErrorCode, bytes: usize) -> PublishError {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge => PublishError::TooLarge { bytes },
        RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownPartition
        | RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::InvalidTopic => PublishError::Refused(code.to_string()),
        _ => PublishError::NotKnown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_certain_refusal_is_told_as_one() {
        assert_eq!(failed(RDKafkaErrorCode::MessageTimedOut, 1), PublishError::NotKnown);
        assert_eq!(failed(RDKafkaErrorCode::PurgeInflight, 1), PublishError::NotKnown);
        assert_eq!(failed(RDKafkaErrorCode::MessageSizeTooLarge, 9), PublishError::TooLarge { bytes: 9 });
        assert!(matches!(failed(RDKafkaErrorCode::UnknownTopic, 1), PublishError::Refused(_)));
    }
}
