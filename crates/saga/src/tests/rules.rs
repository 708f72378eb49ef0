//! The rules one by one, by hand: what the prover cannot tell from right and wrong ends.

use daybook_engine::{Leaf, Participant};
use daybook_events::{
    CancelSaga, CompensateSaga, EnrollmentOpened, Message, OperatorActed, PersonId, Rejected, ReserveSeat, RetryStep,
    SagaEnded, SeatReleased, SeatReserved, SkipStep,
};
use uuid::Uuid;

use super::{As, Bench, ask, blank, cancel, decoded, open, opened, repeatable_toy, sent, toy};
use crate::flow::resend_pause_ms;
use crate::{MINUTE, RESEND_MAX_MS, RESEND_MIN_MS, Versions, codes};

const OPENED: &str = EnrollmentOpened::FULL_NAME;
const RESERVED: &str = SeatReserved::FULL_NAME;
const CONFIRMED: &str = "daybook.learning.SeatConfirmed";
const AUTHORIZED: &str = "daybook.billing.PaymentAuthorized";
const ACTIVATED: &str = "daybook.learning.EnrollmentActivated";
const NOTIFIED: &str = "daybook.notifications.NotificationSent";

fn started() -> Bench<super::Toy> {
    let mut bench = Bench::new(Versions::of(toy()));
    bench.command(&ask()).unwrap();
    bench
}

fn after(answers: &[&str]) -> Bench<super::Toy> {
    let mut bench = started();
    for answer in answers {
        bench.answer(answer).unwrap();
    }
    bench
}

fn code(out: &daybook_engine::Output) -> String {
    decoded::<Rejected>(out).code
}

#[test]
fn the_start_is_answered_before_best_effort() {
    let mut bench = after(&[OPENED, RESERVED, CONFIRMED, AUTHORIZED, ACTIVATED]);
    let out = bench.answer(RESERVED).unwrap();
    assert_eq!(sent(&out), ["PaymentCollected", "SendNotification"]);
    assert_eq!(bench.status(), "running");
    let out = bench.answer(NOTIFIED).unwrap();
    assert_eq!(sent(&out), [""; 0]);
    assert_eq!(decoded::<SagaEnded>(&out).outcome, "completed");
    assert_eq!((bench.status().as_str(), bench.row.unwrap().due), ("done", None));
}

#[test]
fn every_transition_is_in_the_book_and_in_the_history() {
    let mut bench = Bench::new(Versions::of(toy()));
    let out = bench.command(&ask()).unwrap();
    let events = |out: &daybook_engine::Output| {
        out.messages.iter().filter(|emit| emit.topic == "billing.payment-saga.events.v1").count()
    };
    assert_eq!((events(&out), out.history.len()), (1, 1));
    assert_eq!(bench.row.as_ref().unwrap().number, 1);
    let out = bench.answer(OPENED).unwrap();
    assert_eq!((events(&out), out.history.len()), (1, 1));
    assert!(out.history[0].contains("\"next_step\":\"reserve\""), "{}", out.history[0]);
    assert_eq!(bench.row.as_ref().unwrap().number, 2);
}

#[test]
fn a_start_while_running_changes_nothing() {
    let mut bench = started();
    let row = bench.row.clone();
    let out = bench.command(&ask()).unwrap();
    assert_eq!((code(&out).as_str(), out.rejected), (codes::ALREADY_RUNNING, true));
    assert_eq!(bench.row, row);
}

#[test]
fn a_saga_without_a_cancel_command_begins_a_new_round_after_its_end() {
    let mut bench = Bench::new(Versions::of(repeatable_toy()));
    bench.command(&ask()).unwrap();
    let first = bench.awaited_id();
    bench.reject("already-enrolled").unwrap();
    assert_eq!(bench.status(), "failed");
    bench.command(&ask()).unwrap();
    assert_eq!((bench.instance()["round"].as_i64(), bench.status().as_str()), (Some(2), "running"));
    assert_ne!(bench.awaited_id(), first);
}

#[test]
fn a_saga_with_a_cancel_command_runs_once() {
    let mut bench = started();
    bench.reject("already-enrolled").unwrap();
    assert_eq!(code(&bench.command(&ask()).unwrap()), codes::ALREADY_ENDED);
}

#[test]
fn a_cancel_before_the_start_leaves_a_tombstone() {
    let mut bench = Bench::new(Versions::of(toy()));
    assert_eq!(sent(&bench.command(&cancel()).unwrap()), ["CollectionCanceled"]);
    assert_eq!(bench.status(), "canceled");
    assert_eq!(code(&bench.command(&ask()).unwrap()), codes::CANCELED);
    assert_eq!(sent(&bench.command(&cancel()).unwrap()), ["CollectionCanceled"]);
}

#[test]
fn a_finished_saga_is_undone_by_its_cancel_command() {
    let mut bench = after(&[OPENED, RESERVED, CONFIRMED, AUTHORIZED, ACTIVATED, RESERVED, NOTIFIED]);
    assert_eq!(sent(&bench.command(&cancel()).unwrap()), ["ReleaseSeat"]);
    assert_eq!(bench.status(), "compensating");
    assert_eq!(sent(&bench.command(&cancel()).unwrap()), [""; 0]);
    bench.answer(SeatReleased::FULL_NAME).unwrap();
    bench.answer("daybook.billing.PaymentCanceled").unwrap();
    bench.answer(SeatReleased::FULL_NAME).unwrap();
    let out = bench.answer("daybook.learning.EnrollmentCanceled").unwrap();
    assert_eq!(sent(&out), ["CollectionCanceled", "CollectionCanceled"]);
    assert_eq!(bench.status(), "canceled");
    assert_eq!(sent(&bench.command(&cancel()).unwrap()), ["CollectionCanceled"]);
}

#[test]
fn a_rejected_undo_is_stuck_and_tried_again() {
    let mut bench = after(&[OPENED]);
    assert_eq!(sent(&bench.reject("course-full").unwrap()), ["CancelEnrollment"]);
    bench.reject("why-ever").unwrap();
    assert_eq!(bench.status(), "stuck");
    assert_eq!(sent(&bench.wait().unwrap()), ["CancelEnrollment"]);
    assert_eq!(bench.status(), "stuck");
    let out = bench.answer("daybook.learning.EnrollmentCanceled").unwrap();
    assert_eq!(sent(&out), ["PaymentNotCollected"]);
    assert_eq!(bench.status(), "compensated");
}

#[test]
fn a_step_beyond_the_pivot_is_tried_again_when_it_is_rejected() {
    let mut bench = after(&[OPENED, RESERVED, CONFIRMED, AUTHORIZED, ACTIVATED]);
    bench.reject("course-full").unwrap();
    assert_eq!(bench.status(), "stuck");
    assert_eq!(sent(&bench.wait().unwrap()), ["ReserveSeat"]);
}

#[test]
fn silence_raises_the_alarm_once_or_undoes() {
    let mut bench = started();
    assert_eq!(sent(&bench.wait().unwrap()), [""; 0]);
    assert_eq!((bench.status().as_str(), bench.row.as_ref().unwrap().due), ("waiting", None));
    bench.answer(OPENED).unwrap();
    assert_eq!(bench.status(), "running");
    assert_eq!(sent(&bench.wait().unwrap()), ["ReleaseSeat"]);
}

#[test]
fn pauses_double_up_to_the_longest() {
    assert_eq!(resend_pause_ms(1), RESEND_MIN_MS);
    assert_eq!(resend_pause_ms(2), 2 * RESEND_MIN_MS);
    assert_eq!(resend_pause_ms(30), RESEND_MAX_MS);
    assert_eq!(resend_pause_ms(u32::MAX), RESEND_MAX_MS);
}

fn retry(step: &str, round: i64) -> RetryStep {
    let key_text = ask().payment_id.to_string();
    RetryStep { key_text, step: step.into(), round, actor_id: PersonId::from_u128(7), reason: "why".into() }
}

fn skip(step: &str) -> SkipStep {
    let key_text = ask().payment_id.to_string();
    SkipStep { key_text, step: step.into(), round: 1, actor_id: PersonId::from_u128(7), reason: "why".into() }
}

fn compensate() -> CompensateSaga {
    let key_text = ask().payment_id.to_string();
    CompensateSaga { key_text, round: 1, actor_id: PersonId::from_u128(7), reason: "why".into() }
}

fn end_here() -> CancelSaga {
    let key_text = ask().payment_id.to_string();
    CancelSaga { key_text, round: 1, actor_id: PersonId::from_u128(7), reason: "why".into() }
}

fn outcome(out: &daybook_engine::Output) -> String {
    decoded::<OperatorActed>(out).outcome
}

#[test]
fn an_operator_is_refused_what_cannot_be_done() {
    let mut nothing = Bench::new(Versions::of(toy()));
    assert_eq!(outcome(&nothing.control(&retry("open", 1)).unwrap()), codes::UNKNOWN_SAGA);
    let mut bench = started();
    assert_eq!(outcome(&bench.control(&retry("open", 2)).unwrap()), codes::ROUND_OVER);
    assert_eq!(outcome(&bench.control(&retry("reserve", 1)).unwrap()), codes::STEP_NOT_AWAITED);
    assert_eq!(outcome(&bench.control(&skip("open")).unwrap()), codes::ANSWER_NEEDED);
    let mut past = after(&[OPENED, RESERVED, CONFIRMED, AUTHORIZED, ACTIVATED]);
    assert_eq!(outcome(&past.control(&compensate()).unwrap()), codes::PAST_PIVOT);
    let mut ended = started();
    ended.reject("already-enrolled").unwrap();
    assert_eq!(outcome(&ended.control(&end_here()).unwrap()), codes::NOT_RUNNING);
}

#[test]
fn an_operator_does_not_repeat_what_could_not_be_undone() {
    let mut saga = blank();
    saga.step("open", open).on(opened).pivot().alarm_after(MINUTE);
    let mut bench = Bench::new(Versions::of(saga.build().unwrap()));
    bench.command(&ask()).unwrap();
    assert_eq!(outcome(&bench.control(&retry("open", 1)).unwrap()), codes::RETRY_UNSAFE);
}

#[test]
fn an_operator_asks_again_under_another_id() {
    let mut bench = started();
    let first = bench.awaited_id();
    let out = bench.control(&retry("open", 1)).unwrap();
    assert_eq!((outcome(&out).as_str(), sent(&out)), ("done", vec!["OpenEnrollment"]));
    assert_eq!(bench.status(), "retrying");
    assert_ne!(bench.awaited_id(), first);
}

#[test]
fn an_operator_goes_on_without_an_answer_that_nobody_needs() {
    let mut bench = after(&[OPENED, RESERVED]);
    assert_eq!(sent(&bench.control(&skip("confirm")).unwrap()), ["AuthorizePayment"]);
}

#[test]
fn an_operator_ends_a_saga_where_it_stands() {
    let mut bench = after(&[OPENED]);
    assert_eq!(sent(&bench.control(&end_here()).unwrap()), ["PaymentNotCollected"]);
    assert_eq!(bench.status(), "canceled");
}

#[test]
fn a_message_under_the_key_of_another_is_a_fault() {
    let mut bench = Bench::new(Versions::of(toy()));
    let mut other = ask();
    other.payment_id = daybook_events::PaymentId::from_u128(5);
    assert_eq!(bench.command(&other).unwrap_err().code, "key-mismatch");
}

#[test]
fn what_is_nothing_for_the_saga_is_a_fault() {
    let mut bench = started();
    assert_eq!(bench.command(&retry("open", 1)).unwrap_err().code, "unknown-message");
    assert_eq!(bench.control(&ask()).unwrap_err().code, "unknown-message");
    let wrong = bench.answer(NOTIFIED).unwrap_err();
    assert_eq!(wrong.code, "unexpected-reply");
    let broken = bench.bytes(OPENED, &[1], As { reply_for: Some(bench.awaited_id()), wants_reply: false }, false);
    assert_eq!(broken.unwrap_err().code, "undecodable");
}

#[test]
fn an_instance_stays_with_its_version() {
    let mut newer = toy();
    newer.version = 2;
    newer.steps.truncate(1);
    let mut bench = started();
    bench.leaf = Versions::of(newer).and(toy());
    assert_eq!(sent(&bench.answer(OPENED).unwrap()), ["ReserveSeat"]);
}

#[test]
fn an_answer_to_a_question_of_nobody_is_noted() {
    let mut bench = Bench::new(Versions::of(toy()));
    let stray = As { reply_for: Some(PersonId::from_u128(4).uuid()), wants_reply: false };
    let rejected = Rejected { key_text: String::new(), command: String::new(), code: "refused".into(), detail: None };
    let out = bench.message(&rejected, stray, false).unwrap();
    assert_eq!((out.messages.len(), out.history.len(), bench.row.is_none()), (0, 1, true));
}

#[test]
fn a_deadline_that_gives_up_waits_for_whom_it_asked_and_an_alarm_for_nobody() {
    let awaits = |bench: &Bench<super::Toy>| bench.leaf.awaits(bench.row.as_ref().unwrap());
    assert_eq!(awaits(&started()), None, "`open` raises an alarm and waits on");
    let mut bench = after(&[OPENED]);
    assert_eq!(awaits(&bench), Some(Participant { topic: ReserveSeat::TOPIC, key: Uuid::from_u128(9) }));
    bench.wait().unwrap();
    assert_eq!(bench.status(), "compensating");
    assert_eq!(awaits(&bench), None, "an undo is waited for in any case");
    let mut bench = after(&[OPENED]);
    bench.reject("course-full").unwrap();
    assert_eq!(awaits(&bench), None, "it was answered");
}
