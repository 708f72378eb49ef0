//! The prover finds nothing wrong with the rules as they are, and something with each rule taken away.

use super::{ask, repeatable_toy, toy};
use crate::flaw::Flaw;
use crate::{Versions, prove};

#[test]
fn a_saga_with_one_of_everything_ends_cleanly() {
    let proof = prove(&Versions::of(toy()), &ask()).unwrap();
    println!("{proof:?}");
    assert!(proof.ends > 1_000, "hardly anything was tried: {proof:?}");
}

#[test]
fn a_saga_without_a_cancel_command_ends_cleanly_in_every_round() {
    println!("{:?}", prove(&Versions::of(repeatable_toy()), &ask()).unwrap());
}

fn found(flaw: Flaw) -> String {
    let found = prove(&Versions::of(toy()).flawed(flaw), &ask()).expect_err("the flaw is missed");
    println!("{flaw:?}: {found}");
    found.violation
}

fn assert_found(flaw: Flaw, violation: &str) {
    let found = found(flaw);
    assert!(found.contains(violation), "{flaw:?} shows as: {found}");
}

#[test]
fn an_undo_in_the_order_of_the_steps_is_found() {
    assert_found(Flaw::UndoInOrder, "which came after it");
}

#[test]
fn an_unanswered_step_that_is_not_undone_is_found() {
    assert_found(Flaw::UnansweredNotUndone, "never undone");
}

#[test]
fn a_late_answer_that_counts_is_found() {
    found(Flaw::LateReplyCounts);
}

#[test]
fn a_reply_that_is_matched_by_its_type_is_found() {
    found(Flaw::ReplyMatchedByType);
}

#[test]
fn a_second_closing_reply_is_found() {
    assert_found(Flaw::AnswersTwice, "closing replies");
}

#[test]
fn a_cancel_without_its_closing_reply_is_found() {
    assert_found(Flaw::CancelForgotten, "never got its closing reply");
}

#[test]
fn a_rejected_undo_that_is_dropped_is_found() {
    found(Flaw::RejectedUndoDropped);
}

#[test]
fn an_attempt_forgotten_because_its_repetition_was_rejected_is_found() {
    found(Flaw::RejectedRetryNotUndone);
}

#[test]
fn an_undo_of_a_rejected_step_is_found() {
    assert_found(Flaw::RejectedStepUndone, "although it was never sent, was rejected");
}

#[test]
fn two_attempts_under_one_id_are_found() {
    assert_found(Flaw::SameIdAgain, "two commands have the id");
}

#[test]
fn a_rejection_that_counts_twice_is_found() {
    assert_found(Flaw::RejectionCountsWhilePaused, "not awaited changes something");
}

#[test]
fn a_way_back_from_beyond_the_pivot_is_found() {
    assert_found(Flaw::PivotForgotten, "past the pivot");
}

#[test]
fn a_good_end_told_of_a_bad_one_is_found() {
    assert_found(Flaw::ClosesWellAnyhow, "but the start was told PaymentCollected");
}
