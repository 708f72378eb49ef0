//! Deadlines of a part that has no end of other things to do.

use daybook_engine::Limits;

use crate::desk::{DEADLINE_MS, Desk, GAVE_UP};

#[test]
fn a_deadline_waits_for_what_was_there_and_not_for_all_that_comes_after() {
    const BATCH: usize = 10;
    const OTHERS: i64 = 1_000;
    /// So all of it takes five seconds. The participant is asked a second after the deadline.
    const COMMIT_MS: i64 = 50;
    let mut desk = Desk::with(Limits { batch_max: BATCH, ..Limits::default() });
    desk.begin();
    desk.participant = (1, 1);
    desk.pass(DEADLINE_MS - 1);
    desk.now = desk.now.plus_ms(1);
    desk.commit_ms = COMMIT_MS;
    desk.flood(OTHERS);
    let before = desk.told.iter().position(|told| told == GAVE_UP).expect("it gives up");
    assert!(before < 30 * BATCH, "{before} others came first");
    assert!(desk.told.len() > 90 * BATCH, "all of them were there");
}
