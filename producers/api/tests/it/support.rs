//! The API in memory, and requests to it.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use daybook_facade::testing::{Memory, deps, token, vault};
use daybook_facade::{ReadMount, Secret};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt as _;
use uuid::Uuid;

pub const CALLER: Uuid = Uuid::from_u128(0xca11_e500);
pub const TENANT: Uuid = Uuid::from_u128(0x7e9a_9700);
pub const COURSE: Uuid = Uuid::from_u128(0xc005_5e00);

pub const WEBHOOK_SECRET: &str = "whsec_test";

/// Every scope that the routes know.
pub const ALL_SCOPES: &str = "organizations:write people:write profile:write courses:write enrollments:write payments:refund \
                              ledger:reverse courses:read";

pub struct Api {
    pub memory: Memory,
    pub router: Router,
}

impl Api {
    pub fn new() -> Self {
        Self::with_reads(Vec::new())
    }

    pub fn with_reads(reads: Vec<ReadMount>) -> Self {
        let memory = Memory::default();
        let router = api::router(deps_with(&memory, reads)).unwrap();
        Self { memory, router }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }
}

pub fn deps_with(memory: &Memory, reads: Vec<ReadMount>) -> api::Deps {
    api::Deps {
        facade: deps(memory),
        vault: Arc::new(vault()),
        webhook_secret: Secret::new(WEBHOOK_SECRET.to_owned()),
        reads,
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Self { status: head.status, headers: head.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Checks that it is a problem document with all that belongs to one.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status.as_u16(), self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let document = self.json();
        assert_eq!(document["type"], format!("/problems/{code}"));
        assert_eq!(document["status"], status);
        assert_eq!(document["request_id"], self.header("x-request-id"));
        assert_eq!(document["trace_id"].as_str().map(str::len), Some(32), "{document}");
        assert!(document["title"].is_string());
        self
    }
}

/// A request under construction.
pub fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path)
}

pub fn bearer(scopes: &str) -> String {
    format!("Bearer {}", token(CALLER, Some(TENANT), scopes))
}

/// A good command.
pub fn command(method: Method, path: &str, body: &Value) -> Request<Body> {
    keyed(method, path, body, "key-1")
}

pub fn keyed(method: Method, path: &str, body: &Value, key: &str) -> Request<Body> {
    request(method, path)
        .header(header::AUTHORIZATION, bearer(ALL_SCOPES))
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_string()))
        .unwrap()
}

pub fn get(path: &str, scopes: &str) -> Request<Body> {
    request(Method::GET, path).header(header::AUTHORIZATION, bearer(scopes)).body(Body::empty()).unwrap()
}

pub fn course() -> Value {
    json!({
        "course_id": COURSE,
        "title": "Airway management",
        "summary": "What to do when breathing fails.",
        "price": {"amount_minor": 12_500, "currency": "USD"},
        "capacity": 30,
        "credits_hundredths": 150,
        "credit_type": "ama-pra-1",
        "refund_days": 14,
        "lessons": [{"lesson_id": Uuid::from_u128(9), "title": "Anatomy", "kind": "video"}],
        "available_from": "2026-04-01T00:00:00Z",
    })
}

pub fn person() -> Value {
    json!({
        "person_id": Uuid::from_u128(77),
        "name": "Jane Roe",
        "email": "jane.roe@example.org",
        "phone": "+14155550100",
        "language": "en-US",
        "time_zone": "America/New_York",
        "roles": ["learner"],
    })
}
