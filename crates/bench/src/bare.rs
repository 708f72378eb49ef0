//! The bound that the façade is held against: a handler that makes the same record of the same request, hands it to librdkafka and
//! waits for all copies. No token is looked at, no scope, no idempotency key, no limit; nothing is remembered.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use daybook_engine::PARTITIONS;
use daybook_events::{
    Actor, CourseId, Header, Message, OperationAccepted, PublishCourse, ReplyTo, Schemas, Timestamp, TraceContext,
    encode, frame, key,
};
use daybook_log::{Envelope, Log};
use daybook_service::{Clock as _, SystemClock, ids};
use http::StatusCode;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{relay, tally};

/// Where it takes its commands.
pub const PATH: &str = "/courses";
const NAME: &str = "bench-bare";
/// How long a record may take to be acknowledged.
const LIMIT: Duration = Duration::from_secs(30);

struct Bare {
    producer: FutureProducer,
    schema: u32,
    topic: String,
    clock: SystemClock,
    /// As long as that of the caller of the façade.
    scopes: Arc<str>,
}

/// The request, as JSON: it publishes a new course.
pub fn publication() -> String {
    let mut course = tally::command(0);
    course.course_id = CourseId::new(ids::random());
    let body = json!({
        "course_id": course.course_id,
        "organization_id": course.organization_id,
        "title": course.title,
        "summary": course.summary,
        "price": course.price,
        "capacity": course.capacity,
        "credits_hundredths": course.credits_hundredths,
        "credit_type": course.credit_type,
        "refund_days": course.refund_days,
        "lessons": course.lessons,
    });
    body.to_string()
}

/// Serves until the process ends. Its records have headers as those of a caller with these scopes.
///
/// # Errors
/// When a schema is missing, or the listener fails.
pub async fn serve(listener: TcpListener, log: &Log, scopes: &str) -> Result<()> {
    let bare = Bare {
        producer: relay::producer_config(log).create()?,
        schema: log.registry().id_of(PublishCourse::FULL_NAME).context("the schema is not registered")?,
        topic: format!("{}{}", log.settings().topic_prefix, PublishCourse::TOPIC),
        clock: SystemClock::default(),
        scopes: scopes.into(),
    };
    let router = Router::new()
        .route(PATH, post(publish))
        .route("/readyz", get(|| async { StatusCode::OK }))
        .with_state(Arc::new(bare));
    axum::serve(listener, router).await.context("the bare handler cannot serve")
}

async fn publish(
    State(bare): State<Arc<Bare>>,
    Json(ask): Json<PublishCourse>,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let published = bare.publish(&ask).await;
    let id = published.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": id, "status": "accepted" }))))
}

impl Bare {
    async fn publish(&self, ask: &PublishCourse) -> Result<uuid::Uuid> {
        let id = ids::random();
        let since_1970 = self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let made_at = Timestamp(i64::try_from(since_1970.as_micros())?);
        let mut header = Vec::with_capacity(256);
        self.header(id, made_at).encode(&mut header)?;
        let mut value = Vec::with_capacity(256);
        frame(self.schema, &mut value);
        encode(ask, &mut value)?;
        let key = key::of(ask.key());
        let partition = i32::try_from(key::partition(&key, u32::from(PARTITIONS)))?;
        let envelope = Envelope {
            topic: PublishCourse::TOPIC,
            instance: NAME,
            type_name: PublishCourse::FULL_NAME,
            message_id: id,
            time: made_at,
            header: &header,
        };
        let record = FutureRecord::to(&self.topic)
            .partition(partition)
            .key(key.as_slice())
            .payload(&value)
            .timestamp(made_at.millis())
            .headers(envelope.headers());
        self.producer.send(record, LIMIT).await.map_err(|(refused, _)| refused)?;
        Ok(id)
    }

    /// Every field that the façade sets.
    fn header(&self, id: uuid::Uuid, made_at: Timestamp) -> Header {
        Header {
            actor: Some(Actor { id, scopes: Arc::clone(&self.scopes) }),
            reply_to: Some(ReplyTo { topic: OperationAccepted::TOPIC.into(), key: id }),
            trace: Some(TraceContext { trace_id: *id.as_bytes(), span_id: [1; 8], sampled: false }),
            request_hash: Some([1; 32]),
            ..Header::first(id, made_at)
        }
    }
}
