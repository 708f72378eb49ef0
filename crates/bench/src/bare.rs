//! The bound that the façade is held against: a handler that makes the same two records of the same request, hands the command to
//! librdkafka and waits for all copies, and hands over the acceptance without waiting. No token is looked at, no scope, no idempotency
//! key, no limit; nothing is remembered.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use daybook_engine::PARTITIONS;
use daybook_events::{
    Actor, CourseId, Header, Message, OperationAccepted, OperationId, PersonId, PublishCourse, ReplyTo, Schemas,
    Timestamp, TraceContext, derive_id, encode, frame, key,
};
use daybook_log::{Envelope, Log, source};
use daybook_service::{Clock as _, SystemClock, ids};
use http::StatusCode;
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{relay, tally};

/// Where it takes its commands.
pub const PATH: &str = "/courses";
/// Where the façade takes them.
pub const FACADE_PATH: &str = "/api/v1/courses";
const NAME: &str = "bench-bare";

struct Bare {
    producer: FutureProducer,
    command: Place,
    acceptance: Place,
    source: String,
    clock: SystemClock,
    /// As long as that of the caller of the façade.
    scopes: Arc<str>,
}

/// What the log knows of a type of message.
struct Place {
    topic: String,
    schema: u32,
}

impl Place {
    fn of<M: Message>(log: &Log) -> Result<Self> {
        Ok(Self {
            topic: format!("{}{}", log.settings().topic_prefix, M::TOPIC),
            schema: log.registry().id_of(M::FULL_NAME).context("a schema is not registered")?,
        })
    }
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
        command: Place::of::<PublishCourse>(log)?,
        acceptance: Place::of::<OperationAccepted>(log)?,
        source: source(NAME),
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
    async fn publish(&self, ask: &PublishCourse) -> Result<Uuid> {
        let id = ids::random();
        let published = self.send(&self.command, &self.header_of_command(id, self.now()), ask.key(), ask)?;
        published.await?.map_err(|(refused, _)| refused)?;
        let accepted = self.accepted(id)?;
        // What becomes of it is not waited for.
        drop(self.send(&self.acceptance, &self.header_of_acceptance(id, accepted.accepted_at), id, &accepted)?);
        Ok(id)
    }

    fn send<M: Message>(&self, place: &Place, header: &Header, entity: Uuid, message: &M) -> Result<DeliveryFuture> {
        let mut encoded = Vec::with_capacity(256);
        header.encode(&mut encoded)?;
        let mut value = Vec::with_capacity(256);
        frame(place.schema, &mut value);
        encode(message, &mut value)?;
        let key = key::of(entity);
        let envelope = Envelope {
            topic: M::TOPIC,
            source: &self.source,
            type_name: M::FULL_NAME,
            message_id: header.message_id,
            time: header.time,
            header: &encoded,
        };
        let record = FutureRecord::to(&place.topic)
            .partition(i32::try_from(key::partition(&key, u32::from(PARTITIONS)))?)
            .key(key.as_slice())
            .payload(&value)
            .timestamp(header.time.millis())
            .headers(relay::headers(&envelope));
        Ok(self.producer.send_result(record).map_err(|(refused, _)| refused)?)
    }

    fn now(&self) -> Timestamp {
        self.clock.wall().into()
    }

    fn accepted(&self, id: Uuid) -> Result<OperationAccepted> {
        Ok(OperationAccepted {
            operation_id: OperationId::new(id),
            command: PublishCourse::FULL_NAME.to_owned(),
            command_topic: PublishCourse::TOPIC.to_owned(),
            caller_id: PersonId::new(id),
            request_hash: vec![1; 32],
            target: FACADE_PATH.to_owned(),
            accepted_at: self.now(),
        })
    }

    /// Every field that the façade sets.
    fn header_of_command(&self, id: Uuid, made_at: Timestamp) -> Header {
        Header {
            actor: Some(self.actor(id)),
            reply_to: Some(ReplyTo { topic: OperationAccepted::TOPIC.into(), key: id }),
            trace: Some(trace(id)),
            request_hash: Some([1; 32]),
            ..Header::first(id, made_at)
        }
    }

    /// The same of its acceptance.
    fn header_of_acceptance(&self, id: Uuid, accepted_at: Timestamp) -> Header {
        Header {
            correlation_id: id,
            causation_id: Some(id),
            actor: Some(self.actor(id)),
            trace: Some(trace(id)),
            ..Header::first(derive_id("acceptance", &[id.as_bytes()]), accepted_at)
        }
    }

    fn actor(&self, id: Uuid) -> Actor {
        Actor { id, scopes: Arc::clone(&self.scopes) }
    }
}

fn trace(id: Uuid) -> TraceContext {
    TraceContext { trace_id: *id.as_bytes(), span_id: [1; 8], sampled: false }
}
