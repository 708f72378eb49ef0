//! How much a caller may ask, and what happens when there is too much to do.

use std::time::Duration;

use axum::body::Body;
use daybook_facade::testing::{Memory, token};
use http::{Method, Request, StatusCode, header};
use uuid::Uuid;

use crate::support::{ALL_SCOPES, Api, command, course, deps_with, get, keyed, request};

/// An API that allows so many requests in an hour.
fn limited(requests: u32) -> Api {
    let memory = Memory::default();
    let mut deps = deps_with(&memory, Vec::new());
    deps.facade.http.rate_limit_requests = requests;
    deps.facade.http.rate_limit_window_seconds = 3_600;
    deps.facade.limits = daybook_facade::testing::limits(&deps.facade.http);
    Api { memory, router: api::router(deps).unwrap() }
}

fn of(caller: Uuid, key: &str) -> Request<Body> {
    let mut request = keyed(Method::POST, "/api/v1/courses", &course(), key);
    let token = token(caller, Some(crate::support::TENANT), ALL_SCOPES);
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test]
async fn every_answer_tells_what_is_left_and_beyond_it_nothing_is_published() {
    let api = limited(3);
    for left in (0..3).rev() {
        let answer = api.send(command(Method::POST, "/api/v1/courses", &course())).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(answer.header("ratelimit-policy"), "\"caller\";q=3;w=3600");
        assert_eq!(answer.header("ratelimit"), format!("\"caller\";r={left};t={}", 1_200 * (3 - left)));
    }
    let published = api.memory.published().len();
    let refused = api.send(keyed(Method::POST, "/api/v1/courses", &course(), "key-2")).await;
    refused.expect_problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), "1200");
    assert_eq!(refused.header("ratelimit"), "\"caller\";r=0;t=3600");
    assert_eq!(api.memory.published().len(), published);
    // Somebody else has a quota of their own.
    assert_eq!(api.send(of(Uuid::from_u128(5), "key-1")).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn bad_tokens_and_reads_count_too_and_pages_do_not() {
    let api = limited(2);
    for _ in 0..2 {
        let bad = request(Method::GET, "/api/v1/operations/nonsense").header(header::AUTHORIZATION, "Bearer nonsense");
        api.send(bad.body(Body::empty()).unwrap()).await.expect_problem(401, "token-invalid");
    }
    let anonymous = request(Method::GET, "/api/v1/operations/nonsense").body(Body::empty()).unwrap();
    api.send(anonymous).await.expect_problem(429, "rate-limited");
    for _ in 0..2 {
        api.send(get("/api/v1/operations/nonsense", "")).await.expect_problem(404, "not-found");
    }
    api.send(get("/api/v1/operations/nonsense", "")).await.expect_problem(429, "rate-limited");
    assert_eq!(api.send(get("/problems/rate-limited", "")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn when_the_backlog_breaks_its_target_the_heaviest_caller_is_refused_first() {
    let memory = Memory::default();
    let deps = deps_with(&memory, Vec::new());
    let overload = deps.facade.overload.clone();
    let api = Api { memory, router: api::router(deps).unwrap() };
    let (heavy, light) = (Uuid::from_u128(5), Uuid::from_u128(6));
    let second = async |number: usize| {
        let mut refused = Vec::new();
        for place in 0..40 {
            let callers = if place == 0 { vec![light, heavy] } else { vec![heavy] };
            for caller in callers {
                let answer = api.send(of(caller, &format!("{number}-{place}"))).await;
                if answer.status != StatusCode::ACCEPTED {
                    answer.expect_problem(429, "overloaded");
                    assert_eq!(answer.header("retry-after"), "7");
                    refused.push(caller);
                }
            }
        }
        refused
    };
    let next_second = |backlog| {
        overload.learn(Duration::from_secs(backlog));
        overload.next_second(Duration::from_secs(5));
    };
    assert_eq!(second(1).await, [heavy; 0]);
    next_second(7);
    // Seven tenths of 41 commands: all of the one's, and what is left of the other's 40.
    assert_eq!(second(2).await, [heavy; 13]);
    // Who only reads makes no work.
    api.send(get("/api/v1/operations/nonsense", "")).await.expect_problem(404, "not-found");
    next_second(1);
    next_second(0);
    assert_eq!(second(3).await, [heavy; 0]);
}
