//! Health: named checks that parts of the process keep up to date, and the routes that tell of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

use crate::clock::{Clock, rfc3339};
use crate::drain::Drain;
use crate::metrics::{self, Metrics};

/// How a part of the process is. Reasons are shown to whoever may call the routes: name the kind of failure, no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Not up yet.
    Starting,
    /// Well.
    Ok,
    /// Works, but not as it should.
    Degraded(String),
    /// Doesn't work.
    Failed(String),
}

impl Condition {
    /// The words of the health+json draft (draft-inadarei-api-health-check-06).
    fn status(&self) -> &'static str {
        match self {
            Condition::Ok => "pass",
            Condition::Degraded(_) => "warn",
            Condition::Starting | Condition::Failed(_) => "fail",
        }
    }

    fn is_ready(&self) -> bool {
        matches!(self, Condition::Ok | Condition::Degraded(_))
    }

    fn output(&self) -> Option<&str> {
        match self {
            Condition::Starting => Some("starting"),
            Condition::Ok => None,
            Condition::Degraded(reason) | Condition::Failed(reason) => Some(reason),
        }
    }
}

type Conditions = BTreeMap<String, (Condition, SystemTime)>;

/// The checks of a process. Clones share them.
#[derive(Clone)]
pub struct Health {
    conditions: Arc<Mutex<Conditions>>,
    metrics: Metrics,
    drain: Drain,
    clock: Arc<dyn Clock>,
}

/// One part's own entry. Clones are one and the same.
#[derive(Clone)]
pub struct Check {
    name: String,
    health: Health,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Check").field(&self.name).finish()
    }
}

impl Check {
    /// It is well.
    pub fn ok(&self) {
        self.set(Condition::Ok);
    }

    /// It works, but not as it should.
    pub fn degraded(&self, reason: &str) {
        self.set(Condition::Degraded(reason.to_owned()));
    }

    /// It doesn't work.
    pub fn failed(&self, reason: &str) {
        self.set(Condition::Failed(reason.to_owned()));
    }

    fn set(&self, condition: Condition) {
        let now = self.health.clock.wall();
        let mut conditions = self.health.conditions();
        if conditions.get(&self.name).is_some_and(|(before, _)| *before == condition) {
            return;
        }
        let (check, output) = (&self.name, condition.output());
        tracing::info!(check, status = condition.status(), output, "health changed");
        conditions.insert(self.name.clone(), (condition, now));
    }
}

impl Health {
    /// No checks yet.
    pub fn new(metrics: Metrics, drain: Drain, clock: Arc<dyn Clock>) -> Self {
        Health { conditions: Arc::default(), metrics, drain, clock }
    }

    /// The check `name`, starting if it is new. Names are of parts and dependencies (`postgres`, `courses`), bounded in number.
    pub fn check(&self, name: &str) -> Check {
        let now = self.clock.wall();
        self.conditions().entry(name.to_owned()).or_insert((Condition::Starting, now));
        Check { name: name.to_owned(), health: self.clone() }
    }

    /// Whether work may be sent here: every check works, and the process is not about to end.
    pub fn is_ready(&self) -> bool {
        !self.drain.has_begun() && self.conditions().values().all(|(condition, _)| condition.is_ready())
    }

    /// `/livez`, `/readyz`, `/readyz/{check}`, `/startupz`, `/health` and `/metrics`, to be merged into any server.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/readyz/{check}", get(readyz_of))
            .route("/startupz", get(startupz))
            .route("/health", get(health))
            .route("/metrics", get(render_metrics))
            .with_state(self.clone())
    }

    fn has_started(&self) -> bool {
        let starting = |(condition, _): &(Condition, SystemTime)| *condition == Condition::Starting;
        !self.conditions().values().any(starting)
    }

    /// A line per check that isn't ready.
    fn not_ready(&self) -> String {
        let draining = self.drain.has_begun().then(|| "draining\n".to_owned());
        let conditions = self.conditions();
        let lines = conditions.iter().filter_map(|(name, (condition, _))| {
            let output = condition.output().unwrap_or_default();
            (!condition.is_ready()).then(|| format!("{name}: {output}\n"))
        });
        draining.into_iter().chain(lines).collect()
    }

    fn document(&self) -> Value {
        let conditions = self.conditions();
        let checks: Map<String, Value> = conditions
            .iter()
            .map(|(name, (condition, since))| (name.clone(), json!([entry(condition, *since)])))
            .collect();
        let statuses: Vec<_> = conditions.values().map(|(condition, _)| condition.status()).collect();
        let status = if self.drain.has_begun() || statuses.contains(&"fail") {
            "fail"
        } else if statuses.contains(&"warn") {
            "warn"
        } else {
            "pass"
        };
        json!({
            "status": status,
            "version": env!("CARGO_PKG_VERSION"),
            "serviceId": "daybook",
            "checks": checks,
        })
    }

    /// Entries are replaced whole, so a panic in between can't have broken one.
    fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(condition: &Condition, since: SystemTime) -> Value {
    let mut entry = json!({"status": condition.status(), "time": rfc3339(since)});
    if let Some(output) = condition.output() {
        entry["output"] = json!(output);
    }
    entry
}

fn told(well: bool, text: String) -> Response {
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

async fn readyz(State(health): State<Health>) -> Response {
    if health.is_ready() { told(true, "ok\n".to_owned()) } else { told(false, health.not_ready()) }
}

async fn readyz_of(State(health): State<Health>, Path(name): Path<String>) -> Response {
    let condition = health.conditions().get(&name).map(|(condition, _)| condition.clone());
    match condition {
        None => (StatusCode::NOT_FOUND, "no such check\n").into_response(),
        Some(condition) => {
            let text = condition.output().unwrap_or("ok");
            told(condition.is_ready(), format!("{text}\n"))
        }
    }
}

async fn startupz(State(health): State<Health>) -> Response {
    if health.has_started() { told(true, "ok\n".to_owned()) } else { told(false, health.not_ready()) }
}

async fn health(State(health): State<Health>) -> Response {
    let document = health.document();
    let status = if document["status"] == "fail" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let headers = [(header::CONTENT_TYPE, "application/health+json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, document.to_string()).into_response()
}

async fn render_metrics(State(health): State<Health>) -> Response {
    match health.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
