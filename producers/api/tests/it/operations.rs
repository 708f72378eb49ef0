//! What became of a command, and who may see it.

use std::time::Duration;

use axum::body::Body;
use daybook_events::{LearnerEnrolled, Message as _};
use daybook_facade::testing::token;
use daybook_facade::{OperationRow, StepRow};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::time::timeout;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::support::{Api, CALLER, TENANT, command, course, get, request};

const ID: Uuid = Uuid::from_u128(0x0be5);

/// Long enough for what would come at once to have come.
const SHORT: Duration = Duration::from_millis(200);

fn row() -> OperationRow {
    OperationRow {
        operation_id: ID,
        command: Some("daybook.learning.EnrollLearner".into()),
        caller_id: Some(CALLER),
        tenant_id: Some(TENANT),
        request_hash: Some("00".repeat(32)),
        target: Some("/api/v1/enrollments".into()),
        accepted_at: Some("2026-03-01T12:00:00+00:00".into()),
        ..OperationRow::default()
    }
}

fn step(saga: &str, position: i64, what: &str, state: &str) -> StepRow {
    StepRow {
        saga: saga.into(),
        instance_id: Uuid::from_u128(6),
        incarnation: 1,
        position,
        round: Some(1),
        step: Some("open".into()),
        what: what.into(),
        code: None,
        next_step: None,
        attempt: Some(1),
        state: Some(state.into()),
        at: format!("2026-03-01T12:00:0{position}+00:00"),
    }
}

fn closed() -> OperationRow {
    OperationRow {
        closing_type: Some("daybook.runtime.Rejected".into()),
        closing: json!({"code": "course-full"}).as_object().cloned(),
        succeeded: Some(false),
        code: Some("course-full".into()),
        detail: Some("No seat is left.".into()),
        closed_at: Some("2026-03-01T12:00:03+00:00".into()),
        ..row()
    }
}

fn asked_by(id: Uuid, tenant: Option<Uuid>, scopes: &str, path: &str) -> Request<Body> {
    let token = token(id, tenant, scopes);
    let builder = request(Method::GET, path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    builder.body(Body::empty()).unwrap()
}

fn path() -> String {
    format!("/api/v1/operations/{ID}")
}

#[tokio::test]
async fn a_command_just_accepted_can_be_seen_at_its_location() {
    let api = Api::new();
    let accepted = api.send(command(Method::POST, "/api/v1/courses", &course())).await;
    let answer = api.send(get(accepted.header("location"), "")).await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::OK, &json!("accepted")));
}

#[tokio::test]
async fn the_resource_tells_where_it_stands() {
    let api = Api::new();
    api.memory.put_operation(row());
    api.memory.put_steps(
        ID,
        vec![step("enrollment-saga", 1, "started", "running"), step("enrollment-saga", 2, "sent", "waiting")],
    );
    let running = api.send(get(&path(), "")).await.json();
    assert_eq!((&running["status"], &running["saga"]["name"]), (&json!("running"), &json!("enrollment-saga")));
    assert_eq!(running["saga"]["state"], "waiting");

    api.memory.put_operation(closed());
    let failed = api.send(get(&path(), "")).await.json();
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["problem"]["code"], "course-full");
    assert_eq!(failed["problem"]["type"], "/problems/course-full");
    assert!(failed["problem"]["title"].is_string());
    assert_eq!(failed["problem"]["detail"], "No seat is left.");
}

#[tokio::test]
async fn others_are_told_that_there_is_nothing() {
    let api = Api::new();
    api.memory.put_operation(row());
    let (stranger, elsewhere) = (Uuid::from_u128(5), Some(Uuid::from_u128(6)));
    for (tenant, scopes) in [(elsewhere, "operations:read"), (Some(TENANT), ""), (None, "operations:read")] {
        for path in [path(), path() + "/events"] {
            api.send(asked_by(stranger, tenant, scopes, &path)).await.expect_problem(404, "not-found");
        }
    }
    for (tenant, scopes) in [(Some(TENANT), "operations:read"), (None, "operator")] {
        assert_eq!(api.send(asked_by(stranger, tenant, scopes, &path())).await.status, StatusCode::OK);
    }
    let anonymous = request(Method::GET, &path()).body(Body::empty()).unwrap();
    api.send(anonymous).await.expect_problem(401, "token-missing");
    api.send(get("/api/v1/operations/nonsense", "")).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn an_unreadable_store_is_not_a_missing_operation() {
    let api = Api::new();
    api.memory.set_unreadable(true);
    api.send(get(&path(), "")).await.expect_problem(503, "unavailable");
}

/// Name, id and data of each event.
fn events(text: &str) -> Vec<(String, String, serde_json::Value)> {
    let field = |block: &str, name: &str| {
        let found = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
        found.trim().to_owned()
    };
    let blocks = text.split("\n\n").filter(|block| block.contains("data:"));
    blocks
        .map(|block| (field(block, "event"), field(block, "id"), serde_json::from_str(&field(block, "data")).unwrap()))
        .collect()
}

#[tokio::test]
async fn the_stream_tells_each_step_once_and_ends_with_the_outcome() {
    let api = Api::new();
    api.memory.put_operation(closed());
    let steps = vec![
        step("enrollment-saga", 1, "started", "running"),
        StepRow { instance_id: Uuid::from_u128(7), ..step("payment-saga", 2, "ended", "failed") },
        step("enrollment-saga", 3, "ended", "compensated"),
    ];
    api.memory.put_steps(ID, steps);
    let answer = api.send(get(&(path() + "/events"), "")).await;
    assert!(answer.header("content-type").starts_with("text/event-stream"));
    let told = events(&answer.text);
    let names: Vec<&str> = told.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["step", "step", "step", "closed"]);
    assert_eq!(told[1].2["saga"], "payment-saga");
    assert_eq!(told[3].2["status"], "failed");

    // After each event a client may come back and gets what it has not seen, and nothing twice.
    for (index, (_, id, _)) in told.iter().enumerate() {
        let mut again = get(&(path() + "/events"), "");
        again.headers_mut().insert("last-event-id", id.parse().unwrap());
        let answer = api.send(again).await;
        assert_eq!(events(&answer.text), told[index + 1..]);
        if index == 3 {
            assert_eq!(answer.status, StatusCode::NO_CONTENT);
        }
    }
}

#[tokio::test]
async fn a_step_that_comes_late_from_another_saga_is_still_told() {
    let api = Api::new();
    api.memory.put_operation(closed());
    api.memory.put_steps(ID, vec![step("enrollment-saga", 3, "ended", "completed")]);
    let seen = events(&api.send(get(&(path() + "/events"), "")).await.text)[0].1.clone();
    let earlier = step("payment-saga", 2, "ended", "completed");
    api.memory.put_steps(ID, vec![earlier, step("enrollment-saga", 3, "ended", "completed")]);
    let mut again = get(&(path() + "/events"), "");
    again.headers_mut().insert("last-event-id", seen.parse().unwrap());
    let told = events(&api.send(again).await.text);
    assert_eq!((told[0].2["saga"].as_str(), told.len()), (Some("payment-saga"), 2));
}

#[tokio::test]
async fn steps_after_the_outcome_are_told_to_one_who_comes_back() {
    let api = Api::new();
    api.memory.put_operation(closed());
    api.memory.put_steps(ID, vec![step("enrollment-saga", 1, "ended", "completed")]);
    let told = events(&api.send(get(&(path() + "/events"), "")).await.text);
    let again = || {
        let mut again = get(&(path() + "/events"), "");
        again.headers_mut().insert("last-event-id", told[1].1.parse().unwrap());
        again
    };
    assert_eq!(api.send(again()).await.status, StatusCode::NO_CONTENT);
    let late = step("payment-saga", 2, "ended", "completed");
    api.memory.put_steps(ID, vec![step("enrollment-saga", 1, "ended", "completed"), late]);
    let told = events(&api.send(again()).await.text);
    assert_eq!((told[0].2["saga"].as_str(), told[1].0.as_str()), (Some("payment-saga"), "closed"));
}

#[tokio::test]
async fn the_outcome_waits_until_every_saga_has_told_its_end() {
    let api = Api::new();
    api.memory.put_operation(OperationRow { closing_type: Some(LearnerEnrolled::FULL_NAME.into()), ..closed() });
    let response = api.router.clone().oneshot(get(&(path() + "/events"), "")).await.unwrap();
    let mut body = response.into_body();
    let mut next = async || {
        let frame = body.frame().await?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    };
    // A saga has closed it, so that there must be steps.
    assert!(timeout(SHORT, next()).await.is_err());
    let first = step("enrollment-saga", 1, "sent", "waiting");
    api.memory.put_steps(ID, vec![first.clone()]);
    assert!(next().await.unwrap().contains("event: step"));
    assert!(timeout(SHORT, next()).await.is_err());
    api.memory.put_steps(ID, vec![first, step("enrollment-saga", 2, "ended", "completed")]);
    assert!(next().await.unwrap().contains("\"what\":\"ended\""));
    assert!(next().await.unwrap().contains("event: closed"));
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn an_end_that_is_never_told_does_not_hold_back_the_outcome_for_ever() {
    let api = Api::new();
    api.memory.put_operation(closed());
    api.memory.put_steps(ID, vec![step("enrollment-saga", 1, "sent", "waiting")]);
    let told = events(&api.send(get(&(path() + "/events"), "")).await.text);
    assert_eq!(told.last().map(|(name, ..)| name.as_str()), Some("closed"));
}

#[tokio::test]
async fn the_stream_tells_steps_as_they_happen() {
    let api = Api::new();
    api.memory.put_operation(row());
    let response = api.router.clone().oneshot(get(&(path() + "/events"), "")).await.unwrap();
    let mut body = response.into_body();
    let mut next = async || {
        let frame = timeout(Duration::from_secs(5), body.frame()).await.unwrap()?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    };
    api.memory.put_steps(ID, vec![step("enrollment-saga", 1, "started", "running")]);
    assert!(next().await.unwrap().contains("\"what\":\"started\""));
    api.memory.put_operation(closed());
    assert!(next().await.unwrap().contains("event: closed"));
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn a_foreign_event_id_is_refused() {
    let api = Api::new();
    api.memory.put_operation(row());
    for id in ["17", "saga/not-an-id/1/2", "a/b", &"x".repeat(3_000)] {
        let mut request = get(&(path() + "/events"), "");
        request.headers_mut().insert("last-event-id", id.parse().unwrap());
        api.send(request).await.expect_problem(400, "parameter-invalid");
    }
}
