//! The operation resource and its stream of steps.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use futures::stream::unfold;
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Caller;
use crate::admission::caller_of;
use crate::codes;
use crate::command::API_PREFIX;
use crate::edge::id_in_path;
use crate::facade::Shared;
use crate::operation::{Operation, OperationRow, StepRow, is_settled};
use crate::ports::NotReadable;
use crate::problem::Problem;
use crate::wakes::Waiter;

/// The most streams at once in a process.
pub const STREAMS_MAX: usize = 1_000;

/// How long a stream lasts at most; clients come back by themselves.
const STREAM_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How long after an operation was first seen closed its stream waits for the steps that are still to be recorded: steps and outcome
/// come from different topics, each in its own time.
const LATE_STEPS_MAX: Duration = Duration::from_secs(3);

/// How often a comment shows that the stream is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The longest `Last-Event-ID`: one place for each instance of a saga.
const LAST_EVENT_ID_MAX_BYTES: usize = 2 * 1024;

/// Ends the id of a stream's last event.
const CLOSED: &str = "closed";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Address of an operation.
pub(crate) fn location(id: Uuid) -> String {
    format!("{API_PREFIX}/operations/{id}")
}

/// What is known of an operation: by the read store, or by this process, which may have accepted it a moment ago.
pub(crate) async fn known(shared: &Shared, id: Uuid) -> Result<Option<OperationRow>, NotReadable> {
    match shared.reads.operation(id).await {
        Ok(Some(row)) => Ok(Some(match shared.recent.find(id) {
            // The reply may be on record before the acceptance is.
            Some(recent) if row.request_hash.is_none() => OperationRow {
                closing_type: row.closing_type,
                closing: row.closing,
                succeeded: row.succeeded,
                code: row.code,
                detail: row.detail,
                closed_at: row.closed_at,
                ..recent
            },
            _ => row,
        })),
        Ok(None) => Ok(shared.recent.find(id)),
        Err(error) => Err(error),
    }
}

/// `GET /operations/{id}`
pub(crate) async fn operation(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let row = visible(&shared, &id, caller_of(request.extensions())).await?;
    let steps = shared.reads.steps(row.operation_id).await.map_err(unreadable)?;
    Ok(axum::Json(Operation::of(row, &steps)).into_response())
}

/// The operation, if the caller may see it: otherwise there is none.
async fn visible(shared: &Shared, id: &str, caller: Option<Caller>) -> Result<OperationRow, Problem> {
    let caller = caller.ok_or_else(|| Problem::new(codes::TOKEN_MISSING).header(header::WWW_AUTHENTICATE, "Bearer"))?;
    let row = known(shared, id_in_path(id)?).await.map_err(unreadable)?;
    row.filter(|row| row.is_visible_to(&caller)).ok_or_else(|| codes::NOT_FOUND.into())
}

pub(crate) fn unreadable(error: NotReadable) -> Problem {
    tracing::warn!(%error, "a read failed");
    Problem::new(codes::UNAVAILABLE).header(header::RETRY_AFTER, "1")
}

/// A step as the stream tells it.
#[derive(Serialize)]
struct Step<'a> {
    saga: &'a str,
    instance_id: Uuid,
    round: Option<i64>,
    step: Option<&'a str>,
    what: &'a str,
    code: Option<&'a str>,
    next_step: Option<&'a str>,
    attempt: Option<i64>,
    state: Option<&'a str>,
    at: &'a str,
}

/// `GET /operations/{id}/events`
pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let row = visible(&shared, &id, caller_of(request.extensions())).await?;
    let seen = Seen::parse(request.headers())?;
    if seen.is_closed && !has_more(&shared, row.operation_id, &seen).await.map_err(unreadable)? {
        // Tells an EventSource not to come back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let permit = Arc::clone(&shared.streams).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::new(codes::TOO_MANY_STREAMS).header(header::RETRY_AFTER, "5"))?;
    let waiter = shared.wakes.waiter(row.operation_id);
    let until = Instant::now() + STREAM_LIFETIME;
    let news = News {
        shared,
        id: row.operation_id,
        seen,
        waiter,
        until,
        settled_by: None,
        pending: Vec::new(),
        is_over: false,
        _permit: permit,
    };
    Ok(Sse::new(stream(news)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// What a client has seen. Each instance's steps come in order, those of several in any: so the place is one for each instance,
/// and the id of an event holds all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    places: BTreeMap<(String, Uuid), (i64, i64)>,
    is_closed: bool,
}

impl Seen {
    fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(field) = headers.get(LAST_EVENT_ID) else {
            return Ok(Self::default());
        };
        let invalid = || Problem::new(codes::PARAMETER_INVALID).detail("Last-Event-ID is not an id of this stream.");
        let text = field.to_str().ok().filter(|text| text.len() <= LAST_EVENT_ID_MAX_BYTES).ok_or_else(invalid)?;
        let mut seen = Self::default();
        for piece in text.split(',').filter(|piece| !piece.is_empty()) {
            if piece == CLOSED {
                seen.is_closed = true;
                continue;
            }
            let (key, place) = place_in(piece).ok_or_else(invalid)?;
            seen.places.insert(key, place);
        }
        Ok(seen)
    }

    fn has(&self, step: &StepRow) -> bool {
        let place = self.places.get(&(step.saga.clone(), step.instance_id));
        place.is_some_and(|place| *place >= (step.incarnation, step.position))
    }

    fn add(&mut self, step: &StepRow) {
        self.places.insert((step.saga.clone(), step.instance_id), (step.incarnation, step.position));
    }

    fn id(&self) -> String {
        let mut id = String::new();
        for ((saga, instance), (incarnation, position)) in &self.places {
            write!(id, "{saga}/{instance}/{incarnation}/{position},").expect("a String takes any text");
        }
        if self.is_closed { id + CLOSED } else { id }
    }
}

/// Saga, instance, incarnation and position.
fn place_in(piece: &str) -> Option<((String, Uuid), (i64, i64))> {
    let mut pieces = piece.split('/');
    let key = (pieces.next()?.to_owned(), pieces.next()?.parse().ok()?);
    let place = (pieces.next()?.parse().ok()?, pieces.next()?.parse().ok()?);
    pieces.next().is_none().then_some((key, place))
}

/// A stream under way.
struct News {
    shared: Arc<Shared>,
    id: Uuid,
    seen: Seen,
    waiter: Waiter,
    until: Instant,
    /// When the operation is told closed whatever is still missing; known once it was seen closed.
    settled_by: Option<Instant>,
    /// Read and not yet sent, the next one last.
    pending: Vec<StepRow>,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

/// What a look at the store finds.
enum Found {
    /// Steps that were not seen, the next one last.
    Steps(Vec<StepRow>),
    /// No such steps, and the outcome.
    Closed { operation: Box<Operation>, is_settled: bool },
}

fn stream(news: News) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(news, |mut news| async move {
        if news.is_over {
            return None;
        }
        let event = news.next().await?;
        Some((Ok(event), news))
    })
}

impl News {
    /// `None`: the time is up, or the store can't be read; the client comes back and goes on where it was.
    async fn next(&mut self) -> Option<Event> {
        if self.pending.is_empty() {
            match self.found().await? {
                Found::Steps(fresh) => self.pending = fresh,
                Found::Closed { operation, .. } => {
                    self.seen.is_closed = true;
                    self.is_over = true;
                    return event("closed", &self.seen, &operation);
                }
            }
        }
        let step = self.pending.pop()?;
        self.seen.add(&step);
        let told = Step {
            saga: &step.saga,
            instance_id: step.instance_id,
            round: step.round,
            step: step.step.as_deref(),
            what: &step.what,
            code: step.code.as_deref(),
            next_step: step.next_step.as_deref(),
            attempt: step.attempt,
            state: step.state.as_deref(),
            at: &step.at,
        };
        event("step", &self.seen, &told)
    }

    /// Waits for steps that were not seen, or, when there are none left, for the outcome; that again waits, but not for ever, until
    /// every saga has told its end.
    async fn found(&mut self) -> Option<Found> {
        let first = self.look(self.until, |_| true).await?;
        if !matches!(first, Found::Closed { is_settled: false, .. }) {
            return Some(first);
        }
        let settled_by = *self.settled_by.get_or_insert_with(|| Instant::now() + LATE_STEPS_MAX);
        let is_news = |found: &Found| !matches!(found, Found::Closed { is_settled: false, .. });
        self.look(settled_by, is_news).await.or(Some(first))
    }

    /// What is found first that will do. `None`: the time is up, or the store can't be read.
    async fn look(&mut self, by: Instant, will_do: impl Fn(&Found) -> bool + Send + Sync) -> Option<Found> {
        let Self { shared, id, seen, waiter, .. } = self;
        let (shared, id, seen, will_do) = (&*shared, *id, &*seen, &will_do);
        let found =
            waiter.find(by, || async move { Ok::<_, NotReadable>(look(shared, id, seen).await?.filter(will_do)) });
        found.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a stream ends: its steps cannot be read now");
            None
        })
    }
}

/// Whether there is something to tell one who was told the outcome before.
async fn has_more(shared: &Shared, id: Uuid, seen: &Seen) -> Result<bool, NotReadable> {
    Ok(matches!(look(shared, id, seen).await?, Some(Found::Steps(_))))
}

async fn look(shared: &Shared, id: Uuid, seen: &Seen) -> Result<Option<Found>, NotReadable> {
    let row = known(shared, id).await?;
    let steps = shared.reads.steps(id).await?;
    let mut fresh: Vec<StepRow> = steps.iter().filter(|step| !seen.has(step)).cloned().collect();
    if !fresh.is_empty() {
        fresh.sort_by_key(|step| Reverse((step.at.clone(), step.incarnation, step.position)));
        return Ok(Some(Found::Steps(fresh)));
    }
    Ok(row.filter(OperationRow::is_closed).map(|row| {
        let is_settled = is_settled(&row, &steps);
        Found::Closed { operation: Box::new(Operation::of(row, &steps)), is_settled }
    }))
}

fn event(name: &str, seen: &Seen, data: &impl Serialize) -> Option<Event> {
    match Event::default().event(name).id(seen.id()).json_data(data) {
        Ok(event) => Some(event),
        Err(error) => {
            tracing::error!(%error, "a step cannot be told");
            None
        }
    }
}
