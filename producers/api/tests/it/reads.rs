//! Read routes, over rows that the test puts there.

use axum::body::Body;
use daybook_facade::read_route::{Answer, Parameter, ParameterKind, ReadRoute};
use daybook_facade::{Access, OperationRow, Param, ReadMount};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Api, CALLER, get, request};

const ONE: &str = "one course";
const MANY: &str = "many enrollments";
const OWN: &str = "one of one's own";
const ID: Uuid = Uuid::from_u128(4);

fn mounts() -> Vec<ReadMount> {
    let route = |path, sql, parameters, answer, access| ReadRoute {
        path,
        summary: "For tests.",
        projection: "of-tests",
        sql,
        parameters,
        answer,
        access,
    };
    let cursor = vec![("opened_at", ParameterKind::Time), ("enrollment_id", ParameterKind::Uuid)];
    let owner =
        Access::Owner { parameter: "person_id", claim: "sub", own: "enrollments:read", any: "enrollments:read-any" };
    let of_person =
        vec![Parameter::path("person_id", ParameterKind::Uuid), Parameter::query("status", ParameterKind::Text)];
    let own = vec![Parameter::path("payment_id", ParameterKind::Uuid), Parameter::claim("sub", ParameterKind::Uuid)];
    let course = vec![Parameter::path("course_id", ParameterKind::Uuid)];
    let many = Answer::Many { cursor, page_max: 2 };
    [
        route("/courses/{course_id}", ONE, course, Answer::One, Access::Public),
        route("/people/{person_id}/enrollments", MANY, of_person, many, owner),
        route("/payments/{payment_id}", OWN, own, Answer::One, Access::Scope("payments:read")),
    ]
    .map(|route| ReadMount { route, topic: "of.tests.events.v1" })
    .to_vec()
}

fn api() -> Api {
    Api::with_reads(mounts())
}

fn anonymous(path: &str) -> http::Request<Body> {
    request(Method::GET, path).body(Body::empty()).unwrap()
}

fn course_path() -> String {
    format!("/api/v1/courses/{ID}")
}

fn list_path() -> String {
    format!("/api/v1/people/{CALLER}/enrollments")
}

fn enrollment(number: u128) -> Value {
    json!({"enrollment_id": Uuid::from_u128(number), "opened_at": format!("2026-03-0{number}T12:00:00.5+00:00")})
}

#[tokio::test]
async fn a_public_row_is_for_everybody_and_has_an_entity_tag() {
    let api = api();
    api.memory.put_rows(ONE, vec![json!({"course_id": ID, "revision": 3})]);
    let answer = api.send(anonymous(&course_path())).await;
    assert_eq!((answer.status, answer.json()["revision"].as_i64()), (StatusCode::OK, Some(3)));
    let tag = answer.header("etag").to_owned();
    assert!(tag.starts_with("\"3-"), "{tag}");
    assert_eq!(api.memory.questions(), [(ONE, vec![Param::Uuid(Some(ID))])]);

    let asked_again = |tag: &str| {
        request(Method::GET, &course_path()).header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap()
    };
    let unchanged = api.send(asked_again(&format!("\"x\", W/{tag}"))).await;
    assert_eq!((unchanged.status, unchanged.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(unchanged.header("etag"), tag);
    api.memory.put_rows(ONE, vec![json!({"course_id": ID, "revision": 4})]);
    assert_eq!(api.send(asked_again(&tag)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_row_is_not_found_and_neither_is_what_is_no_id() {
    let api = api();
    api.send(anonymous(&course_path())).await.expect_problem(404, "not-found");
    api.send(anonymous("/api/v1/courses/none")).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn an_answer_says_how_old_it_is() {
    let api = api();
    api.memory.put_rows(ONE, vec![json!({"course_id": ID})]);
    api.memory.set_offsets(5, 5);
    assert_eq!(api.send(anonymous(&course_path())).await.header("daybook-lag-ms"), "0");
    api.memory.set_unreadable(true);
    api.send(anonymous(&course_path())).await.expect_problem(503, "unavailable");
}

#[tokio::test]
async fn only_the_owner_and_who_may_read_all_see_rows() {
    let api = api();
    let other = format!("/api/v1/people/{}/enrollments", Uuid::from_u128(5));
    assert_eq!(api.send(get(&list_path(), "enrollments:read")).await.status, StatusCode::OK);
    assert_eq!(api.send(get(&other, "enrollments:read-any")).await.status, StatusCode::OK);
    api.send(get(&other, "enrollments:read")).await.expect_problem(403, "not-yours");
    api.send(get(&list_path(), "courses:read")).await.expect_problem(403, "scope-missing");
    api.send(anonymous(&list_path())).await.expect_problem(401, "token-missing");
    assert_eq!(api.memory.questions().len(), 2);
}

#[tokio::test]
async fn a_claim_is_taken_from_the_token() {
    let api = api();
    api.memory.put_rows(OWN, vec![json!({"payment_id": ID})]);
    let path = format!("/api/v1/payments/{ID}");
    assert_eq!(api.send(get(&path, "payments:read")).await.status, StatusCode::OK);
    assert_eq!(api.memory.questions(), [(OWN, vec![Param::Uuid(Some(ID)), Param::Uuid(Some(CALLER))])]);
}

#[tokio::test]
async fn pages_follow_each_other_by_cursor_and_link() {
    let api = api();
    // One more than the page holds.
    api.memory.put_rows(MANY, vec![enrollment(3), enrollment(2), enrollment(1)]);
    let first = api.send(get(&(list_path() + "?status=a%26b"), "enrollments:read")).await;
    let page = first.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let link = first.header("link");
    let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    assert!(next.contains(page["next"].as_str().unwrap()) && next.ends_with("&status=a%26b"), "{next}");

    api.memory.put_rows(MANY, vec![enrollment(1)]);
    let last = api.send(get(next, "enrollments:read")).await;
    assert_eq!((last.header("link"), &last.json()["next"]), ("", &Value::Null));
    let questions = api.memory.questions();
    let status = Param::Text(Some("a&b".into()));
    let limit = Param::Bigint(Some(3));
    let nothing = [Param::Timestamp(None), Param::Uuid(None)];
    let begins = [Param::Uuid(Some(CALLER)), status];
    assert_eq!(questions[0].1, [&begins[..], &nothing, std::slice::from_ref(&limit)].concat());
    let after =
        [Param::Timestamp(Some("2026-03-02T12:00:00.5Z".parse().unwrap())), Param::Uuid(Some(Uuid::from_u128(2)))];
    assert_eq!(questions[1].1, [&begins[..], &after, &[limit]].concat());
}

#[tokio::test]
async fn bad_parameters_are_refused() {
    let api = api();
    for (query, code) in [
        ("?limit=0", "parameter-invalid"),
        ("?limit=3", "parameter-invalid"),
        ("?limit=x", "parameter-invalid"),
        ("?unknown=1", "parameter-invalid"),
        ("?status=a&status=b", "parameter-invalid"),
        ("?after_operation=x", "parameter-invalid"),
        ("?cursor=!", "cursor-invalid"),
        ("?cursor=WzFd", "cursor-invalid"),
        ("?cursor=WyJhIiwiYiJd", "cursor-invalid"),
    ] {
        api.send(get(&(list_path() + query), "enrollments:read")).await.expect_problem(400, code);
    }
    assert!(api.memory.questions().is_empty());
}

#[tokio::test]
async fn one_can_wait_for_ones_own_writes() {
    let api = api();
    api.memory.put_rows(MANY, vec![enrollment(1)]);
    api.memory.set_offsets(7, 7);
    let operation = OperationRow {
        operation_id: ID,
        caller_id: Some(CALLER),
        closing_type: Some("daybook.learning.LearnerEnrolled".into()),
        succeeded: Some(true),
        ..OperationRow::default()
    };
    api.memory.put_operation(operation.clone());
    let path = format!("{}?after_operation={ID}", list_path());
    assert_eq!(api.send(get(&path, "enrollments:read")).await.status, StatusCode::OK);

    // The projection is behind: the answer waits for it.
    api.memory.set_offsets(8, 7);
    let request = get(&path, "enrollments:read");
    let (answer, ()) = tokio::join!(api.send(request), async {
        tokio::task::yield_now().await;
        assert_eq!(api.memory.questions().len(), 1);
        api.memory.set_offsets(8, 8);
    });
    assert_eq!(answer.status, StatusCode::OK);

    api.memory.put_operation(OperationRow { caller_id: Some(Uuid::from_u128(5)), ..operation });
    api.send(get(&path, "enrollments:read")).await.expect_problem(400, "parameter-invalid");
}
