//! What holds for every router of the kit, whatever its routes.

mod rate_limits;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use daybook_facade::testing::{Memory, deps, limits, token};
use daybook_facade::{BuildError, Deps, Facade, OperationRow, STREAMS_MAX};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;
use uuid::Uuid;

async fn panics() {
    panic!("as tests want it");
}

fn router(deps: Deps) -> Router {
    let others = Router::new()
        .route("/panics", get(panics))
        .route("/fine/{name}", get(|| async { "fine" }))
        .route("/teapot", get(|| async { StatusCode::IM_A_TEAPOT }))
        .route("/hangs", get(std::future::pending::<()>));
    Facade::new("Tests", deps).others(others).router().unwrap()
}

async fn send(router: &Router, path: &str) -> (StatusCode, Value) {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn a_panic_is_an_answer_and_tells_nothing() {
    let router = router(deps(&Memory::default()));
    let (status, document) = send(&router, "/panics").await;
    assert_eq!((status, &document["code"]), (StatusCode::INTERNAL_SERVER_ERROR, &Value::from("internal")));
    assert!(!document.to_string().contains("as tests want it"));
}

#[tokio::test]
async fn what_hangs_is_ended() {
    let mut deps = deps(&Memory::default());
    deps.http.request_timeout_ms = 1;
    let (status, document) = send(&router(deps), "/hangs").await;
    assert_eq!((status, &document["code"]), (StatusCode::SERVICE_UNAVAILABLE, &Value::from("answer-timed-out")));
}

#[tokio::test]
async fn a_status_without_a_document_gets_one() {
    let router = router(deps(&Memory::default()));
    let (status, document) = send(&router, "/teapot").await;
    assert_eq!((status, &document["code"]), (StatusCode::BAD_REQUEST, &Value::from("request-refused")));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let deps = deps(&Memory::default());
    let metrics = deps.metrics.clone();
    let router = router(deps);
    for path in ["/fine/one", "/fine/two", "/nowhere/three"] {
        send(&router, path).await;
    }
    let text = metrics.render().unwrap();
    let fine = "daybook_http_requests_total{method=\"GET\",route=\"/fine/{name}\",status=\"200\"} 2";
    let nowhere = "daybook_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1";
    assert!(text.contains(fine) && text.contains(nowhere), "{text}");
    assert!(text.contains("daybook_http_request_seconds_count{method=\"GET\",route=\"/fine/{name}\"} 2"), "{text}");
    assert!(!text.contains("three"));
}

#[tokio::test]
async fn an_origin_that_is_none_is_refused_at_the_start() {
    for wrong in ["*", "app.example.org", "https://app.example.org/"] {
        let mut deps = deps(&Memory::default());
        deps.http.cors_origins = vec![wrong.to_owned()];
        let refused = Facade::new("Tests", deps).router();
        assert!(matches!(refused, Err(BuildError::Origin(origin)) if origin == wrong));
    }
}

#[tokio::test]
async fn no_more_streams_are_open_than_may_be() {
    let memory = Memory::default();
    let id = Uuid::from_u128(1);
    memory.put_operation(OperationRow { operation_id: id, caller_id: Some(id), ..OperationRow::default() });
    let mut deps = deps(&memory);
    deps.http.rate_limit_requests = 1_000_000;
    deps.limits = limits(&deps.http);
    let router = router(deps);
    let open = async || {
        let request = Request::builder()
            .uri(format!("/api/v1/operations/{id}/events"))
            .header("authorization", format!("Bearer {}", token(id, None, "")))
            .body(Body::empty())
            .unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        let stream = open().await;
        assert_eq!(stream.status(), StatusCode::OK);
        streams.push(stream);
    }
    assert_eq!(open().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    streams.pop();
    assert_eq!(open().await.status(), StatusCode::OK);
}
