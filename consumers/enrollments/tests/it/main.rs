//! Given what happened, when asked, then what happens.

use daybook_consumer::testing::{Given, given, shuffle_proof};
use daybook_events::{
    ActivateEnrollment, CancelEnrollment, CompleteEnrollment, CourseId, Currency, EnrollmentActivated,
    EnrollmentCanceled, EnrollmentCompleted, EnrollmentEvent, EnrollmentId, EnrollmentOpened, Money, OpenEnrollment,
    OrganizationId, PaymentId, PersonId, Timestamp,
};
use enrollments::codes::*;
use enrollments::{EnrollmentList, Enrollments};

const LEARNER: PersonId = PersonId::from_u128(1);
const COURSE: CourseId = CourseId::from_u128(2);
const ORGANIZATION: OrganizationId = OrganizationId::from_u128(3);
const PRICE: Money = Money::new(12_500, Currency::USD);
const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
const REFUND_DAYS: i32 = 14;

fn id() -> EnrollmentId {
    EnrollmentId::of(LEARNER, COURSE)
}

fn payment(round: i64) -> PaymentId {
    PaymentId::of(id(), round)
}

fn open() -> OpenEnrollment {
    OpenEnrollment { enrollment_id: id(), learner_id: LEARNER, course_id: COURSE }
}

fn opened(round: i64) -> EnrollmentOpened {
    EnrollmentOpened { enrollment_id: id(), learner_id: LEARNER, course_id: COURSE, round }
}

fn activate(round: i64) -> ActivateEnrollment {
    ActivateEnrollment {
        enrollment_id: id(),
        round,
        revision: 4,
        organization_id: ORGANIZATION,
        price: PRICE,
        payment_id: Some(payment(round)),
        credits_hundredths: 150,
        credit_type: "ama-pra-1".to_owned(),
        refund_days: REFUND_DAYS,
    }
}

fn activated(round: i64) -> EnrollmentActivated {
    EnrollmentActivated {
        enrollment_id: id(),
        learner_id: LEARNER,
        course_id: COURSE,
        round,
        revision: 4,
        organization_id: ORGANIZATION,
        price: PRICE,
        payment_id: Some(payment(round)),
        credits_hundredths: 150,
        credit_type: "ama-pra-1".to_owned(),
        refund_until: NOW.plus_days(REFUND_DAYS.into()),
    }
}

fn undo(round: i64) -> CancelEnrollment {
    CancelEnrollment {
        enrollment_id: id(),
        round: Some(round),
        reason: "not-completed".to_owned(),
        within_refund_window: false,
    }
}

fn withdraw() -> CancelEnrollment {
    CancelEnrollment { enrollment_id: id(), round: None, reason: "withdrawn".to_owned(), within_refund_window: true }
}

fn canceled_open(round: i64) -> EnrollmentCanceled {
    EnrollmentCanceled {
        enrollment_id: id(),
        learner_id: Some(LEARNER),
        course_id: Some(COURSE),
        round,
        reason: "not-completed".to_owned(),
        was_active: false,
        organization_id: None,
        price: None,
        payment_id: None,
    }
}

fn canceled_active(round: i64, reason: &str) -> EnrollmentCanceled {
    EnrollmentCanceled {
        reason: reason.to_owned(),
        was_active: true,
        organization_id: Some(ORGANIZATION),
        price: Some(PRICE),
        payment_id: Some(payment(round)),
        ..canceled_open(round)
    }
}

fn complete() -> CompleteEnrollment {
    CompleteEnrollment { enrollment_id: id(), completed_at: NOW }
}

fn completed(round: i64) -> EnrollmentCompleted {
    EnrollmentCompleted {
        enrollment_id: id(),
        learner_id: LEARNER,
        course_id: COURSE,
        round,
        revision: 4,
        credits_hundredths: 150,
        credit_type: "ama-pra-1".to_owned(),
        completed_at: NOW,
    }
}

fn enrollment(events: impl IntoIterator<Item = EnrollmentEvent>) -> Given<Enrollments> {
    given::<Enrollments>(events).at(NOW)
}

fn active() -> Given<Enrollments> {
    enrollment([opened(1).into(), activated(1).into()])
}

#[test]
fn an_enrollment_is_opened_activated_and_completed() {
    enrollment([])
        .when(open())
        .then([opened(1).into()])
        .when(open())
        .then_already(opened(1))
        .when(activate(1))
        .then([activated(1).into()])
        .when(activate(1))
        .then_already(activated(1))
        .when(open())
        .then_rejected(ALREADY_ENROLLED)
        .when(complete())
        .then([completed(1).into()])
        .when(complete())
        .then_already(completed(1))
        .when(open())
        .then_rejected(ALREADY_ENROLLED);
}

#[test]
fn the_id_follows_from_learner_and_course() {
    let other = OpenEnrollment { course_id: CourseId::from_u128(8), ..open() };
    enrollment([]).when(other).then_rejected(ENROLLMENT_ID_WRONG);
}

#[test]
fn enrolling_again_after_a_cancellation_is_a_new_round_that_the_old_one_cannot_touch() {
    enrollment([opened(1).into(), canceled_open(1).into()])
        .when(open())
        .then([opened(2).into()])
        .when(undo(1))
        .then_already(canceled_open(1))
        .when(activate(1))
        .then_rejected(NOT_OPEN)
        .when(activate(2))
        .then([activated(2).into()]);
}

#[test]
fn an_undo_is_accepted_in_every_state() {
    let never = EnrollmentCanceled { learner_id: None, course_id: None, ..canceled_open(0) };
    enrollment([]).when(undo(1)).then_already(never);
    enrollment([opened(1).into()])
        .when(undo(1))
        .then([canceled_open(1).into()])
        .when(undo(1))
        .then_already(canceled_open(1));
    active().when(undo(1)).then([canceled_active(1, "not-completed").into()]);
    enrollment([opened(1).into(), activated(1).into(), completed(1).into()]).when(undo(1)).then([canceled_active(
        1,
        "not-completed",
    )
    .into()]);
}

#[test]
fn an_undo_that_was_never_told_its_round_touches_only_what_is_open() {
    let unanswered = || CancelEnrollment { round: None, ..undo(1) };
    let never = EnrollmentCanceled { learner_id: None, course_id: None, ..canceled_open(0) };
    enrollment([]).when(unanswered()).then_already(never);
    enrollment([opened(1).into()])
        .when(unanswered())
        .then([canceled_open(1).into()])
        .when(unanswered())
        .then_already(canceled_open(1));
    // It was rejected, or opened by an earlier flow: the round is paid for and stays.
    active()
        .when(unanswered())
        .then_already(canceled_open(0))
        .when(withdraw())
        .then([canceled_active(1, "withdrawn").into()]);
    enrollment([opened(1).into(), activated(1).into(), completed(1).into()])
        .when(unanswered())
        .then_already(canceled_open(0));
}

#[test]
fn a_learner_withdraws_within_the_refund_window_only() {
    let last_moment = NOW.plus_days(REFUND_DAYS.into());
    active()
        .at(last_moment)
        .when(withdraw())
        .then([canceled_active(1, "withdrawn").into()])
        .when(withdraw())
        .then_already(canceled_active(1, "withdrawn"));
    active().at(last_moment.plus_ms(1)).when(withdraw()).then_rejected(WINDOW_OVER);
}

#[test]
fn only_what_is_active_can_be_withdrawn_from() {
    enrollment([]).when(withdraw()).then_rejected(NOT_ACTIVE);
    enrollment([opened(1).into()]).when(withdraw()).then_rejected(NOT_ACTIVE);
    enrollment([opened(1).into(), canceled_open(1).into()]).when(withdraw()).then_rejected(NOT_ACTIVE);
    let earlier_round = CancelEnrollment { round: Some(7), ..withdraw() };
    active().when(earlier_round).then_rejected(NOT_ACTIVE);
}

#[test]
fn what_was_canceled_is_neither_activated_nor_completed() {
    let canceled = || enrollment([opened(1).into(), canceled_open(1).into()]);
    canceled().when(activate(1)).then_rejected(NOT_OPEN);
    canceled().when(complete()).then_rejected(NOT_ACTIVE);
    enrollment([]).when(activate(1)).then_rejected(NOT_OPEN);
}

#[test]
fn the_list_has_a_row_per_round_whatever_the_order() {
    let other = EnrollmentId::of(PersonId::from_u128(9), COURSE);
    let events: Vec<EnrollmentEvent> = vec![
        opened(1).into(),
        canceled_open(1).into(),
        EnrollmentOpened { enrollment_id: other, ..opened(1) }.into(),
        opened(2).into(),
        EnrollmentActivated { enrollment_id: other, ..activated(1) }.into(),
        activated(2).into(),
    ];
    let tables = shuffle_proof::<EnrollmentList>(events);
    let status: Vec<_> = tables.rows("enrollment").iter().map(|row| row["status"].clone()).collect();
    assert_eq!(status.len(), 3);
    assert_eq!(status.iter().filter(|status| *status == "active").count(), 2);
    let second = tables
        .rows("enrollment")
        .into_iter()
        .find(|row| row["enrollment_id"] == id().to_string() && row["round"] == 2)
        .expect("the second round has a row");
    assert_eq!(second.get("cancel_reason"), None);
}
