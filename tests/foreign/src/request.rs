//! An HTTP request of anybody: its head, its token, its cursor, its idempotency key, its body, its signature.

use std::sync::{Arc, LazyLock};

use api::{SIGNATURE, sign};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use daybook_facade::read_route::{Answer, Parameter, ParameterKind, ReadRoute};
use daybook_facade::testing::{Memory, NOW_SECONDS, deps, token, vault};
use daybook_facade::{Access, PROBLEM_JSON, ReadMount, Secret};
use http::{HeaderName, Request, header};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;
use uuid::Uuid;

const WEBHOOK_SECRET: &str = "whsec_of_nobody";
const CALLER: Uuid = Uuid::from_u128(0xca11);
const TENANT: Uuid = Uuid::from_u128(0x7e9a);
const SCOPES: &str = "organizations:write people:write profile:write courses:write enrollments:write payments:refund \
                      ledger:reverse courses:read";
/// Stands for a good token, and for a good signature of the body: what nobody finds by searching.
const GOOD: &str = "*";

/// A request: `METHOD /path`, lines `name: value`, an empty line, the body. It is answered, never by an error of ours; a refusal is
/// a problem document and publishes nothing.
///
/// # Panics
/// When that does not hold.
pub fn request(bytes: &[u8]) {
    let Some(request) = parse(bytes) else { return };
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime of one thread"));
    let (memory, router) = api();
    let answer = RUNTIME.block_on(router.oneshot(request)).unwrap_or_else(|never| match never {});
    judge(&answer, &memory);
}

fn judge(answer: &Response, memory: &Memory) {
    let status = answer.status();
    assert!(!status.is_server_error(), "{status}");
    if status.is_client_error() {
        let kind = answer.headers().get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
        assert_eq!(kind, Some(PROBLEM_JSON.as_bytes()), "{status}");
        assert!(memory.published().is_empty(), "refused with {status}, and published");
    }
}

/// One with nothing in it, so that no request finds what another has left.
fn api() -> (Memory, Router) {
    let memory = Memory::default();
    let router = api::router(api::Deps {
        facade: deps(&memory),
        vault: Arc::new(vault()),
        webhook_secret: Secret::new(WEBHOOK_SECRET.to_owned()),
        reads: vec![list()],
    });
    (memory, router.expect("the defaults are good"))
}

/// A list with parameters of every place, of its owner's.
fn list() -> ReadMount {
    let route = ReadRoute {
        path: "/people/{person_id}/enrollments",
        summary: "For searching.",
        projection: "of-nobody",
        sql: "SELECT",
        parameters: vec![
            Parameter::path("person_id", ParameterKind::Uuid),
            Parameter::query("status", ParameterKind::Text),
        ],
        answer: Answer::Many {
            cursor: vec![("opened_at", ParameterKind::Time), ("enrollment_id", ParameterKind::Uuid)],
            page_max: 2,
        },
        access: Access::Owner {
            parameter: "person_id",
            claim: "sub",
            own: "courses:read",
            any: "enrollments:read-any",
        },
    };
    ReadMount { route, topic: "of.nobody.events.v1" }
}

/// `None`: what no HTTP server would hand over.
fn parse(bytes: &[u8]) -> Option<Request<Body>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, path) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(path);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = line[colon + 1..].trim_ascii();
        request = match (&name, value == GOOD.as_bytes()) {
            (&header::AUTHORIZATION, true) => request.header(name, format!("Bearer {}", good_token())),
            (name, true) if *name == SIGNATURE => request.header(name, good_signature(body)),
            _ => request.header(name, value),
        };
    }
    request.body(Body::from(body.to_vec())).ok()
}

fn good_token() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| token(CALLER, Some(TENANT), SCOPES));
    &TOKEN
}

fn good_signature(body: &[u8]) -> String {
    sign(&Secret::new(WEBHOOK_SECRET.to_owned()), NOW_SECONDS, body)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let course = r#"{"course_id":"00000000-0000-0000-0000-00000000c001","title":"Airways","summary":"What to do.","price":{"amount_minor":12500,"currency":"USD"},"capacity":30,"credits_hundredths":150,"credit_type":"ama-pra-1","refund_days":14,"lessons":[{"lesson_id":"00000000-0000-0000-0000-000000000009","title":"Anatomy","kind":"video"}],"available_from":"2026-04-01T00:00:00Z"}"#;
    let person = r#"{"person_id":"00000000-0000-0000-0000-000000000077","name":"Jane Roe","email":"jane.roe@example.org","phone":"+14155550100","language":"en-US","time_zone":"America/New_York","roles":["learner"]}"#;
    let notice = r#"{"id":"evt_1","type":"charge.refunded","data":{"object":{"id":"ch_1","metadata":{"payment_id":"00000000-0000-0000-0000-0000000009a7"}}}}"#;
    let command = |path: &str, body: &str| {
        format!("POST {path}\nauthorization: *\ncontent-type: application/json\nidempotency-key: key-1\n\n{body}")
    };
    // `["2026-03-01T12:00:00Z","00000000-0000-0000-0000-000000000001"]`
    let cursor = "WyIyMDI2LTAzLTAxVDEyOjAwOjAwWiIsIjAwMDAwMDAwLTAwMDAtMDAwMC0wMDAwLTAwMDAwMDAwMDAwMSJd";
    [
        command("/api/v1/courses", course),
        command("/api/v1/people", person),
        format!("POST /webhooks/payments\nstripe-signature: *\n\n{notice}"),
        "POST /webhooks/payments\nstripe-signature: t=1772366400,v1=00\n\n{}".to_owned(),
        format!("GET /api/v1/people/{CALLER}/enrollments?status=active&cursor={cursor}\nauthorization: *\n\n"),
        format!("GET /api/v1/people/{CALLER}/enrollments\nauthorization: *\nif-none-match: \"1-a\", W/\"x\"\n\n"),
        format!("GET /api/v1/operations/{CALLER}\nauthorization: *\nlast-event-id: 1\n\n"),
        "GET /api/v1/courses\nauthorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA\n\n".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}
