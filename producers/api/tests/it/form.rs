//! What every answer has, the description, and the pages.

use axum::body::Body;
use daybook_facade::PAGES;
use http::{Method, StatusCode, header};
use serde_json::Value;

use crate::support::{Api, command, course, deps_with, get, request};
use daybook_facade::testing::Memory;

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_browsers_safe() {
    let api = Api::new();
    for request in [get("/docs", ""), get("/nowhere", ""), command(Method::POST, "/api/v1/courses", &course())] {
        let answer = api.send(request).await;
        assert!(answer.header("strict-transport-security").starts_with("max-age="));
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(answer.header("permissions-policy").contains("camera=()"));
        assert!(!answer.header("cache-control").is_empty());
    }
}

#[tokio::test]
async fn request_and_trace_ids_go_in_and_out() {
    let api = Api::new();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let send = |id: &'static str| {
        let builder = request(Method::GET, "/nowhere").header("x-request-id", id);
        builder.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01")).body(Body::empty()).unwrap()
    };
    let answer = api.send(send("client-7")).await;
    assert_eq!(answer.header("x-request-id"), "client-7");
    assert_eq!(answer.json()["trace_id"], trace);
    for unusable in ["", "two words", "4242424242424242"] {
        let id = api.send(send(unusable)).await.header("x-request-id").to_owned();
        assert_eq!(id.len(), 36, "{id}");
    }
}

#[tokio::test]
async fn only_listed_origins_may_call_from_a_browser() {
    let api = Api::new();
    let preflight = |origin: &'static str| {
        request(Method::OPTIONS, "/api/v1/courses")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .body(Body::empty())
            .unwrap()
    };
    let listed = api.send(preflight("https://app.example.org")).await;
    assert_eq!(listed.header("access-control-allow-origin"), "https://app.example.org");
    assert!(listed.header("access-control-allow-headers").contains("idempotency-key"));
    let other = api.send(preflight("https://evil.example.org")).await;
    assert_eq!(other.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn every_problem_has_a_page() {
    let api = Api::new();
    for (code, _) in PAGES {
        let answer = api.send(get(&format!("/problems/{code}"), "")).await;
        assert_eq!(answer.status, StatusCode::OK, "{code}");
        assert!(answer.text.contains("<h1>"), "{code}");
    }
    api.send(get("/problems/no-such-code", "")).await.expect_problem(404, "not-found");
    assert!(api.send(get("/problems", "")).await.text.contains("idempotency-key-reused"));
}

#[tokio::test]
async fn the_description_holds_together() {
    let api = Api::new();
    let document = api.send(get("/openapi.json", "")).await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 14, "{}", paths.len());
    let mut ids = Vec::new();
    for (path, methods) in paths {
        for operation in methods.as_object().unwrap().values() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            assert!(operation["summary"].is_string(), "{path}");
            assert!(operation["security"].is_array(), "{path}");
            let named = operation["parameters"].as_array().unwrap().iter();
            let in_path = named.filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(in_path, path.matches('{').count(), "{path}");
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operationId stands there twice");
    for reference in references(&document) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    // utoipa reads it as the specification has it.
    serde_json::from_value::<utoipa::openapi::OpenApi>(document).unwrap();
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn the_page_for_people_shows_every_route_and_runs_nothing() {
    let api = Api::new();
    let page = api.send(get("/docs", "")).await;
    assert!(page.header("content-type").starts_with("text/html"));
    for path in api::description(deps_with(&Memory::default(), Vec::new()))["paths"].as_object().unwrap().keys() {
        assert!(page.text.contains(path.as_str()), "{path}");
    }
    for forbidden in ["<script", "style=", "http://", "https://"] {
        assert!(!page.text.contains(forbidden), "{forbidden}");
    }
    assert!(api.send(get("/docs/style.css", "")).await.header("content-type").starts_with("text/css"));
}
