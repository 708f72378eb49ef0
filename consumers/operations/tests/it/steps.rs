//! The tables of steps.

use daybook_consumer::testing::{Bench, shuffle_proof};
use daybook_events::{
    CourseId, EnrollmentId, EnrollmentSagaEvent, LearnerNotEnrolled, PersonId, SagaAdvanced, SagaEnded, SagaStarted,
    Shard,
};
use operations::{EnrollmentSteps, OperationSteps, STEP_TABLES};
use serde_json::json;
use uuid::Uuid;

const INSTANCE: Uuid = Uuid::from_u128(1);

fn started(instance_id: Uuid) -> SagaStarted {
    SagaStarted {
        saga: "enrollment-saga".to_owned(),
        instance_id,
        version: 1,
        round: 1,
        command: "daybook.learning.EnrollLearner".to_owned(),
        command_id: Uuid::from_u128(5),
        input: None,
    }
}

fn advanced(instance_id: Uuid) -> SagaAdvanced {
    SagaAdvanced {
        saga: "enrollment-saga".to_owned(),
        instance_id,
        round: 1,
        step: "reserve-seat".to_owned(),
        what: "rejected".to_owned(),
        answer_type: Some("daybook.runtime.Rejected".to_owned()),
        answer_code: Some("course-full".to_owned()),
        next_step: Some("open".to_owned()),
        command_id: None,
        attempt: 1,
        state: "compensating".to_owned(),
    }
}

fn ended(instance_id: Uuid) -> SagaEnded {
    SagaEnded {
        saga: "enrollment-saga".to_owned(),
        instance_id,
        round: 1,
        outcome: "compensated".to_owned(),
        code: Some("course-full".to_owned()),
        step: Some("reserve-seat".to_owned()),
    }
}

/// What the saga tells others in the same topic; it is no step.
fn not_enrolled(instance_id: Uuid) -> LearnerNotEnrolled {
    LearnerNotEnrolled {
        enrollment_id: EnrollmentId::new(instance_id),
        learner_id: PersonId::from_u128(11),
        course_id: CourseId::from_u128(12),
        step: "reserve-seat".to_owned(),
        code: "course-full".to_owned(),
        detail: None,
    }
}

#[test]
fn each_transition_is_a_row_of_the_operation_that_started_it_all() {
    let mut bench = Bench::new(&operations::parts()[1]);
    let mut position = 40;
    let mut numbered = |bench: &mut Bench| {
        position += 1;
        bench.shard =
            Some(Shard { instance: "enrollment-saga".into(), partition: 3, incarnation: 7, seq: position, prev: 0 });
        // The bench correlates a message with itself.
        bench.next_id = Uuid::from_u128(99);
    };
    numbered(&mut bench);
    bench.send(&started(INSTANCE)).unwrap();
    numbered(&mut bench);
    bench.send(&advanced(INSTANCE)).unwrap();
    numbered(&mut bench);
    bench.send(&ended(INSTANCE)).unwrap();

    let rows = bench.tables.rows("operation_step_enrollment");
    let column = |name: &str| rows.iter().map(|row| row.get(name).cloned()).collect::<Vec<_>>();
    assert_eq!(column("position"), [Some(json!(41)), Some(json!(42)), Some(json!(43))]);
    assert_eq!(column("what"), [Some(json!("started")), Some(json!("rejected")), Some(json!("ended"))]);
    assert_eq!(column("step"), [None, Some(json!("reserve-seat")), Some(json!("reserve-seat"))]);
    assert_eq!(column("code"), [None, Some(json!("course-full")), Some(json!("course-full"))]);
    assert_eq!(column("state"), [Some(json!("running")), Some(json!("compensating")), Some(json!("compensated"))]);
    assert!(rows.iter().all(|row| row["incarnation"] == 7 && row["instance_id"] == json!(INSTANCE)));
}

#[test]
fn rows_are_equal_in_whatever_order_instances_come() {
    let events = [1, 2, 3].map(Uuid::from_u128).into_iter().flat_map(|instance| -> [EnrollmentSagaEvent; 4] {
        [started(instance).into(), advanced(instance).into(), not_enrolled(instance).into(), ended(instance).into()]
    });
    let tables = shuffle_proof::<OperationSteps<EnrollmentSteps>>(events.collect());
    assert_eq!(tables.rows("operation_step_enrollment").len(), 9);
}

#[test]
fn each_saga_has_a_table_of_its_own() {
    let parts = operations::parts();
    let specs: Vec<_> = parts[1..].iter().map(|part| part.leaf.spec()).collect();
    assert_eq!(specs.iter().map(|spec| spec.tables[0].name).collect::<Vec<_>>(), STEP_TABLES);
    assert_eq!(
        specs.iter().map(|spec| spec.input).collect::<Vec<_>>(),
        ["learning.enrollment-saga.events.v1", "billing.payment-saga.events.v1", "learning.withdrawal-saga.events.v1"]
    );
}
