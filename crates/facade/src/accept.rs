//! The way of a command: token, scope, key, body, comparison with what is known, Kafka, answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use daybook_events::{Header, Message, OperationAccepted, OperationId, PersonId, ReplyTo, TraceContext, key};
use daybook_service::telemetry::current;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::admission::caller_of;
use crate::auth::{Caller, admit, now};
use crate::body::{Json, expect_json, read};
use crate::codes;
use crate::command::{About, CommandRoute, Prepared, revision_of};
use crate::edge::Deadline;
use crate::facade::Shared;
use crate::idempotency::{command_id, key_of};
use crate::operation::{Operation, OperationRow};
use crate::operations::{known, location};
use crate::ports::{NotPublished, Outgoing};
use crate::problem::Problem;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The longest that an answer is held back for an outcome.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long before a request's deadline its answer is to be on its way.
const MARGIN: Duration = Duration::from_millis(500);

/// How long the comparison with an earlier request may take. Without it a reused key is found by the consumer.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(2);

/// In how many seconds to repeat a command that may or may not have been accepted.
const RETRY_AFTER_SECONDS: &str = "2";

/// What a request is, once it was found good.
struct Command {
    caller: Caller,
    id: Uuid,
    target: String,
    hash: [u8; 32],
    prepared: Prepared,
}

/// Takes a request to a command route.
pub(crate) async fn take(shared: Arc<Shared>, route: Arc<CommandRoute>, ids: Ids, request: Request) -> Response {
    match try_take(&shared, &route, ids, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

/// Names and texts of the path's segments.
pub(crate) type Ids = Vec<(String, String)>;

async fn try_take(shared: &Shared, route: &CommandRoute, ids: Ids, request: Request) -> Result<Response, Problem> {
    let Deadline(deadline) = deadline_of(&request);
    let by = deadline - MARGIN;
    let wait = wait_of(request.headers());
    let command = read_command(shared, route, ids, request, by).await?;
    let earlier = compare(shared, &command).await?;
    if earlier.as_ref().is_none_or(|row| row.request_hash.is_none()) {
        publish(shared, &command, by).await?;
    }
    let location = location(command.id);
    match wait {
        Some(wait) => waited(shared, &command, wait, by, &location).await,
        None => Ok(accepted(StatusCode::ACCEPTED, current_state(shared, earlier, &command), &location)),
    }
}

/// What the edge has set; a router without it has no deadline worth the name.
pub(crate) fn deadline_of(request: &Request) -> Deadline {
    request.extensions().get().copied().unwrap_or(Deadline(Instant::now() + WAIT_MAX))
}

async fn read_command(
    shared: &Shared,
    route: &CommandRoute,
    ids: Ids,
    request: Request,
    by: Instant,
) -> Result<Command, Problem> {
    let (head, body) = request.into_parts();
    let caller = caller_of(&head.extensions);
    let ids = ids
        .into_iter()
        .map(|(name, text)| Ok((name, crate::edge::id_in_path(&text)?)))
        .collect::<Result<BTreeMap<String, Uuid>, Problem>>()?;
    admit(&route.access, caller.as_ref(), |name| ids.get(name).copied())?;
    let caller = caller.ok_or(codes::TOKEN_MISSING)?;
    let idempotency_key = key_of(&head.headers)?;
    let if_match = if_match_of(route, &head.headers)?;
    expect_json(&head.headers)?;
    let bytes = read(&head.headers, body, shared.max_body_bytes, by).await?;
    let json = Json::parse(&bytes)?;
    let target = head.uri.path().to_owned();
    let id = command_id(caller.id, &head.method, &route.full_path(), &target, idempotency_key);
    let hash = shared.hasher.hash(&head.method, &target, if_match, &json.value);
    let about = About { caller: caller.clone(), ids, command_id: id, if_match, now: now(&*shared.clock) };
    let prepared = (route.make)(&json, about)?.await?;
    Ok(Command { caller, id, target, hash, prepared })
}

fn if_match_of(route: &CommandRoute, headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    match headers.get(header::IF_MATCH) {
        Some(tag) if route.takes_if_match => revision_of(tag.to_str().unwrap_or_default()),
        Some(_) => Err(Problem::new(codes::IF_MATCH_INVALID).detail("This command does not take If-Match.")),
        None => Ok(None),
    }
}

/// The earlier operation under the same id. The same key with another request is refused here, before anything is published.
async fn compare(shared: &Shared, command: &Command) -> Result<Option<OperationRow>, Problem> {
    let earlier = match timeout(COMPARE_TIMEOUT, known(shared, command.id)).await {
        Ok(Ok(earlier)) => earlier,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a command goes without comparison with an earlier one");
            None
        }
        Err(_) => {
            tracing::warn!("a command goes without comparison with an earlier one: the read store is slow");
            None
        }
    };
    let hash = hex::encode(command.hash);
    match &earlier {
        Some(row) if row.request_hash.as_ref().is_some_and(|earlier| *earlier != hash) => {
            Err(Problem::new(codes::IDEMPOTENCY_KEY_REUSED).header(header::LOCATION, location(command.id)))
        }
        _ => Ok(earlier),
    }
}

/// The command first, its acceptance second: an acceptance without a command would be a promise that nobody keeps.
async fn publish(shared: &Shared, command: &Command, by: Instant) -> Result<(), Problem> {
    let made_at = now(&*shared.clock);
    let trace = trace();
    let Prepared { topic, type_name, key, body } = &command.prepared;
    let header = Header {
        actor: Some(command.caller.actor()),
        tenant: command.caller.tenant,
        reply_to: Some(ReplyTo { topic: OperationAccepted::TOPIC.into(), key: command.id }),
        trace,
        request_hash: Some(command.hash),
        ..Header::first(command.id, made_at)
    };
    let message = Outgoing { topic, key: key.clone(), type_name, header, body: body.clone() };
    shared.publisher.publish(message, by).await.map_err(|error| not_published(&error, command.id))?;
    let row = remembered(command, Some(now(&*shared.clock).to_string()));
    shared.recent.remember(row);
    if let Err(error) = hand_over_acceptance(shared, command, trace) {
        // The operation is then known by its reply alone.
        shared.acceptances_lost.with([]).inc();
        tracing::warn!(%error, "an acceptance is not on record");
    }
    Ok(())
}

fn hand_over_acceptance(shared: &Shared, command: &Command, trace: Option<TraceContext>) -> Result<(), NotPublished> {
    let accepted_at = now(&*shared.clock);
    let record = OperationAccepted {
        operation_id: OperationId::new(command.id),
        command: command.prepared.type_name.to_owned(),
        command_topic: command.prepared.topic.to_owned(),
        caller_id: PersonId::new(command.caller.id),
        request_hash: command.hash.to_vec(),
        target: command.target.clone(),
        accepted_at,
    };
    let mut body = Vec::new();
    daybook_events::encode(&record, &mut body).map_err(|error| NotPublished::Refused(error.to_string()))?;
    let message_id = daybook_events::derive_id("acceptance", &[command.id.as_bytes()]);
    let header = Header {
        correlation_id: command.id,
        causation_id: Some(command.id),
        actor: Some(command.caller.actor()),
        tenant: command.caller.tenant,
        trace,
        ..Header::first(message_id, accepted_at)
    };
    let message = Outgoing {
        topic: OperationAccepted::TOPIC,
        key: key::of(command.id).to_vec(),
        type_name: OperationAccepted::FULL_NAME,
        header,
        body,
    };
    shared.publisher.hand_over(message)
}

fn trace() -> Option<TraceContext> {
    let bytes = current()?.to_bytes();
    let (trace_id, rest) = bytes.split_first_chunk()?;
    let (span_id, flags) = rest.split_first_chunk()?;
    Some(TraceContext { trace_id: *trace_id, span_id: *span_id, sampled: flags[0] & 1 == 1 })
}

fn not_published(error: &NotPublished, id: Uuid) -> Problem {
    tracing::warn!(%error, "a command was not published");
    let code = match error {
        NotPublished::NotKnown => codes::NOT_KNOWN_TO_BE_ACCEPTED,
        NotPublished::Refused(_) => codes::NOT_ACCEPTED,
    };
    Problem::new(code).header(header::RETRY_AFTER, RETRY_AFTER_SECONDS).header(header::LOCATION, location(id))
}

fn remembered(command: &Command, accepted_at: Option<String>) -> OperationRow {
    OperationRow {
        operation_id: command.id,
        command: Some(command.prepared.type_name.to_owned()),
        caller_id: Some(command.caller.id),
        tenant_id: command.caller.tenant,
        request_hash: Some(hex::encode(command.hash)),
        target: Some(command.target.clone()),
        accepted_at,
        ..OperationRow::default()
    }
}

/// The operation of a command that was just taken, as far as it is known.
fn current_state(shared: &Shared, earlier: Option<OperationRow>, command: &Command) -> Operation {
    let row = earlier.or_else(|| shared.recent.find(command.id)).unwrap_or_else(|| remembered(command, None));
    Operation::of(row, &[])
}

/// Holds the answer back until there is an outcome, or the time is up.
async fn waited(
    shared: &Shared,
    command: &Command,
    wait: Duration,
    by: Instant,
    location: &str,
) -> Result<Response, Problem> {
    let until = (Instant::now() + wait).min(by);
    let closed = || async {
        match known(shared, command.id).await {
            Ok(row) => Ok::<_, Problem>(row.filter(OperationRow::is_closed)),
            // The command is accepted: that the outcome can't be read now must not be told as a failure.
            Err(error) => {
                tracing::warn!(%error, "an outcome cannot be read now");
                Ok(None)
            }
        }
    };
    let found = shared.wakes.waiter(command.id).find(until, closed).await?;
    let mut response = match found {
        Some(row) => accepted(StatusCode::OK, Operation::of(row, &[]), location),
        None => accepted(StatusCode::ACCEPTED, current_state(shared, None, command), location),
    };
    let applied = format!("wait={}", wait.as_secs());
    if let Ok(applied) = HeaderValue::from_str(&applied) {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

fn accepted(status: StatusCode, operation: Operation, location: &str) -> Response {
    (status, [(header::LOCATION, location.to_owned())], axum::Json(operation)).into_response()
}

/// `wait=N` in `Prefer` (RFC 7240), bounded. A preference that isn't understood is passed over, as the RFC asks.
fn wait_of(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(PREFER).iter().filter_map(|field| field.to_str().ok());
    let seconds = fields.flat_map(|field| field.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("wait").then(|| value.parse::<u64>().ok())?
    })?;
    Some(Duration::from_secs(seconds).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_read_from_among_other_preferences_and_bounded() {
        let wait = |field: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, HeaderValue::from_static(field));
            wait_of(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("wait=5"), Some(5));
        assert_eq!(wait("respond-async, wait=\"7\"; x=1"), Some(7));
        assert_eq!(wait("wait=86400"), Some(WAIT_MAX.as_secs()));
        assert_eq!(wait("wait=soon"), None);
        assert_eq!(wait("handling=strict"), None);
    }
}
