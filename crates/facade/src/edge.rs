//! What holds for every request and every answer: ids, trace, time, panics, headers, metrics, and the form of problems.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use daybook_service::metrics::{Counters, MetricsError, Seconds};
use daybook_service::telemetry::{current, follow};
use daybook_service::{Metrics, TraceParent, ids};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::codes;
use crate::guard::check_text;
use crate::problem::{PROBLEM_JSON, Problem};

/// Name of the header field that carries a request's id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a client.
const REQUEST_ID_MAX_BYTES: usize = 128;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How much longer than its deadline a request may take in all: handlers end themselves before.
const GRACE: Duration = Duration::from_secs(2);

/// What answers of the API may load and be framed by: nothing.
const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Browsers remember for two years to come by HTTPS only.
const HSTS: &str = "max-age=63072000; includeSubDomains";

/// Until when a request has to be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Instant);

pub(crate) struct Edge {
    request_timeout: Duration,
    requests: Counters<3>,
    seconds: Seconds<2>,
}

impl Edge {
    pub(crate) fn new(metrics: &Metrics, request_timeout: Duration) -> Result<Self, MetricsError> {
        Ok(Self {
            request_timeout,
            requests: metrics.counter(
                "daybook_http_requests_total",
                "Answers of the API by route, method and status.",
                ["route", "method", "status"],
            )?,
            seconds: metrics.seconds(
                "daybook_http_request_seconds",
                "From a request's head to its answer's head, in seconds.",
                ["route", "method"],
            )?,
        })
    }

    fn count(&self, route: &str, method: &str, response: &Response, begun: Instant) {
        self.requests.with([route, method, response.status().as_str()]).inc();
        self.seconds.with([route, method]).observe(begun.elapsed().as_secs_f64());
    }
}

pub(crate) async fn edge(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let request_id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = method_label(request.method());
    let deadline = begun + edge.request_timeout;
    request.extensions_mut().insert(Deadline(deadline));
    let span = tracing::info_span!("http request", http.route = route, http.request.method = method, request_id);
    let parent = trace_parent(request.headers());
    if let Some(parent) = parent {
        follow(&span, parent);
    }
    let answer = async {
        let response = match check_uri(request.uri()) {
            Ok(()) => answered(request, next, deadline + GRACE).await,
            Err(problem) => problem.into_response(),
        };
        let trace = current().or(parent).map_or_else(|| ids::random().simple().to_string(), |trace| trace.trace_id());
        let response = finished(response, &trace, &request_id);
        edge.count(&route, method, &response, begun);
        response
    };
    answer.instrument(span).await
}

async fn answered(request: Request, next: Next, by: Instant) -> Response {
    match timeout_at(by, AssertUnwindSafe(next.run(request)).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("a handler panicked");
            Problem::new(codes::INTERNAL).into_response()
        }
        Err(_) => Problem::new(codes::TIMED_OUT).header(header::RETRY_AFTER, "1").into_response(),
    }
}

/// Addresses are logged and traced everywhere: what must not come in must not come in there.
fn check_uri(uri: &Uri) -> Result<(), Problem> {
    check_text(&percent_decoded(uri.path()))?;
    check_text(&percent_decoded(&uri.query().unwrap_or_default().replace('+', " ")))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A client's own id where it is usable, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|field| field.to_str().ok());
    let is_usable = |id: &&str| {
        (1..=REQUEST_ID_MAX_BYTES).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_graphic())
            && check_text(id).is_ok()
    };
    given.filter(is_usable).map_or_else(|| ids::random().to_string(), str::to_owned)
}

fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
}

/// Methods are words of the client's; labels come from a fixed set.
fn method_label(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Writes problem documents and the headers that every answer has.
fn finished(response: Response, trace_id: &str, request_id: &str) -> Response {
    let mut response = with_document(response, trace_id, request_id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    let always = [
        (header::STRICT_TRANSPORT_SECURITY, HSTS),
        (header::CONTENT_SECURITY_POLICY, API_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("permissions-policy"), "accelerometer=(), camera=(), geolocation=(), microphone=()"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    headers.reserve(always.len());
    for (name, value) in always {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Whatever says that something went wrong says it as a problem document: the router's own 404 and 405 as well.
fn with_document(mut response: Response, trace_id: &str, request_id: &str) -> Response {
    let status = response.status();
    let told = response.extensions_mut().remove::<Problem>();
    if told.is_none() && !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = told.unwrap_or_else(|| Problem::new(codes::of_status(status)));
    let document = axum::Json(problem.document(trace_id, request_id)).into_response();
    let (mut head, _) = response.into_parts();
    head.status = problem.code().status;
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    Response::from_parts(head, document.into_body())
}

/// The id in a path's segment.
///
/// # Errors
/// `not-found`: an address with something else in it leads nowhere.
pub(crate) fn id_in_path(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| codes::NOT_FOUND.into())
}
