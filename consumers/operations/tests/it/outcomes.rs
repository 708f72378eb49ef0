//! The table of operations.

use daybook_consumer::FAULT_CODES;
use daybook_consumer::testing::Bench;
use daybook_events::{
    Actor, CourseId, CourseWithdrawn, Discarded, EnrollmentId, LearnerNotEnrolled, OperationAccepted, OperationId,
    OrganizationId, PersonId, PersonRegistered, Rejected, ReleaseSeat, Sealed, Timestamp,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const OPERATION: Uuid = Uuid::from_u128(1);
const CALLER: Uuid = Uuid::from_u128(2);
const TENANT: Uuid = Uuid::from_u128(3);

fn bench() -> Bench {
    let mut bench = Bench::new(&operations::parts()[0]);
    bench.thread.actor = Some(Actor { id: CALLER, scopes: "courses:write".into() });
    bench.thread.tenant = Some(TENANT);
    bench
}

fn accept(bench: &mut Bench) {
    bench.now = Timestamp(1_000_000);
    let accepted = OperationAccepted {
        operation_id: OperationId::new(OPERATION),
        command: "daybook.learning.WithdrawCourse".to_owned(),
        command_topic: "learning.course.commands.v1".to_owned(),
        caller_id: PersonId::new(CALLER),
        request_hash: vec![0xab; 32],
        target: "/courses/1".to_owned(),
        accepted_at: Timestamp(1_000_000),
    };
    bench.send(&accepted).unwrap();
}

fn withdrawn() -> CourseWithdrawn {
    CourseWithdrawn {
        course_id: CourseId::from_u128(9),
        organization_id: OrganizationId::new(TENANT),
        revision: 1,
        reason: "outdated".to_owned(),
    }
}

fn close(bench: &mut Bench) {
    bench.now = Timestamp(2_000_000);
    bench.reply(OPERATION, OPERATION, &withdrawn()).unwrap();
}

fn row(bench: &Bench) -> Map<String, Value> {
    let rows = bench.tables.rows("operation");
    assert_eq!(rows.len(), 1);
    rows[0].clone()
}

/// What a reply alone comes to.
fn row_of<M: daybook_events::Message>(reply: &M) -> Map<String, Value> {
    let mut bench = bench();
    bench.reply(OPERATION, OPERATION, reply).unwrap();
    row(&bench)
}

#[test]
fn acceptance_and_reply_come_to_the_same_row_in_either_order() {
    let (mut one, mut other) = (bench(), bench());
    accept(&mut one);
    close(&mut one);
    close(&mut other);
    accept(&mut other);
    assert_eq!(row(&one), row(&other));
    let row = row(&one);
    assert_eq!(row["command"], "daybook.learning.WithdrawCourse");
    assert_eq!(row["caller_id"], json!(CALLER));
    assert_eq!(row["tenant_id"], json!(TENANT));
    assert_eq!(row["request_hash"], "ab".repeat(32));
    assert_eq!(row["accepted_at"], "1970-01-01T00:00:01Z");
    assert_eq!(row["closing_type"], "daybook.learning.CourseWithdrawn");
    assert_eq!(row["closing"]["reason"], "outdated");
    assert_eq!(row["succeeded"], true);
    assert_eq!(row["closed_at"], "1970-01-01T00:00:02Z");
}

#[test]
fn the_first_reply_stays() {
    let mut bench = bench();
    close(&mut bench);
    let before = row(&bench);
    bench.reply(OPERATION, OPERATION, &withdrawn()).unwrap();
    assert_eq!(row(&bench), before);
}

#[test]
fn what_says_no_has_failed_with_its_code() {
    let rejected = row_of(&Rejected {
        key_text: "9".to_owned(),
        command: "daybook.learning.WithdrawCourse".to_owned(),
        code: "course-unknown".to_owned(),
        detail: Some("there is none".to_owned()),
    });
    assert_eq!(rejected["succeeded"], false);
    assert_eq!(rejected["code"], "course-unknown");
    assert_eq!(rejected["detail"], "there is none");
    assert_eq!(rejected["command"], "daybook.learning.WithdrawCourse");

    let discarded = Discarded { key_text: "9".to_owned(), command: String::new(), reason: "undecodable".to_owned() };
    let discarded = row_of(&discarded);
    assert_eq!((&discarded["succeeded"], &discarded["code"]), (&json!(false), &json!("undecodable")));
    assert!(!discarded.contains_key("command"), "it could not be read");

    let failed = row_of(&LearnerNotEnrolled {
        enrollment_id: EnrollmentId::from_u128(8),
        learner_id: PersonId::new(CALLER),
        course_id: CourseId::from_u128(9),
        step: "reserve-seat".to_owned(),
        code: "course-full".to_owned(),
        detail: None,
    });
    assert_eq!((&failed["succeeded"], &failed["code"]), (&json!(false), &json!("course-full")));
}

#[test]
fn sealed_fields_are_left_out() {
    let row = row_of(&PersonRegistered {
        person_id: PersonId::new(CALLER),
        name: Sealed::new(vec![1]),
        email: Sealed::new(vec![2]),
        phone: Some(Sealed::new(vec![3])),
        language: "en".to_owned(),
        time_zone: "UTC".to_owned(),
        roles: vec![],
    });
    let fields: Vec<_> = row["closing"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["language", "person_id", "roles", "time_zone"]);
}

#[test]
fn a_reply_to_another_command_changes_nothing() {
    let mut bench = bench();
    let handled = bench.reply(OPERATION, Uuid::from_u128(7), &withdrawn()).unwrap();
    assert_eq!(handled.output.changes, []);
}

#[test]
fn what_is_no_event_is_parked_under_a_known_code() {
    let command = ReleaseSeat {
        course_id: CourseId::from_u128(9),
        enrollment_id: EnrollmentId::from_u128(8),
        round: 1,
        reason: "withdrawn".to_owned(),
    };
    let fault = bench().reply(OPERATION, OPERATION, &command).unwrap_err();
    assert_eq!(fault.code, "unknown-message");
    let broken = bench().bytes(OPERATION, "daybook.learning.CourseWithdrawn", b"\xff").unwrap_err();
    assert_eq!(broken.code, "undecodable");
    for code in [fault.code, broken.code] {
        assert!(FAULT_CODES.iter().any(|known| known.name == code), "{code}");
    }
}
