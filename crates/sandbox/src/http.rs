//! The edge: routes, keys, limits, headers, and the requests that change something. Those that read are in `reads`.

use crate::control;
use crate::decide::Command;
use crate::error::ApiError;
use crate::faults::{Operation, Wish};
use crate::form::Form;
use crate::keys;
use crate::provider::{Call, Provider, Reply};
use crate::reads;
use crate::request;
use crate::wire::Expand;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Larger bodies are refused.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long a caller may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests being worked on, also those whose caller has gone. More are told to come back.
const MAX_RUNNING: usize = 1_024;
const MAX_KEY_LETTERS: usize = 255;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const ORIGINAL_REQUEST: HeaderName = HeaderName::from_static("original-request");
const SANDBOX_FAULT: HeaderName = HeaderName::from_static("sandbox-fault");

/// Marks a response that must not be sent: the connection is closed instead.
#[derive(Clone, Copy)]
pub struct HangUp;

/// What every handler has at hand.
#[derive(Clone)]
pub struct App {
    pub provider: Arc<Provider>,
    api_key: Arc<str>,
    running: Arc<Semaphore>,
    /// Requests that change something run here to their end, even if their caller goes away.
    pub tasks: TaskTracker,
}

impl App {
    pub fn new(provider: Arc<Provider>, api_key: &str) -> App {
        App {
            provider,
            api_key: Arc::from(api_key),
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
            tasks: TaskTracker::new(),
        }
    }

    /// Carries out a command; a caller that goes away doesn't stop it.
    async fn run(&self, call: Call) -> Reply {
        let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() else {
            return Reply::error(&ApiError::rate_limited());
        };
        let provider = Arc::clone(&self.provider);
        let running = self.tasks.spawn(async move {
            let reply = provider.run(call).await;
            drop(permit);
            reply
        });
        running.await.unwrap_or_else(|_| {
            tracing::error!("a request panicked");
            Reply::error(&ApiError::internal())
        })
    }

    async fn post(&self, operation: Operation, posted: Posted, command: Result<Command, ApiError>) -> Reply {
        let call = command.and_then(|command| posted.into_call(operation, command));
        match call {
            Ok(call) => self.run(call).await,
            Err(error) => Reply::error(&error),
        }
    }

    /// Carries out a command of the control routes, which has neither a key nor faults.
    pub async fn control(&self, command: Command) -> Reply {
        self.run(Call {
            operation: None,
            command,
            key: None,
            fingerprint: String::new(),
            wishes: Vec::new(),
            expand: Expand::default(),
            request_id: self.provider.next_request_id(),
        })
        .await
    }
}

/// All routes.
pub fn router(app: App) -> Router {
    let v1 = Router::new()
        .route("/payment_intents", post(create).get(reads::list_intents))
        .route("/payment_intents/search", get(reads::search))
        .route("/payment_intents/{id}", get(reads::show_intent))
        .route("/payment_intents/{id}/confirm", post(confirm))
        .route("/payment_intents/{id}/capture", post(capture))
        .route("/payment_intents/{id}/cancel", post(cancel))
        .route("/charges/{id}", get(reads::show_charge))
        .route("/refunds", post(refund).get(reads::list_refunds))
        .route("/refunds/{id}", get(reads::show_refund))
        .route("/disputes", get(reads::list_disputes))
        .route("/disputes/{id}", get(reads::show_dispute))
        .route("/balance_transactions", get(reads::list_transactions))
        .route("/balance_transactions/{id}", get(reads::show_transaction));
    Router::new()
        .nest("/v1", v1)
        .nest("/sandbox", control::router())
        .fallback(|| async { Reply::error(&ApiError::unknown_route()) })
        .layer(middleware::from_fn_with_state(app.clone(), authorize))
        .route("/livez", get(|| async { StatusCode::OK }))
        .route("/readyz", get(ready))
        .layer(middleware::from_fn_with_state(app.clone(), identify))
        .with_state(app)
}

async fn ready(State(app): State<App>) -> StatusCode {
    if app.provider.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// The id a request is known by.
#[derive(Clone)]
struct RequestId(String);

async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = app.provider.next_request_id();
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    app.provider.count_answer(response.status().as_u16());
    insert(response.headers_mut(), REQUEST_ID, &id);
    response
}

async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    let key = request.headers().get(AUTHORIZATION).and_then(|value| api_key(value.to_str().ok()?));
    // Compared in constant time, so that a key can't be guessed letter by letter.
    match key {
        Some(key) if bool::from(key.as_bytes().ct_eq(app.api_key.as_bytes())) => next.run(request).await,
        _ => Reply::error(&ApiError::unauthorized()).into_response(),
    }
}

/// The key of `Bearer KEY`, or of `Basic` with the key as user and no password.
fn api_key(authorization: &str) -> Option<String> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(credentials.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(user, _)| user.to_owned())
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Body::from(self.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(original) = &self.original_request {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
            insert(headers, ORIGINAL_REQUEST, original);
        }
        if self.hang_up {
            response.extensions_mut().insert(HangUp);
        }
        response
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Ids are letters, digits and underscores.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Reads a whole body within the limits of size and time.
///
/// # Errors
/// The body is too large, too slow, or broken off.
pub async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(ApiError::too_large()),
        Err(_) => Err(ApiError::invalid("request_timeout", "The request's body took too long.")),
    }
}

fn header_wish(headers: &HeaderMap) -> Result<Option<Wish>, ApiError> {
    let list = headers.get(SANDBOX_FAULT).map(|value| value.to_str().unwrap_or("?"));
    list.map(request::wish).transpose()
}

/// A form-encoded request with its headers.
struct Posted {
    form: Form,
    path: String,
    key: Option<String>,
    wish: Option<Wish>,
    request_id: String,
}

impl Posted {
    fn into_call(self, operation: Operation, command: Command) -> Result<Call, ApiError> {
        let mut wishes = request::wishes(&self.form)?;
        wishes.extend(self.wish);
        Ok(Call {
            operation: Some(operation),
            command,
            key: self.key,
            fingerprint: keys::fingerprint(&self.path, &self.form),
            wishes,
            expand: Expand::of(&self.form),
            request_id: self.request_id,
        })
    }
}

impl FromRequest<App> for Posted {
    type Rejection = Reply;

    async fn from_request(request: Request, app: &App) -> Result<Self, Reply> {
        let (parts, body) = request.into_parts();
        let posted = async {
            let wish = header_wish(&parts.headers)?;
            let key = idempotency_key(&parts.headers)?;
            check_form_encoded(&parts.headers)?;
            let form = Form::decode(&read_body(body).await?)?;
            let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone());
            let request_id = request_id.unwrap_or_else(|| app.provider.next_request_id());
            Ok(Posted { form, path: parts.uri.path().to_owned(), key, wish, request_id })
        };
        posted.await.map_err(|error: ApiError| Reply::error(&error))
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY_LETTERS => Ok(Some(key.to_owned())),
        _ => Err(ApiError::invalid("idempotency_key_invalid", "An idempotency key has 1 to 255 ASCII letters.")),
    }
}

fn check_form_encoded(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    match kind {
        Some(kind) if !kind.starts_with("application/x-www-form-urlencoded") => {
            Err(ApiError::invalid("content_type_invalid", "The body must be application/x-www-form-urlencoded."))
        }
        _ => Ok(()),
    }
}

/// The query string of a request that reads, and the faults it asks for.
pub struct Asked {
    pub form: Form,
    pub wish: Option<Wish>,
}

impl FromRequestParts<App> for Asked {
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Reply> {
        let asked = Form::decode(parts.uri.query().unwrap_or_default().as_bytes())
            .and_then(|form| Ok(Asked { form, wish: header_wish(&parts.headers)? }));
        asked.map_err(|error| Reply::error(&error))
    }
}

async fn create(State(app): State<App>, posted: Posted) -> Reply {
    let command = request::create(&posted.form);
    app.post(Operation::Create, posted, command).await
}

async fn confirm(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Reply {
    let command = request::confirm(id, &posted.form);
    app.post(Operation::Confirm, posted, command).await
}

async fn capture(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Reply {
    let command = request::capture(id, &posted.form);
    app.post(Operation::Capture, posted, command).await
}

async fn cancel(State(app): State<App>, Path(id): Path<String>, posted: Posted) -> Reply {
    let command = request::cancel(id, &posted.form);
    app.post(Operation::Cancel, posted, command).await
}

async fn refund(State(app): State<App>, posted: Posted) -> Reply {
    let command = request::refund(&posted.form);
    app.post(Operation::Refund, posted, command).await
}
