//! What the façade needs of the outside: a log to publish to, a store to read from. Traits, so that its rules are tested without
//! servers; the real ones are here as well.

use std::collections::HashMap;
use std::sync::Arc;

use daybook_engine::PARTITIONS;
use daybook_events::{Header, Schemas, frame};
use daybook_log::{Log, PublishError, Registry, Request, Requests};
use daybook_service::Together;
use daybook_store::{Param, Reads};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::operation::{OperationRow, StepRow};

/// Most headers are no longer, so that theirs is one allocation.
const HEADER_BYTES: usize = 256;

/// One number per partition.
pub type Offsets = [i64; PARTITIONS as usize];

/// A message for the log.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where to.
    pub topic: &'static str,
    /// Kafka's key.
    pub key: Vec<u8>,
    /// Full name of the record.
    pub type_name: &'static str,
    /// What travels with it.
    pub header: Header,
    /// Avro, without frame.
    pub body: Vec<u8>,
}

/// A message is not known to be in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    /// It may be, or come there yet: no acknowledgment came in time.
    #[error("no acknowledgment came in time")]
    NotKnown,
    /// It surely is not.
    #[error("it was not taken: {0}")]
    Refused(String),
}

/// Publishes to the log.
pub trait Publisher: Send + Sync {
    /// Publishes and waits, at most until then, until all copies have it.
    fn publish(&self, message: Outgoing, by: Instant) -> BoxFuture<'_, Result<(), NotPublished>>;

    /// Publishes without waiting.
    ///
    /// # Errors
    /// When it is known at once not to go.
    fn hand_over(&self, message: Outgoing) -> Result<(), NotPublished>;
}

/// The read store cannot be asked now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the read store does not answer: {0}")]
pub struct NotReadable(pub String);

/// Reads what projections have written.
pub trait ReadStore: Send + Sync {
    /// What is known of an operation.
    fn operation(&self, id: Uuid) -> BoxFuture<'_, Result<Option<OperationRow>, NotReadable>>;

    /// The steps of its sagas in the order of their times, at most [`crate::STEPS_MAX`].
    fn steps(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<StepRow>, NotReadable>>;

    /// The rows of a read route's question.
    fn rows(&self, sql: &'static str, params: Vec<Param>) -> BoxFuture<'_, Result<Vec<Value>, NotReadable>>;

    /// Up to where a projection has applied its topic.
    fn applied(&self, projection: &'static str) -> BoxFuture<'_, Result<Offsets, NotReadable>>;
}

/// Knows where topics end.
pub trait LogEnds: Send + Sync {
    /// The offset that the next record of each partition gets, for each of these topics.
    fn ends<'a>(&'a self, topics: &'a [&'static str]) -> BoxFuture<'a, Result<Vec<Offsets>, NotReadable>>;
}

/// Publishes to Kafka.
#[derive(Clone)]
pub struct LogPublisher {
    requests: Requests,
    registry: Arc<Registry>,
}

impl LogPublisher {
    /// `requests` must allow for deadlines as long as a request's.
    pub fn new(requests: Requests, registry: Arc<Registry>) -> Self {
        Self { requests, registry }
    }

    fn encoded(&self, message: Outgoing) -> Result<Encoded, NotPublished> {
        let schema = self
            .registry
            .id_of(message.type_name)
            .ok_or_else(|| NotPublished::Refused(format!("the schema of {} is not registered", message.type_name)))?;
        let mut value = Vec::with_capacity(message.body.len() + daybook_events::FRAME_BYTES);
        frame(schema, &mut value);
        value.extend_from_slice(&message.body);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        message.header.encode(&mut header).map_err(|error| NotPublished::Refused(error.to_string()))?;
        Ok(Encoded { message, header, value })
    }
}

/// A message as it goes into the log.
struct Encoded {
    message: Outgoing,
    header: Vec<u8>,
    value: Vec<u8>,
}

impl Encoded {
    fn request(&self) -> Request<'_> {
        Request {
            topic: self.message.topic,
            key: &self.message.key,
            type_name: self.message.type_name,
            message_id: self.message.header.message_id,
            time: self.message.header.time,
            header: &self.header,
            value: &self.value,
        }
    }
}

fn not_published(error: PublishError) -> NotPublished {
    match error {
        PublishError::NotKnown => NotPublished::NotKnown,
        error => NotPublished::Refused(error.to_string()),
    }
}

impl Publisher for LogPublisher {
    fn publish(&self, message: Outgoing, by: Instant) -> BoxFuture<'_, Result<(), NotPublished>> {
        let published = async move {
            let encoded = self.encoded(message)?;
            self.requests.publish(encoded.request(), by).await.map_err(not_published)?;
            Ok(())
        };
        published.boxed()
    }

    fn hand_over(&self, message: Outgoing) -> Result<(), NotPublished> {
        self.requests.hand_over(self.encoded(message)?.request()).map_err(not_published)
    }
}

/// Reads from Postgres.
pub struct StoreReads {
    reads: Reads,
    operations: Together<Value, NotReadable>,
}

impl StoreReads {
    pub fn new(reads: Reads) -> Self {
        Self { reads, operations: Together::default() }
    }

    async fn operations(&self, ids: Vec<Uuid>) -> Result<HashMap<Uuid, Value>, NotReadable> {
        by_id(self.reads.rows(OPERATION, &[Param::Uuids(ids)]).await.map_err(not_readable)?)
    }
}

/// Each row is read by whoever asked for it: one that cannot be read must not fail the others.
fn by_id(rows: Vec<Value>) -> Result<HashMap<Uuid, Value>, NotReadable> {
    let id = |row: &Value| Uuid::deserialize(&row["operation_id"]).map_err(not_readable);
    rows.into_iter().map(|row| Ok((id(&row)?, row))).collect()
}

const OPERATION: &str = "\
SELECT operation_id, command, caller_id, tenant_id, request_hash, target, accepted_at, closing_type, closing, succeeded, code,
       detail, closed_at
FROM operation WHERE operation_id = ANY ($1)";

/// Each saga's steps stand in a table of their own, all of the same shape. The limit is [`crate::STEPS_MAX`].
const STEPS: &str = "\
SELECT saga, instance_id, incarnation, position, round, step, what, code, next_step, attempt, state, at
FROM (SELECT * FROM operation_step_enrollment WHERE operation_id = $1
      UNION ALL SELECT * FROM operation_step_payment WHERE operation_id = $1
      UNION ALL SELECT * FROM operation_step_withdrawal WHERE operation_id = $1) AS steps
ORDER BY at, saga, instance_id, incarnation, position LIMIT 500";

impl ReadStore for StoreReads {
    fn operation(&self, id: Uuid) -> BoxFuture<'_, Result<Option<OperationRow>, NotReadable>> {
        async move {
            let row = self.operations.find(id, |ids| self.operations(ids)).await?;
            row.map(serde_json::from_value).transpose().map_err(not_readable)
        }
        .boxed()
    }

    fn steps(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<StepRow>, NotReadable>> {
        async move {
            let rows = self.reads.rows(STEPS, &[Param::Uuid(Some(id))]).await.map_err(not_readable)?;
            rows.into_iter().map(serde_json::from_value).collect::<Result<_, _>>().map_err(not_readable)
        }
        .boxed()
    }

    fn rows(&self, sql: &'static str, params: Vec<Param>) -> BoxFuture<'_, Result<Vec<Value>, NotReadable>> {
        async move { self.reads.rows(sql, &params).await.map_err(not_readable) }.boxed()
    }

    fn applied(&self, projection: &'static str) -> BoxFuture<'_, Result<Offsets, NotReadable>> {
        async move {
            let offsets = self.reads.applied_offsets(projection).await.map_err(not_readable)?;
            Ok(offsets.map(|(data, _)| data))
        }
        .boxed()
    }
}

impl LogEnds for Log {
    fn ends<'a>(&'a self, topics: &'a [&'static str]) -> BoxFuture<'a, Result<Vec<Offsets>, NotReadable>> {
        async move { self.admin().all_ends(topics).await.map_err(not_readable) }.boxed()
    }
}

fn not_readable(error: impl std::error::Error) -> NotReadable {
    NotReadable(error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_does_not_hide_the_others() {
        let (broken, good) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let rows = vec![json!({ "operation_id": broken, "closing": 5 }), json!({ "operation_id": good })];
        let mut found = by_id(rows).unwrap();
        let mut row = |id| serde_json::from_value::<OperationRow>(found.remove(&id).unwrap());
        assert!(row(broken).is_err());
        assert_eq!(row(good).unwrap(), OperationRow { operation_id: good, ..OperationRow::default() });
    }
}
