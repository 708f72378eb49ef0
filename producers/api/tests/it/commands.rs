//! What a good command comes to.

use daybook_events::{
    ChangeContact, CourseId, EnrollLearner, EnrollmentId, GrantRole, Message, OperationAccepted, PersonId,
    PublishCourse, RefundPayment, RegisterOrganization, RegisterPerson, ReverseEntry, RevisePublishedCourse,
    SetNotificationPreferences, Timestamp, WithdrawLearner, key,
};
use daybook_facade::testing::{NOW_SECONDS, token};
use daybook_facade::{NotPublished, OperationRow};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{ALL_SCOPES, Api, CALLER, COURSE, TENANT, command, course, keyed, person};

const COURSES: &str = "/api/v1/courses";

#[tokio::test]
async fn a_command_is_published_before_it_is_accepted() {
    let api = Api::new();
    let answer = api.send(command(Method::POST, COURSES, &course())).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let operation = answer.json();
    let id: Uuid = operation["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/operations/{id}"));
    assert_eq!(operation["status"], "accepted");
    assert_eq!(operation["command"], PublishCourse::FULL_NAME);
    assert_eq!(operation["target"], COURSES);

    let published = api.memory.published();
    let [command, acceptance] = published.as_slice() else { panic!("{published:?}") };
    assert_eq!((command.topic, command.type_name), (PublishCourse::TOPIC, PublishCourse::FULL_NAME));
    assert_eq!(command.key, key::of(COURSE));
    let header = &command.header;
    assert_eq!((header.message_id, header.correlation_id, header.causation_id), (id, id, None));
    assert_eq!(header.actor.as_ref().map(|actor| (actor.id, &*actor.scopes)), Some((CALLER, ALL_SCOPES)));
    assert_eq!(header.tenant, Some(TENANT));
    assert_eq!(header.time, Timestamp(NOW_SECONDS * 1_000_000));
    let reply_to = header.reply_to.as_ref().unwrap();
    assert_eq!((&*reply_to.topic, reply_to.key), (OperationAccepted::TOPIC, id));
    assert!(header.shard.is_none());

    assert_eq!((acceptance.topic, acceptance.key.as_slice()), (OperationAccepted::TOPIC, &key::of(id)[..]));
    assert_eq!(acceptance.header.correlation_id, id);
    let [accepted] = <[OperationAccepted; 1]>::try_from(api.memory.messages()).unwrap();
    assert_eq!((accepted.operation_id.uuid(), accepted.caller_id.uuid()), (id, CALLER));
    assert_eq!(Some(accepted.request_hash), header.request_hash.map(|hash| hash.to_vec()));
    assert_eq!((accepted.target.as_str(), accepted.command_topic.as_str()), (COURSES, PublishCourse::TOPIC));
}

#[tokio::test]
async fn the_body_becomes_the_command() {
    let api = Api::new();
    api.send(command(Method::POST, COURSES, &course())).await;
    let [published] = <[PublishCourse; 1]>::try_from(api.memory.messages()).unwrap();
    assert_eq!(published.organization_id.uuid(), TENANT);
    assert_eq!((published.title.as_str(), published.price.amount_minor), ("Airway management", 12_500));
    assert_eq!(published.available_from, Some("2026-04-01T00:00:00Z".parse().unwrap()));
    assert_eq!(published.lessons.len(), 1);
}

#[tokio::test]
async fn the_same_request_is_the_same_operation_and_is_published_once() {
    let api = Api::new();
    let first = api.send(command(Method::POST, COURSES, &course())).await.json();
    let again = api.send(command(Method::POST, COURSES, &course())).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    assert_eq!(again.json()["id"], first["id"]);
    assert_eq!(api.memory.published().len(), 2);

    let other = api.send(keyed(Method::POST, COURSES, &course(), "key-2")).await.json();
    assert_ne!(other["id"], first["id"]);
}

#[tokio::test]
async fn another_process_knows_the_operation_by_the_read_store() {
    let (here, there) = (Api::new(), Api::new());
    let first = here.send(command(Method::POST, COURSES, &course())).await.json();
    let hash = hex::encode(here.memory.published()[0].header.request_hash.unwrap());
    let id: Uuid = first["id"].as_str().unwrap().parse().unwrap();
    let row = OperationRow { operation_id: id, request_hash: Some(hash), ..OperationRow::default() };
    there.memory.put_operation(row);
    assert_eq!(there.send(command(Method::POST, COURSES, &course())).await.json()["id"], first["id"]);
    assert!(there.memory.published().is_empty());
    let mut changed = course();
    changed["title"] = json!("Another title");
    let answer = there.send(command(Method::POST, COURSES, &changed)).await;
    answer.expect_problem(422, "idempotency-key-reused");
    assert!(there.memory.published().is_empty());
}

#[tokio::test]
async fn white_space_and_the_order_of_fields_make_no_other_request() {
    let api = Api::new();
    api.send(command(Method::POST, COURSES, &course())).await;
    let mut request = command(Method::POST, COURSES, &course());
    *request.body_mut() = serde_json::to_string_pretty(&course()).unwrap().into();
    assert_eq!(api.send(request).await.status, StatusCode::ACCEPTED);
    assert_eq!(api.memory.messages::<PublishCourse>().len(), 1);
}

#[tokio::test]
async fn the_key_of_another_caller_is_another_key() {
    let api = Api::new();
    let mine = api.send(command(Method::POST, COURSES, &course())).await.json();
    let mut request = command(Method::POST, COURSES, &course());
    let token = token(Uuid::from_u128(5), Some(TENANT), "courses:write");
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    let theirs = api.send(request).await;
    assert_eq!(theirs.status, StatusCode::ACCEPTED);
    assert_ne!(theirs.json()["id"], mine["id"]);
}

#[tokio::test]
async fn what_kafka_has_not_acknowledged_is_not_known_to_be_accepted() {
    let api = Api::new();
    api.memory.fail(Some(NotPublished::NotKnown));
    let answer = api.send(command(Method::POST, COURSES, &course())).await;
    answer.expect_problem(503, "not-known-to-be-accepted");
    assert_eq!(answer.header("retry-after"), "2");
    let location = answer.header("location").to_owned();
    api.memory.fail(None);
    let again = api.send(command(Method::POST, COURSES, &course())).await;
    assert_eq!((again.status, again.header("location")), (StatusCode::ACCEPTED, location.as_str()));

    api.memory.fail(Some(NotPublished::Refused("the topic is missing".to_owned())));
    let answer = api.send(keyed(Method::POST, COURSES, &course(), "key-2")).await;
    answer.expect_problem(503, "not-accepted");
    assert!(!answer.text.contains("topic"), "{answer:?}");
}

#[tokio::test]
async fn commands_go_on_while_the_read_store_does_not() {
    let api = Api::new();
    api.memory.set_unreadable(true);
    assert_eq!(api.send(command(Method::POST, COURSES, &course())).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_waiting_answer_has_the_outcome_or_says_that_there_is_none_yet() {
    let api = Api::new();
    let id: Uuid =
        api.send(command(Method::POST, COURSES, &course())).await.json()["id"].as_str().unwrap().parse().unwrap();
    let waiting = || {
        let mut request = command(Method::POST, COURSES, &course());
        request.headers_mut().insert("prefer", "wait=1".parse().unwrap());
        request
    };
    let pending = api.send(waiting()).await;
    assert_eq!(pending.status, StatusCode::ACCEPTED);
    assert_eq!(pending.header("preference-applied"), "wait=1");

    let closing = json!({"course_id": COURSE}).as_object().cloned();
    api.memory.put_operation(OperationRow {
        operation_id: id,
        closing_type: Some("daybook.learning.CoursePublished".to_owned()),
        closing,
        succeeded: Some(true),
        ..OperationRow::default()
    });
    let answer = api.send(waiting()).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (StatusCode::OK, "wait=1"));
    let operation = answer.json();
    assert_eq!(operation["status"], "succeeded");
    assert_eq!(operation["result"]["type"], "daybook.learning.CoursePublished");
    assert_eq!(operation["result"]["data"]["course_id"], json!(COURSE));
}

#[tokio::test]
async fn a_persons_data_leaves_this_process_sealed_only() {
    let api = Api::new();
    let answer = api.send(command(Method::POST, "/api/v1/people", &person())).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let [registered] = <[RegisterPerson; 1]>::try_from(api.memory.messages()).unwrap();
    assert_eq!(registered.person_id, PersonId::from_u128(77));
    let shown = format!("{:?} {answer:?}", api.memory.published());
    let bytes: Vec<u8> = api.memory.published().into_iter().flat_map(|message| message.body).collect();
    for secret in ["Jane", "Roe", "jane.roe", "4155550100"] {
        assert!(!shown.contains(secret));
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}

#[tokio::test]
async fn one_may_change_ones_own_profile_and_nobody_elses() {
    let api = Api::new();
    let contact = json!({"name": "Jane Roe", "email": "jane@example.org", "language": "en", "time_zone": "Etc/UTC"});
    let request = |person: Uuid| {
        let mut request = command(Method::PUT, &format!("/api/v1/people/{person}/contact"), &contact);
        let token = token(CALLER, None, "profile:write");
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        request
    };
    assert_eq!(api.send(request(CALLER)).await.status, StatusCode::ACCEPTED);
    api.send(request(Uuid::from_u128(5))).await.expect_problem(403, "not-yours");
    assert_eq!(api.memory.messages::<ChangeContact>().len(), 1);
}

#[tokio::test]
async fn if_match_travels_as_the_expected_revision() {
    let api = Api::new();
    let mut revision = course();
    revision.as_object_mut().unwrap().remove("course_id");
    let path = format!("{COURSES}/{COURSE}");
    let mut request = command(Method::PUT, &path, &revision);
    request.headers_mut().insert(header::IF_MATCH, "\"4-0a1b\"".parse().unwrap());
    assert_eq!(api.send(request).await.status, StatusCode::ACCEPTED);
    let [revised] = <[RevisePublishedCourse; 1]>::try_from(api.memory.messages()).unwrap();
    assert_eq!((revised.course_id.uuid(), revised.expected_revision), (COURSE, Some(4)));

    // The same key with another precondition is another request.
    api.send(command(Method::PUT, &path, &revision)).await.expect_problem(422, "idempotency-key-reused");
}

#[tokio::test]
async fn enrolling_is_for_oneself_unless_one_may_for_all() {
    let api = Api::new();
    let price = json!({"amount_minor": 0, "currency": "USD"});
    let body = json!({"course_id": COURSE, "expected_price": price});
    assert_eq!(api.send(command(Method::POST, "/api/v1/enrollments", &body)).await.status, StatusCode::ACCEPTED);
    let [asked] = <[EnrollLearner; 1]>::try_from(api.memory.messages()).unwrap();
    let own = EnrollmentId::of(PersonId::new(CALLER), CourseId::new(COURSE));
    assert_eq!((asked.enrollment_id, asked.learner_id), (own, PersonId::new(CALLER)));

    let other = json!({"course_id": COURSE, "expected_price": price, "learner_id": Uuid::from_u128(5)});
    let answer = api.send(keyed(Method::POST, "/api/v1/enrollments", &other, "key-2")).await;
    answer.expect_problem(403, "scope-missing");
}

#[tokio::test]
async fn leaving_needs_the_course_that_the_enrollment_is_of() {
    let api = Api::new();
    let own = EnrollmentId::of(PersonId::new(CALLER), CourseId::new(COURSE));
    let path = |id: EnrollmentId| format!("/api/v1/enrollments/{id}/withdrawal");
    let body = json!({"course_id": COURSE, "reason": "no-time"});
    assert_eq!(api.send(command(Method::POST, &path(own), &body)).await.status, StatusCode::ACCEPTED);
    assert_eq!(api.memory.messages::<WithdrawLearner>()[0].enrollment_id, own);
    let theirs = EnrollmentId::of(PersonId::from_u128(5), CourseId::new(COURSE));
    api.send(command(Method::POST, &path(theirs), &body)).await.expect_problem(403, "not-yours");
}

#[tokio::test]
async fn every_other_route_makes_its_command() {
    let api = Api::new();
    let id = Uuid::from_u128(3);
    let accepted = async |method: Method, path: String, body: Value| {
        let answer = api.send(command(method, &path, &body)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {answer:?}");
    };
    let organization = json!({"name": "Airway Institute", "country": "US", "currency": "USD", "time_zone": "Etc/UTC"});
    accepted(Method::POST, "/api/v1/organizations".into(), organization).await;
    accepted(Method::POST, format!("/api/v1/people/{id}/role-grants"), json!({"role": "learner"})).await;
    accepted(Method::POST, format!("/api/v1/people/{id}/role-revocations"), json!({"role": "learner"})).await;
    accepted(Method::POST, format!("/api/v1/people/{id}/erasure"), json!({"reason": "person-request"})).await;
    accepted(Method::POST, format!("{COURSES}/{id}/withdrawal"), json!({"reason": "outdated"})).await;
    let amount = json!({"amount_minor": 500, "currency": "USD"});
    let refund = json!({"amount": amount, "reason": "duplicate"});
    accepted(Method::POST, format!("/api/v1/payments/{id}/refunds"), refund).await;
    let reversal = json!({"requested_by": Uuid::from_u128(8), "reason": "posted twice"});
    accepted(Method::POST, format!("/api/v1/organizations/{TENANT}/entries/{id}/reversal"), reversal).await;
    let preferences = json!({"language": "en", "time_zone": "Etc/UTC", "opted_out": ["digest"]});
    accepted(Method::PUT, format!("/api/v1/people/{id}/notification-preferences"), preferences).await;

    assert_eq!(api.memory.messages::<RegisterOrganization>().len(), 1);
    assert_eq!(api.memory.messages::<GrantRole>().len(), 1);
    assert_eq!(api.memory.messages::<RefundPayment>()[0].payment_id.uuid(), id);
    assert_eq!(api.memory.messages::<ReverseEntry>()[0].entry_id.uuid(), id);
    assert_eq!(api.memory.messages::<SetNotificationPreferences>()[0].recipient_id.uuid(), id);
    assert_eq!(api.memory.published().len(), 16);
}
