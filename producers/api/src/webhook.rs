//! Notices of the payment provider.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::post;
use daybook_events::{Header, Message, PaymentId, ProviderNotice, Timestamp, derive_id, key};
use daybook_facade::{Clock, Deps, NotPublished, Outgoing, Param, Problem, Publisher, ReadStore, Secret, codes};
use http::{StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::signature::{SIGNATURE, is_signed};

/// Where notices go.
pub const NOTICE_TOPIC: &str = "billing.payment.control.v1";

/// The largest notice, in bytes: what a record takes.
pub const NOTICE_MAX_BYTES: usize = 256 * 1024;

/// Finds the payment of a provider's reference (`$1`).
pub const PAYMENT_BY_REFERENCE: &str = "SELECT payment_id FROM payment WHERE provider_reference = $1 LIMIT 1";

/// How long a notice may take to come in and get into the book; the provider sends it again.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(10);

/// The provider's name in the book.
const PROVIDER: &str = "stripe";

/// The longest id of a notice, in bytes.
const NOTICE_ID_MAX_BYTES: usize = 255;

struct Webhook {
    secret: Secret<String>,
    publisher: Arc<dyn Publisher>,
    reads: Arc<dyn ReadStore>,
    clock: Arc<dyn Clock>,
}

pub(crate) fn router(deps: &Deps, secret: Secret<String>) -> Router {
    let webhook = Webhook {
        secret,
        publisher: Arc::clone(&deps.publisher),
        reads: Arc::clone(&deps.reads),
        clock: Arc::clone(&deps.clock),
    };
    Router::new().route("/webhooks/payments", post(take)).with_state(Arc::new(webhook))
}

/// What has to be known of a notice; the rest is for the consumer.
#[derive(Deserialize)]
struct Notice {
    id: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Object,
}

/// A payment intent, a charge or a dispute.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    payment_intent: Option<String>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    payment_id: Option<PaymentId>,
}

/// 204: it is in the book, or not for us. Whatever else is answered, the provider sends it again.
async fn take(State(webhook): State<Arc<Webhook>>, request: Request) -> Result<StatusCode, Problem> {
    let by = Instant::now() + NOTICE_TIMEOUT;
    let (head, body) = request.into_parts();
    let bytes = read(body, by).await?;
    let now = webhook.now();
    let signature = head.headers.get(SIGNATURE).and_then(|field| field.to_str().ok()).unwrap_or_default();
    if !is_signed(&webhook.secret, signature, now.millis() / 1_000, &bytes) {
        return Err(codes::SIGNATURE_INVALID.into());
    }
    let notice: Notice = serde_json::from_slice(&bytes).map_err(|_| Problem::new(codes::JSON_MALFORMED))?;
    if notice.id.is_empty() || notice.id.len() > NOTICE_ID_MAX_BYTES {
        return Err(codes::REQUEST_INVALID.into());
    }
    let Some(payment_id) = webhook.payment_of(&notice.data.object).await? else {
        tracing::debug!("a notice is of no payment of ours");
        return Ok(StatusCode::NO_CONTENT);
    };
    webhook.publish(&notice.id, payment_id, bytes, now, by).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn read(body: Body, by: Instant) -> Result<Vec<u8>, Problem> {
    match timeout_at(by, Limited::new(body, NOTICE_MAX_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(_)) => Err(codes::BODY_TOO_LARGE.into()),
        Err(_) => Err(codes::REQUEST_TIMEOUT.into()),
    }
}

impl Webhook {
    fn now(&self) -> Timestamp {
        self.clock.wall().into()
    }

    /// By the metadata that we gave the provider, or, where there are none (disputes), by the provider's own reference.
    async fn payment_of(&self, object: &Object) -> Result<Option<PaymentId>, Problem> {
        if let Some(id) = object.metadata.as_ref().and_then(|metadata| metadata.payment_id) {
            return Ok(Some(id));
        }
        let Some(reference) = &object.payment_intent else {
            return Ok(None);
        };
        let param = Param::Text(Some(reference.clone()));
        let rows = self.reads.rows(PAYMENT_BY_REFERENCE, vec![param]).await.map_err(|error| {
            tracing::warn!(%error, "the payment of a notice cannot be looked up");
            unavailable()
        })?;
        let id = rows.first().and_then(|row| row["payment_id"].as_str()?.parse().ok());
        // The projection may be behind: the provider will come again.
        id.map(Some).ok_or_else(unavailable)
    }

    async fn publish(
        &self,
        notice_id: &str,
        payment_id: PaymentId,
        bytes: Vec<u8>,
        now: Timestamp,
        by: Instant,
    ) -> Result<(), Problem> {
        let record = ProviderNotice {
            key_text: payment_id.to_string(),
            provider: PROVIDER.to_owned(),
            notice_id: notice_id.to_owned(),
            body: bytes,
            received_at: now,
        };
        let mut body = Vec::new();
        daybook_events::encode(&record, &mut body).map_err(|error| {
            tracing::warn!(%error, "a notice does not fit a record");
            Problem::new(codes::BODY_TOO_LARGE)
        })?;
        let message = Outgoing {
            topic: NOTICE_TOPIC,
            key: key::of(payment_id.uuid()).to_vec(),
            type_name: ProviderNotice::FULL_NAME,
            header: Header::first(derive_id("provider-notice", &[PROVIDER.as_bytes(), notice_id.as_bytes()]), now),
            body,
        };
        self.publisher.publish(message, by).await.map_err(|error: NotPublished| {
            tracing::warn!(%error, "a notice was not published");
            unavailable()
        })
    }
}

fn unavailable() -> Problem {
    Problem::new(codes::UNAVAILABLE).header(header::RETRY_AFTER, "5")
}
