//! The rules that the kit keeps, shown on parts that break them.

mod parts;

use daybook_consumer::testing::{Bench, Handled, REPLIES, shuffle_proof};
use daybook_consumer::{FAULT_CODES, Fault, Part};
use daybook_events::{
    CancelEnrollment, CompleteEnrollment, CourseId, EnrollmentCompleted, EnrollmentId, EnrollmentOpened, Message,
    OpenEnrollment, PersonId, Rejected, ReleaseSeat, Timestamp,
};
use parts::{ByHand, LEARNER, Odd, Reminding, Rounds, SHARED, TIMER_AT, opened};
use uuid::Uuid;

const ID: EnrollmentId = EnrollmentId::from_u128(1);

fn open() -> OpenEnrollment {
    OpenEnrollment { enrollment_id: ID, learner_id: LEARNER, course_id: CourseId::from_u128(3) }
}

fn complete() -> CompleteEnrollment {
    CompleteEnrollment { enrollment_id: ID, completed_at: Timestamp(0) }
}

fn cancel(reason: &str) -> CancelEnrollment {
    CancelEnrollment { enrollment_id: ID, round: None, reason: reason.to_owned(), within_refund_window: false }
}

fn body<M: Message>(message: &M) -> Vec<u8> {
    let mut body = Vec::new();
    daybook_events::encode(message, &mut body).unwrap();
    body
}

fn code(result: Result<Handled, Fault>) -> &'static str {
    result.expect_err("it is parked").code
}

fn aggregate() -> Bench {
    Bench::new(&Part::aggregate::<Odd>())
}

#[test]
fn a_record_whose_key_is_not_its_bodys_is_parked() {
    let other = Uuid::from_u128(9);
    assert_eq!(code(aggregate().bytes(other, OpenEnrollment::FULL_NAME, &body(&open()))), "key-mismatch");
}

#[test]
fn a_record_of_another_topic_or_of_no_sense_is_parked() {
    let release =
        ReleaseSeat { course_id: CourseId::from_u128(3), enrollment_id: ID, round: 1, reason: "released".to_owned() };
    let key = ID.uuid();
    assert_eq!(code(aggregate().bytes(key, ReleaseSeat::FULL_NAME, &body(&release))), "unknown-message");
    let whole = body(&open());
    let cut = &whole[..whole.len() - 1];
    assert_eq!(code(aggregate().bytes(key, OpenEnrollment::FULL_NAME, cut)), "undecodable");
    assert_eq!(code(aggregate().control(key, &release)), "unknown-message");
}

#[test]
fn a_command_ends_in_exactly_one_reply_to_whom_it_named() {
    let mut bench = aggregate();
    let handled = bench.send(&open()).unwrap();
    let replies: Vec<_> = handled.output.messages.iter().filter(|message| message.reply_for.is_some()).collect();
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].topic, REPLIES);
    assert_eq!(replies[0].reply_for, Some(handled.message_id));
    assert_eq!(handled.replies::<EnrollmentOpened>(), handled.events::<EnrollmentOpened>());

    let again = bench.send(&open()).unwrap();
    assert_eq!(again.replies::<EnrollmentOpened>().len(), 1, "it is told again");
    assert!(again.events::<EnrollmentOpened>().is_empty(), "and not in the book again");

    let silent = bench.bytes(ID.uuid(), OpenEnrollment::FULL_NAME, &body(&open())).unwrap();
    assert!(silent.output.messages.is_empty(), "nobody asked for a reply");
}

#[test]
fn a_rejection_is_a_reply_and_nothing_happens() {
    let mut bench = aggregate();
    let handled = bench.send(&cancel("refused")).unwrap();
    let replies = handled.replies::<Rejected>();
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].code.as_str(), replies[0].detail.as_deref()), ("odd-refused", Some("as asked")));
    assert_eq!(replies[0].command, CancelEnrollment::FULL_NAME);
    assert!(handled.output.rejected);
    assert_eq!(bench.row_count(), 0);
}

#[test]
fn a_leaf_that_does_not_close_or_touches_what_it_did_not_declare_is_stopped() {
    assert_eq!(code(aggregate().send(&cancel("unclosed"))), "no-closing-event");
    assert_eq!(code(aggregate().send(&cancel("already-unclosed"))), "no-closing-event");
    assert_eq!(code(aggregate().send(&cancel("part"))), "part-not-declared");
    assert_eq!(code(aggregate().send(&cancel("large"))), "state-too-large");
}

#[test]
fn a_timer_fires_at_its_time_and_one_that_asks_for_ever_is_stopped() {
    let mut bench = aggregate();
    bench.send(&open()).unwrap();
    bench.now = Timestamp(TIMER_AT.0 - 1);
    assert!(bench.fire().unwrap().is_empty());
    bench.now = TIMER_AT;
    let fired = bench.fire().unwrap();
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].events::<EnrollmentCompleted>().len(), 1);
    assert!(fired[0].output.messages.iter().all(|message| message.reply_for.is_none()));

    let mut stuck = aggregate();
    stuck.send(&cancel("stuck")).unwrap();
    stuck.now = TIMER_AT;
    assert_eq!(stuck.fire().unwrap_err().code, "timer-stuck");
}

#[test]
fn an_effect_takes_the_reply_over_until_it_has_ended() {
    let mut bench = Bench::new(&Part::acting::<ByHand>(parts::Nobody));
    let asked = bench.send(&complete()).unwrap();
    assert_eq!(asked.output.messages.len(), 1, "only the intent");
    let done = bench.answer(ID, b"\"done\"".to_vec()).unwrap();
    assert_eq!(done.replies::<EnrollmentCompleted>().len(), 1);
    assert_eq!(done.output.messages.iter().find_map(|message| message.reply_for), Some(asked.message_id));

    bench.send(&complete()).unwrap();
    let refused = bench.give_up(ID, "provider-unreachable").unwrap();
    assert_eq!(refused.replies::<Rejected>()[0].code, "odd-refused");

    bench.send(&complete()).unwrap();
    assert_eq!(code(bench.answer(ID, b"no json".to_vec())), "undecodable");
}

#[test]
fn a_command_may_ask_for_one_effect_only() {
    let mut bench = Bench::new(&Part::acting::<ByHand>(parts::Nobody));
    assert_eq!(code(bench.send(&cancel("twice"))), "second-effect");
}

#[test]
fn a_policy_asks_once_per_cause_and_wants_to_hear_of_refusals() {
    let ask = || {
        let mut bench = Bench::new(&Part::policy::<Reminding>());
        bench.send(&opened(ID, LEARNER)).unwrap()
    };
    let (first, second) = (ask(), ask());
    let ids: Vec<_> = first.output.messages.iter().map(|message| message.id).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1], "two commands are two");
    assert_eq!(ids, second.output.messages.iter().map(|message| message.id).collect::<Vec<_>>());
    let reply_to = first.output.messages[0].reply_to.as_ref().expect("a policy listens");
    assert_eq!((&*reply_to.topic, reply_to.key), ("learning.odd-reminding.control.v1", ID.uuid()));
}

#[test]
fn the_refusal_of_a_policys_command_is_parked_beside_its_key() {
    let mut bench = Bench::new(&Part::policy::<Reminding>());
    let rejected = Rejected {
        key_text: ID.to_string(),
        command: CompleteEnrollment::FULL_NAME.to_owned(),
        code: "not-active".to_owned(),
        detail: None,
    };
    let handled = bench.control(ID.uuid(), &rejected).unwrap();
    let fault = handled.output.park_beside.expect("it is parked");
    assert_eq!(fault.code, "command-rejected");
    assert_eq!(fault.detail, "daybook.learning.CompleteEnrollment: not-active");
    let closed = bench.control(ID.uuid(), &opened(ID, LEARNER)).unwrap();
    assert_eq!(closed.output.park_beside, None);
}

#[test]
fn rows_are_owned_by_the_records_key_or_merged() {
    let one = opened(ID, LEARNER);
    let two = opened(EnrollmentId::from_u128(2), LEARNER);
    let three = opened(EnrollmentId::from_u128(3), PersonId::from_u128(8));
    let tables = shuffle_proof::<Rounds>(vec![one.into(), two.into(), three.into()]);
    assert_eq!(tables.rows("odd_round").len(), 3);
    let by_learner = tables.rows("odd_learner");
    assert_eq!(by_learner.len(), 2);
    assert!(by_learner.iter().any(|row| row["enrollments"] == 2));
}

#[test]
fn a_row_that_is_not_the_records_own_is_refused() {
    let mut bench = Bench::new(&Part::projection::<Rounds>());
    assert_eq!(code(bench.send(&opened(ID, SHARED))), "row-refused");
}

#[test]
fn codes_are_words_with_pages_and_each_stands_once() {
    let mut names: Vec<_> = FAULT_CODES.iter().map(|code| code.name).collect();
    assert!(FAULT_CODES.iter().all(|code| code.about.trim().len() > 20));
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
