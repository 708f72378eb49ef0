//! Definitions that contradict themselves are refused.

use daybook_events::{CancelEnrollment, EnrollmentId};

use super::{Toy, ask, blank, close, gift, open, opened, reserved, take_back, toy, welcome};
use crate::{DAY, DefinitionError, MINUTE, StepContext, Versions, prove};

fn refused(saga: Result<crate::Saga<Toy>, DefinitionError>) -> DefinitionError {
    saga.err().expect("it is refused")
}

#[test]
fn a_saga_has_steps() {
    assert_eq!(refused(blank().build()), DefinitionError::Length(0));
}

#[test]
fn steps_are_told_apart_by_name() {
    let mut saga = blank();
    saga.step("open", open).on(opened).undo(close).alarm_after(MINUTE);
    saga.step("open", gift).on(reserved).undo(take_back).alarm_after(MINUTE);
    assert_eq!(refused(saga.build()), DefinitionError::NamedTwice("open"));
}

#[test]
fn there_is_one_pivot() {
    let mut saga = blank();
    saga.step("open", open).on(opened).pivot().alarm_after(MINUTE);
    saga.step("gift", gift).on(reserved).pivot().alarm_after(MINUTE);
    assert_eq!(refused(saga.build()), DefinitionError::SecondPivot("gift"));
}

#[test]
fn what_may_be_turned_back_has_an_undo() {
    let mut saga = blank();
    saga.step("open", open).on(opened).alarm_after(MINUTE);
    saga.step("gift", gift).on(reserved).pivot().alarm_after(MINUTE);
    assert_eq!(refused(saga.build()), DefinitionError::NotUndoable("open"));
}

#[test]
fn a_step_is_covered_only_by_an_earlier_undo_in_the_same_topic() {
    let mut saga = blank();
    let open = saga.step("open", open).on(opened).undo(close).alarm_after(MINUTE);
    saga.step("gift", gift).on(reserved).covered_by(open).alarm_after(MINUTE);
    assert_eq!(refused(saga.build()), DefinitionError::BadCover("gift"));
}

#[test]
fn silence_does_not_undo_from_the_pivot_on() {
    let mut saga = blank();
    saga.step("open", open).on(opened).pivot().undo_after(MINUTE);
    assert_eq!(refused(saga.build()), DefinitionError::UndoBeyondPivot("open"));
}

#[test]
fn nothing_waits_for_best_effort() {
    let mut saga = blank();
    saga.step("welcome", welcome).best_effort(DAY);
    saga.step("open", open).on(opened).undo(close).alarm_after(MINUTE);
    assert_eq!(refused(saga.build()), DefinitionError::AfterBestEffort("open"));
}

#[test]
fn an_answer_that_may_be_bad_is_looked_at() {
    let mut saga = blank();
    saga.step("welcome", welcome).acknowledged().pivot().alarm_after(MINUTE);
    assert_eq!(refused(saga.build()), DefinitionError::AnswerIgnored("welcome"));
}

#[test]
fn a_deadline_takes_time() {
    let mut saga = blank();
    saga.step("open", open).on(opened).undo(close).alarm_after(0);
    assert_eq!(refused(saga.build()), DefinitionError::NoTime("open"));
}

#[test]
fn an_undo_under_another_key_is_found_by_the_prover() {
    fn close_another(_: &Toy, _: &StepContext) -> CancelEnrollment {
        CancelEnrollment {
            enrollment_id: EnrollmentId::from_u128(77),
            round: None,
            reason: "not-completed".into(),
            within_refund_window: false,
        }
    }
    let mut saga = blank();
    saga.step("open", open).on(opened).undo(close_another).alarm_after(MINUTE);
    let saga = Versions::of(saga.build().unwrap());
    let found = prove(&saga, &ask()).expect_err("the undo goes elsewhere");
    assert!(found.violation.contains("undo-under-another-key"), "{found}");
}

#[test]
fn a_description_tells_everything_that_instances_depend_on() {
    let expected = "\
payment-saga version 1: started by CollectPayment, closed by PaymentCollected or PaymentNotCollected, canceled by CancelCollection
1. open: OpenEnrollment -> EnrollmentOpened; undo CancelEnrollment -> EnrollmentCanceled; alarm after 60000 ms
2. reserve: ReserveSeat -> SeatReserved; undo ReleaseSeat -> SeatReleased; undo after 60000 ms
3. confirm: ConfirmSeat -> SeatConfirmed; undone with reserve; alarm after 60000 ms; skippable
4. authorize (conditional): AuthorizePayment -> PaymentAuthorized | PaymentDeclined; undo CancelPayment -> PaymentCanceled; undo after 60000 ms
5. activate (pivot): ActivateEnrollment -> EnrollmentActivated; undone with open; alarm after 60000 ms; skippable
6. gift: ReserveSeat -> SeatReserved; undo ReleaseSeat -> SeatReleased; alarm after 60000 ms
7. welcome: SendNotification -> NotificationSent | NotificationDeferred | NotificationSuppressed | NotificationFailed; best effort, given up after 86400000 ms; skippable
";
    assert_eq!(toy().describe(), expected);
}
