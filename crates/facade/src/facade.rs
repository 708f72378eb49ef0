//! A façade: routes, and the router that they make.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawPathParams, Request};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodFilter, get, on};
use daybook_service::metrics::{Counters, MetricsError};
use daybook_service::{Clock, Metrics, settings};
use http::{HeaderName, HeaderValue, Method, header};
use serde_json::Value;
use tokio::sync::Semaphore;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::admission::{Admission, RATE_LIMIT, RATE_LIMIT_POLICY, admit, admit_command};
use crate::auth::Tokens;
use crate::command::{API_PREFIX, CommandRoute};
use crate::edge::{Edge, REQUEST_ID, edge};
use crate::freshness::Freshness;
use crate::html::{PAGE_POLICY, STYLE};
use crate::idempotency::{IDEMPOTENCY_KEY, RequestHasher};
use crate::operations::{STREAMS_MAX, events, operation};
use crate::overload::Overload;
use crate::ports::{LogEnds, Publisher, ReadStore};
use crate::rate_limits::RateLimits;
use crate::reads::{LAG, ReadMount};
use crate::recent::Recent;
use crate::wakes::Wakes;
use crate::{accept, docs, openapi, pages, reads};

/// For how long browsers may keep what CORS allows.
const CORS_AGE: Duration = Duration::from_secs(600);

/// What a façade is given. Cheap to clone.
#[derive(Clone)]
pub struct Deps {
    /// Where commands go.
    pub publisher: Arc<dyn Publisher>,
    /// Where operations and rows are read.
    pub reads: Arc<dyn ReadStore>,
    /// Says where topics end.
    pub ends: Arc<dyn LogEnds>,
    /// Verifies tokens.
    pub tokens: Arc<Tokens>,
    /// Judges how much callers may ask.
    pub limits: Arc<RateLimits>,
    /// Says whether there is room for commands; have a [`crate::Backlog`] tell it of the backlog.
    pub overload: Overload,
    /// Tells apart the requests of one idempotency key.
    pub hasher: RequestHasher,
    /// Tells of news; have it [`Wakes::listen`] where there is Redis.
    pub wakes: Wakes,
    /// Takes the figures of each route.
    pub metrics: Metrics,
    /// The time of messages.
    pub clock: Arc<dyn Clock>,
    /// Limits, origins, public address.
    pub http: settings::Http,
}

/// A façade cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Its metrics are refused.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A setting.
    #[error("http.cors_origins: `{0}` is not an origin such as https://app.example.org")]
    Origin(String),
    /// A route's method.
    #[error("no route can be made for the method {0}")]
    Method(Method),
}

/// What handlers share.
pub(crate) struct Shared {
    pub(crate) publisher: Arc<dyn Publisher>,
    pub(crate) reads: Arc<dyn ReadStore>,
    pub(crate) hasher: RequestHasher,
    pub(crate) wakes: Wakes,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) freshness: Freshness,
    pub(crate) recent: Recent,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) acceptances_lost: Counters<0>,
    pub(crate) max_body_bytes: usize,
}

/// A façade under construction.
pub struct Facade {
    deps: Deps,
    title: &'static str,
    commands: Vec<CommandRoute>,
    reads: Vec<ReadMount>,
    others: Router,
}

impl Facade {
    /// Without routes but those that each façade has: operations, description, pages.
    pub fn new(title: &'static str, deps: Deps) -> Self {
        Self { deps, title, commands: Vec::new(), reads: Vec::new(), others: Router::new() }
    }

    /// With these routes for commands.
    #[must_use]
    pub fn commands(mut self, routes: impl IntoIterator<Item = CommandRoute>) -> Self {
        self.commands.extend(routes);
        self
    }

    /// With these routes for reading.
    #[must_use]
    pub fn reads(mut self, mounts: impl IntoIterator<Item = ReadMount>) -> Self {
        self.reads.extend(mounts);
        self
    }

    /// With routes of another kind, such as webhooks. Ids, time, panics, headers and the form of problems are theirs too; who may use
    /// them is their own business.
    #[must_use]
    pub fn others(mut self, router: Router) -> Self {
        self.others = self.others.merge(router);
        self
    }

    /// The description of the routes, OpenAPI 3.1.
    pub fn description(&self) -> Value {
        openapi::document(self.title, &self.deps.http.public_url, &self.commands, &self.reads)
    }

    /// The router.
    ///
    /// # Errors
    /// For settings and routes that can't be.
    ///
    /// # Panics
    /// When two routes have the same method and path.
    pub fn router(self) -> Result<Router, BuildError> {
        let description = self.description();
        let request_timeout = Duration::from_millis(self.deps.http.request_timeout_ms);
        let edge_state = Arc::new(Edge::new(&self.deps.metrics, request_timeout)?);
        let cors = cors(&self.deps.http.cors_origins)?;
        let admission = Arc::new(admission(&self.deps)?);
        let shared = Arc::new(shared(self.deps)?);
        let mut router = self.others.merge(pages_router(&description)).merge(operations_router(&shared, &admission));
        for route in self.commands {
            router = with_command(router, &shared, &admission, route)?;
        }
        for mount in self.reads {
            router = with_read(router, &shared, &admission, mount);
        }
        let router = router.layer(from_fn_with_state(edge_state, edge));
        Ok(match cors {
            Some(cors) => router.layer(cors),
            None => router,
        })
    }
}

fn admission(deps: &Deps) -> Result<Admission, MetricsError> {
    Admission::new(Arc::clone(&deps.tokens), Arc::clone(&deps.limits), deps.overload.clone(), &deps.metrics)
}

fn shared(deps: Deps) -> Result<Shared, MetricsError> {
    Ok(Shared {
        acceptances_lost: deps.metrics.counter(
            "daybook_facade_acceptances_lost_total",
            "Commands that are in the book without a record of their acceptance.",
            [],
        )?,
        publisher: deps.publisher,
        reads: deps.reads,
        hasher: deps.hasher,
        wakes: deps.wakes,
        clock: deps.clock,
        freshness: Freshness::new(deps.ends),
        recent: Recent::default(),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        max_body_bytes: deps.http.max_body_bytes,
    })
}

fn with_command(
    router: Router,
    shared: &Arc<Shared>,
    admission: &Arc<Admission>,
    route: CommandRoute,
) -> Result<Router, BuildError> {
    let filter = MethodFilter::try_from(route.method.clone()).map_err(|_| BuildError::Method(route.method.clone()))?;
    let path = route.full_path();
    let (shared, route) = (Arc::clone(shared), Arc::new(route));
    let handler = move |params: RawPathParams, request: Request| {
        accept::take(Arc::clone(&shared), Arc::clone(&route), texts(&params), request)
    };
    let admitting = from_fn_with_state(Arc::clone(admission), admit_command);
    Ok(router.route(&path, on(filter, handler).route_layer(admitting)))
}

fn with_read(router: Router, shared: &Arc<Shared>, admission: &Arc<Admission>, mount: ReadMount) -> Router {
    let path = mount.full_path();
    let (shared, mount) = (Arc::clone(shared), Arc::new(mount));
    let handler = move |params: RawPathParams, request: Request| {
        reads::answer(Arc::clone(&shared), Arc::clone(&mount), texts(&params), request)
    };
    router.route(&path, get(handler).route_layer(from_fn_with_state(Arc::clone(admission), admit)))
}

fn texts(params: &RawPathParams) -> accept::Ids {
    params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn operations_router(shared: &Arc<Shared>, admission: &Arc<Admission>) -> Router {
    Router::new()
        .route(&format!("{API_PREFIX}/operations/{{operation_id}}"), get(operation))
        .route(&format!("{API_PREFIX}/operations/{{operation_id}}/events"), get(events))
        .route_layer(from_fn_with_state(Arc::clone(admission), admit))
        .with_state(Arc::clone(shared))
}

fn pages_router(description: &Value) -> Router {
    let json: Arc<str> = description.to_string().into();
    let html: Arc<str> = docs::rendered(description).into();
    let described = move || async move { ([(header::CONTENT_TYPE, "application/json")], json.to_string()) };
    let shown = move || async move { Html(html.to_string()) };
    let style = || async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) };
    let pages = Router::new()
        .route("/docs", get(shown))
        .route("/docs/style.css", get(style))
        .route("/problems", get(pages::problem_list))
        .route("/problems/{code}", get(pages::problem_page));
    pages.layer(axum::middleware::map_response(with_page_policy)).route("/openapi.json", get(described))
}

async fn with_page_policy(response: Response) -> Response {
    ([(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], response).into_response()
}

/// Pages of other origins may call the API only if they are listed.
fn cors(origins: &[String]) -> Result<Option<CorsLayer>, BuildError> {
    if origins.is_empty() {
        return Ok(None);
    }
    let origin = |text: &String| {
        let is_origin = text.starts_with("https://") || text.starts_with("http://");
        let value = HeaderValue::from_str(text).ok().filter(|_| is_origin && !text.ends_with('/'));
        value.ok_or_else(|| BuildError::Origin(text.clone()))
    };
    let origins: Vec<HeaderValue> = origins.iter().map(origin).collect::<Result<_, _>>()?;
    let sent = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        IDEMPOTENCY_KEY,
        REQUEST_ID,
        HeaderName::from_static("prefer"),
        HeaderName::from_static("traceparent"),
        HeaderName::from_static("last-event-id"),
    ];
    let shown = [
        header::ETAG,
        header::LINK,
        header::LOCATION,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        LAG,
        RATE_LIMIT,
        RATE_LIMIT_POLICY,
        REQUEST_ID,
        HeaderName::from_static("preference-applied"),
    ];
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(sent)
        .expose_headers(shown)
        .max_age(CORS_AGE);
    Ok(Some(layer))
}
