//! Bad input: the right problem document, and nothing published.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daybook_facade::testing::{Memory, NOW_SECONDS, SECRET, claims, token};
use daybook_facade::{Claims, Secret, mint};
use futures::StreamExt as _;
use http::{HeaderValue, Method, Request, StatusCode, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use uuid::Uuid;

use crate::support::{ALL_SCOPES, Api, CALLER, TENANT, bearer, command, course, deps_with, get, request};

const COURSES: &str = "/api/v1/courses";

/// A good command with the body `text`.
fn with_body(text: impl Into<Body>) -> Request<Body> {
    let mut request = command(Method::POST, COURSES, &course());
    *request.body_mut() = text.into();
    request
}

/// A good command with a header changed, or taken away.
fn with_header(name: &'static str, value: Option<&str>) -> Request<Body> {
    let mut request = command(Method::POST, COURSES, &course());
    match value {
        Some(value) => request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap()),
        None => request.headers_mut().remove(name),
    };
    request
}

async fn refused(request: Request<Body>, status: u16, code: &str) {
    let api = Api::new();
    api.send(request).await.expect_problem(status, code);
    assert!(api.memory.published().is_empty(), "{code}");
}

#[tokio::test]
async fn bad_bodies() {
    refused(with_body(""), 400, "json-malformed").await;
    refused(with_body("{\"title\": "), 400, "json-malformed").await;
    refused(with_body(&b"{\"title\": \"\xff\"}"[..]), 400, "json-malformed").await;
    refused(with_body("[".repeat(10_000)), 400, "json-malformed").await;
    refused(with_body("[]"), 422, "request-invalid").await;
    refused(with_body("{}"), 422, "request-invalid").await;
    refused(with_body(course().to_string().replace("USD", "usd")), 422, "request-invalid").await;
    refused(with_body(course().to_string().replace("\"title\"", "\"titel\"")), 422, "request-invalid").await;
    refused(with_body(course().to_string().replace("Airway", "\\u0000")), 400, "text-invalid").await;
    refused(with_body(course().to_string().replace("Airway", "\0")), 400, "text-invalid").await;
}

#[tokio::test]
async fn a_problem_names_the_place_and_repeats_nothing() {
    let api = Api::new();
    let answer = api.send(with_body(course().to_string().replace("12500", "\"Jane Roe\""))).await;
    answer.expect_problem(422, "request-invalid");
    assert_eq!(
        answer.json()["errors"],
        json!([{"pointer": "/price/amount_minor", "message": "does not fit: expected i64"}])
    );
    assert!(!answer.text.contains("Jane"));
    let answer = api.send(with_body("{\n  \"title\": Jane}")).await;
    assert_eq!(answer.json()["detail"], "Line 2, column 12.");
}

#[tokio::test]
async fn card_numbers_wherever_they_stand() {
    let card = "4242 4242-4242 4242";
    refused(with_body(course().to_string().replace("Airway", card)), 400, "card-number-refused").await;
    refused(with_body(course().to_string().replace("\"title\"", "\"4242424242424242\"")), 400, "card-number-refused")
        .await;
    refused(with_body(format!("{{broken {card}")), 400, "card-number-refused").await;
    refused(with_header("idempotency-key", Some("4242-4242-4242-4242")), 400, "card-number-refused").await;
    refused(get("/api/v1/courses?note=4242%204242+4242%2D4242", ""), 400, "card-number-refused").await;
    refused(get("/api/v1/courses/4242424242424242", ""), 400, "card-number-refused").await;
    refused(get("/api/v1/courses?note=%00", ""), 400, "text-invalid").await;
}

#[tokio::test]
async fn bad_headers() {
    refused(with_header("idempotency-key", None), 400, "idempotency-key-missing").await;
    for key in ["", "with space", &"k".repeat(256)] {
        refused(with_header("idempotency-key", Some(key)), 400, "idempotency-key-invalid").await;
    }
    let mut twice = command(Method::POST, COURSES, &course());
    twice.headers_mut().append("idempotency-key", HeaderValue::from_static("key-2"));
    refused(twice, 400, "idempotency-key-invalid").await;
    for kind in [None, Some("text/plain"), Some("application/json; charset=latin1"), Some("application/xml")] {
        refused(with_header("content-type", kind), 415, "media-type-unsupported").await;
    }
    refused(with_header("if-match", Some("\"1\"")), 400, "if-match-invalid").await;
}

#[tokio::test]
async fn the_longest_key_is_taken() {
    let api = Api::new();
    let answer = api.send(with_header("idempotency-key", Some(&"k".repeat(255)))).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn huge_bodies_whether_announced_or_not() {
    refused(with_header("content-length", Some("100000000")), 413, "body-too-large").await;
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(" ".repeat(64 * 1024))).take(1_000);
    refused(with_body(Body::from_stream(endless)), 413, "body-too-large").await;
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let broken = futures::stream::iter([Ok("{"), Err(std::io::Error::other("gone"))]);
    refused(with_body(Body::from_stream(broken)), 408, "request-timeout").await;
}

#[tokio::test]
async fn a_body_that_does_not_come() {
    let memory = Memory::default();
    let mut deps = deps_with(&memory, Vec::new());
    deps.facade.http.request_timeout_ms = 600;
    let api = Api { router: api::router(deps).unwrap(), memory };
    let silence = futures::stream::pending::<Result<&str, std::io::Error>>();
    api.send(with_body(Body::from_stream(silence))).await.expect_problem(408, "request-timeout");
}

#[tokio::test]
async fn bad_tokens() {
    let with = |token: &str| with_header("authorization", Some(&format!("Bearer {token}")));
    let of = |change: &dyn Fn(&mut Claims)| {
        let mut claims = claims(CALLER, Some(TENANT), ALL_SCOPES);
        change(&mut claims);
        mint(&claims, &Secret::new(SECRET.to_owned())).unwrap()
    };
    refused(with_header("authorization", None), 401, "token-missing").await;
    refused(with_header("authorization", Some("Basic dXNlcjpwYXNz")), 401, "token-invalid").await;
    refused(with("rubbish"), 401, "token-invalid").await;
    refused(with(&"x".repeat(9_000)), 401, "token-invalid").await;
    refused(with(&of(&|claims| claims.exp = NOW_SECONDS - 6)), 401, "token-expired").await;
    refused(with(&of(&|claims| claims.nbf = Some(NOW_SECONDS + 60))), 401, "token-invalid").await;
    refused(with(&of(&|claims| claims.iss = "somebody".into())), 401, "token-invalid").await;
    refused(with(&of(&|claims| claims.aud = "another".into())), 401, "token-invalid").await;
    refused(with(&of(&|claims| claims.scope = "courses:write ".repeat(30))), 401, "token-invalid").await;
    refused(with(&of(&|claims| claims.scope = String::new())), 403, "scope-missing").await;
    refused(with(&of(&|claims| claims.scope = "courses:writer".into())), 403, "scope-missing").await;
}

#[tokio::test]
async fn forged_tokens() {
    let with = |token: &str| with_header("authorization", Some(&format!("Bearer {token}")));
    let good = token(CALLER, Some(TENANT), ALL_SCOPES);
    let [_, payload, signature] = <[&str; 3]>::try_from(good.split('.').collect::<Vec<_>>()).unwrap();
    let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());

    for algorithm in ["none", "None", "HS512"] {
        let head = encoded(json!({"typ": "at+jwt", "alg": algorithm}));
        refused(with(&format!("{head}.{payload}.")), 401, "token-invalid").await;
        refused(with(&format!("{head}.{payload}.{signature}")), 401, "token-invalid").await;
    }
    let another = mint(&claims(CALLER, Some(TENANT), ALL_SCOPES), &Secret::new("not the secret".to_owned())).unwrap();
    refused(with(&another), 401, "token-invalid").await;
    let richer = encoded(json!(claims(Uuid::from_u128(1), None, "operator")));
    refused(with(&good.replace(payload, &richer)), 401, "token-invalid").await;

    // An ID token of the same issuer is no access token.
    let header = Header { typ: Some("JWT".to_owned()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let id_token = jsonwebtoken::encode(&header, &claims(CALLER, None, ALL_SCOPES), &key).unwrap();
    refused(with(&id_token), 401, "token-invalid").await;
}

#[tokio::test]
async fn a_refused_token_says_how_to_be_let_in() {
    let api = Api::new();
    let missing = api.send(with_header("authorization", None)).await;
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    let scopeless = api.send(with_header("authorization", Some(&bearer("people:write")))).await;
    assert!(scopeless.header("www-authenticate").contains("scope=\"courses:write\""), "{scopeless:?}");
}

#[tokio::test]
async fn what_the_router_itself_refuses_is_a_problem_as_well() {
    refused(get("/nowhere", ""), 404, "not-found").await;
    refused(get("/api/v1/people/not-an-id/contact", ""), 405, "method-not-allowed").await;
    refused(command(Method::PUT, "/api/v1/people/not-an-id/contact", &json!({})), 404, "not-found").await;
    refused(command(Method::DELETE, COURSES, &json!({})), 405, "method-not-allowed").await;
    let answer = Api::new().send(command(Method::DELETE, COURSES, &json!({}))).await;
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn a_persons_form_is_checked_before_it_is_sealed() {
    let api = Api::new();
    for (field, value) in [("email", json!("nobody")), ("phone", json!("555")), ("name", json!("  "))] {
        let mut person = crate::support::person();
        person[field] = value;
        let answer = api.send(command(Method::POST, "/api/v1/people", &person)).await;
        answer.expect_problem(422, "request-invalid");
        assert_eq!(answer.json()["errors"][0]["pointer"], format!("/{field}"));
    }
    assert!(api.memory.published().is_empty());
}

#[tokio::test]
async fn a_request_without_any_header_is_refused_without_harm() {
    let bare = request(Method::POST, COURSES).body(Body::empty()).unwrap();
    assert!(!bare.headers().contains_key(header::AUTHORIZATION));
    refused(bare, 401, "token-missing").await;
}
