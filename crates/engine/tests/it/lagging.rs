//! Deadlines wait for a participant that has not read what it was sent.

use crate::desk::{DEADLINE_MS, Desk};

const HOUR_MS: i64 = 60 * 60_000;

#[test]
fn a_participant_that_has_read_and_is_silent_is_given_up_at_the_deadline() {
    let mut desk = Desk::new();
    desk.begin();
    desk.participant = (1, 1);
    desk.pass(DEADLINE_MS - 1);
    assert_eq!((desk.asked, desk.has_given_up()), (0, false));
    desk.pass(1);
    assert_eq!((desk.asked, desk.has_given_up()), (1, true));
}

#[test]
fn one_that_has_not_read_is_waited_for_and_shown() {
    let mut desk = Desk::new();
    desk.begin();
    desk.pass(5 * HOUR_MS);
    assert!(!desk.has_given_up());
    assert_eq!(desk.engine.gauges().participants_lagging, 1);
    assert!(desk.engine.counters().timers_put_off > 0);
    assert_eq!(desk.alarms, 1, "once is enough");
    // It has come to the end of then, while others have gone on writing.
    desk.participant = (900, 1);
    desk.pass(HOUR_MS);
    assert!(desk.has_given_up());
    assert_eq!(desk.engine.gauges().participants_lagging, 0);
}

#[test]
fn an_answer_that_came_of_the_reading_wins_over_the_deadline() {
    let mut desk = Desk::new();
    desk.begin();
    desk.pass(HOUR_MS);
    desk.participant = (1, 1);
    desk.answer_is_published();
    desk.pass(HOUR_MS);
    assert!(!desk.has_given_up(), "it is unread");
    desk.answer_is_read();
    desk.pass(48 * HOUR_MS);
    assert!(!desk.has_given_up());
}

#[test]
fn one_that_waits_itself_is_waited_for() {
    let mut desk = Desk::new();
    desk.begin();
    desk.participant = (1, 1);
    desk.participant_waits = true;
    desk.pass(5 * HOUR_MS);
    assert!(!desk.has_given_up());
    assert_eq!(desk.engine.gauges().participants_lagging, 1);
    desk.participant_waits = false;
    desk.pass(HOUR_MS);
    assert!(desk.has_given_up());
}

#[test]
fn who_waits_tells_it_with_the_group_offset_until_what_came_of_it_is_in_the_log() {
    let mut desk = Desk::new();
    desk.begin();
    desk.pass(DEADLINE_MS - 1);
    assert!(!desk.waits, "its time has not come");
    desk.pass(HOUR_MS);
    assert!(desk.waits);
    desk.delivers = false;
    desk.participant = (1, 1);
    desk.pass(HOUR_MS);
    assert!(desk.has_given_up() && desk.waits, "that it gave up is not in the log");
}

#[test]
fn nobody_waits_for_ever() {
    let mut desk = Desk::new();
    desk.begin();
    desk.pass(DEADLINE_MS + 24 * HOUR_MS - 1);
    assert!(!desk.has_given_up());
    desk.pass(1);
    assert!(desk.has_given_up());
    assert!(desk.asked < 320, "asked {} times", desk.asked);
}

#[test]
fn a_participant_is_not_asked_before_its_command_is_in_the_log() {
    let mut desk = Desk::new();
    desk.delivers = false;
    desk.participant = (0, 0);
    desk.begin();
    desk.pass(HOUR_MS);
    assert_eq!((desk.asked, desk.has_given_up()), (0, false));
    assert_eq!(desk.offsets, [0], "nor is the group offset moved past what is not published");
}
