//! Backpressure: when the parts fall behind with what was accepted, less is accepted, and of whom asks most first.
//!
//! Once a second the backlog is looked up (`backlog`): how long a command that comes in now will wait before the parts that it passes. When
//! that comes above its target, a process admits fewer commands than it admitted in the second before. It takes as long as the backlog
//! until it is seen what that has done: then fewer again if it has not shrunk, and as many if it has. Below the target more come in from
//! second to second, the more the further below, until nobody is refused. What is admitted is shared so that no caller gets more
//! while another one wants and gets less (max-min fairness; D. Bertsekas, R. Gallager, *Data Networks*, 6.5.2).
//!
//! *2026-11: not by rates that are configured.* What the platform can do depends on the commands, the machines and the weather; its
//! backlog is measured. And not by the time that answers take: commands are answered once they are in the book, however long the
//! queue behind it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::rate_limits::CALLERS_MAX;

/// How often is looked, and for how long a share is.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// What is admitted of the commands of the second before when there is too much of a backlog, and at most when there is none: in
/// hundredths.
const LESS: u64 = 70;
const MORE: u64 = 125;

/// What a process admits in a second at the least: so few commands are not what a backlog comes from.
const LIMIT_MIN: u64 = 20;

/// The longest that a refused caller is asked to wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Decides whether a command may come in. Clones share it.
#[derive(Clone, Default)]
pub struct Overload {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Commands that are admitted in this second; `None`: all.
    limit: Option<u64>,
    /// Of these, the most of one caller.
    share: u64,
    admitted: u64,
    callers: HashMap<Uuid, Asked>,
    /// Commands that came in the second before.
    wanted: u64,
    backlog: Duration,
    /// What the backlog is now, if that was looked up in this second.
    news: Option<Duration>,
    /// What it was when that was last compared, or when it was last below its target.
    before: Duration,
    /// Seconds until it is seen what has been done since, and compared again.
    unseen: u64,
}

/// What a caller has done in this second.
#[derive(Clone, Copy, Default)]
struct Asked {
    commands: u64,
    admitted: u64,
}

impl Overload {
    /// Counts a command of this caller.
    ///
    /// # Errors
    /// When it is not to come in now: in how many seconds to try again.
    pub(crate) fn admit(&self, caller: Uuid) -> Result<(), u64> {
        let mut state = self.state();
        let State { limit, share, admitted, callers, backlog, .. } = &mut *state;
        let is_known = callers.len() < CALLERS_MAX || callers.contains_key(&caller);
        // Beyond the bound, callers share one account.
        let asked = callers.entry(if is_known { caller } else { Uuid::nil() }).or_default();
        asked.commands += 1;
        if limit.is_some_and(|limit| *admitted >= limit || asked.admitted >= *share) {
            return Err((*backlog).min(RETRY_AFTER_MAX).as_secs().max(1));
        }
        asked.admitted += 1;
        *admitted += 1;
        Ok(())
    }

    /// Whether the backlog has to be looked up: where nobody asks and nobody is refused, it does not matter.
    pub(crate) fn is_of_interest(&self) -> bool {
        let state = self.state();
        state.limit.is_some() || !state.backlog.is_zero() || state.wanted > 0 || !state.callers.is_empty()
    }

    /// This is how long a command that comes in now will wait.
    pub fn learn(&self, backlog: Duration) {
        self.state().news = Some(backlog);
    }

    /// A second is over. Answers how many commands are admitted in the next; `None`: all. As many as before if the backlog is not known.
    pub fn next_second(&self, target: Duration) -> Option<u64> {
        let mut state = self.state();
        let commands: Vec<u64> = state.callers.values().map(|asked| asked.commands).collect();
        state.wanted = commands.iter().sum();
        state.unseen = state.unseen.saturating_sub(1);
        if let Some(backlog) = state.news.take() {
            state.turn(backlog, target);
        }
        state.share = state.limit.map_or(0, |limit| fair_share(commands, limit));
        state.admitted = 0;
        state.callers.clear();
        state.limit
    }

    /// A panic while it was held can't have broken numbers.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sets the limit by what the backlog is.
    fn turn(&mut self, backlog: Duration, target: Duration) {
        self.backlog = backlog;
        if backlog <= target {
            let room = (target - backlog).div_duration_f64(target);
            let more = |limit: u64| limit + (((MORE - 100) * limit) as f64 / 100.0 * room).ceil() as u64;
            self.limit = self.limit.map(more).filter(|limit| *limit < self.wanted);
            (self.before, self.unseen) = (backlog, 0);
        } else if self.unseen == 0 {
            if backlog >= self.before {
                self.limit = Some((self.admitted * LESS / 100).max(LIMIT_MIN));
            }
            (self.before, self.unseen) = (backlog, backlog.as_secs());
        }
    }
}

/// The most that one caller may get, so that all together get `limit` when each wants as much as is said.
fn fair_share(mut wanted: Vec<u64>, limit: u64) -> u64 {
    wanted.sort_unstable();
    let mut left = limit;
    for (place, wants) in wanted.iter().enumerate() {
        let others = u64::try_from(wanted.len() - place).unwrap_or(u64::MAX);
        let share = left / others;
        if *wants > share {
            return share.max(1);
        }
        left -= wants;
    }
    // Everybody gets what they want, and whoever is new gets what is left.
    limit.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_secs(5);

    fn caller(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// How many of so many commands of each caller are admitted, asked in turns.
    fn second(overload: &Overload, asked: &[u64]) -> Vec<u64> {
        let mut admitted = vec![0; asked.len()];
        for turn in 0..asked.iter().copied().max().unwrap_or(0) {
            for (place, _) in asked.iter().enumerate().filter(|(_, asked)| turn < **asked) {
                admitted[place] += u64::from(overload.admit(caller(place as u128 + 1)).is_ok());
            }
        }
        admitted
    }

    /// The second is over, and the backlog this old. Answers the limit.
    fn next(overload: &Overload, backlog: u64) -> Option<u64> {
        overload.learn(Duration::from_secs(backlog));
        overload.next_second(TARGET)
    }

    #[test]
    fn everything_is_admitted_as_long_as_the_backlog_is_below_its_target() {
        let overload = Overload::default();
        assert!(!overload.is_of_interest());
        for backlog in 0..=5 {
            assert_eq!(second(&overload, &[1_000, 10]), [1_000, 10]);
            assert_eq!(next(&overload, backlog), None);
        }
    }

    #[test]
    fn the_heaviest_caller_is_refused_first() {
        let overload = Overload::default();
        second(&overload, &[1_000, 40, 10]);
        assert_eq!(next(&overload, 6), Some(735));
        assert_eq!(second(&overload, &[1_000, 40, 10]), [685, 40, 10]);
    }

    #[test]
    fn less_follows_on_less_when_it_can_be_seen_what_it_has_done() {
        let overload = Overload::default();
        second(&overload, &[1_000]);
        assert_eq!(next(&overload, 6), Some(700));
        for backlog in 7..=11 {
            second(&overload, &[1_000]);
            assert_eq!(next(&overload, backlog), Some(700), "what was cut has not come through yet");
        }
        second(&overload, &[1_000]);
        assert_eq!(next(&overload, 12), Some(490));
    }

    #[test]
    fn as_much_is_admitted_when_it_has_shrunk_however_it_was_in_between() {
        let overload = Overload::default();
        second(&overload, &[1_000]);
        assert_eq!(next(&overload, 8), Some(700));
        for backlog in [9, 6, 10, 6, 9, 6, 6, 7] {
            second(&overload, &[1_000]);
            assert_eq!(next(&overload, backlog), Some(700));
        }
        for backlog in [6, 7, 8, 9, 6, 6] {
            second(&overload, &[1_000]);
            assert_eq!(next(&overload, backlog), Some(700));
        }
        second(&overload, &[1_000]);
        assert_eq!(next(&overload, 7), Some(490), "no less than it was");
    }

    #[test]
    fn as_much_is_admitted_while_it_shrinks_and_more_below_the_target_until_all_is() {
        let overload = Overload::default();
        second(&overload, &[100, 100]);
        assert_eq!(next(&overload, 8), Some(140));
        for backlog in [7, 6] {
            second(&overload, &[100, 100]);
            assert_eq!(next(&overload, backlog), Some(140));
        }
        assert_eq!(second(&overload, &[100, 100]), [70, 70]);
        assert_eq!(next(&overload, 4), Some(147), "a little, for the target is near");
        second(&overload, &[100, 100]);
        assert_eq!(next(&overload, 0), Some(184), "a quarter");
        second(&overload, &[100, 100]);
        assert_eq!(next(&overload, 1), None);
        assert!(overload.is_of_interest(), "the backlog is not gone");
        assert_eq!(second(&overload, &[100, 100]), [100, 100]);
        next(&overload, 0);
        assert!(overload.is_of_interest(), "commands have come");
        next(&overload, 0);
        assert!(!overload.is_of_interest());
    }

    #[test]
    fn nothing_changes_while_the_backlog_is_not_known() {
        let overload = Overload::default();
        second(&overload, &[200]);
        assert_eq!(overload.next_second(TARGET), None);
        second(&overload, &[200]);
        assert_eq!(next(&overload, 6), Some(140));
        for _ in 0..60 {
            second(&overload, &[200]);
            assert_eq!(overload.next_second(TARGET), Some(140));
        }
    }

    #[test]
    fn who_is_refused_is_told_to_wait_as_long_as_the_backlog_is_old() {
        let overload = Overload::default();
        assert_eq!(overload.admit(caller(1)), Ok(()));
        next(&overload, 9);
        assert!((0..LIMIT_MIN).all(|_| overload.admit(caller(1)).is_ok()));
        assert_eq!(overload.admit(caller(1)), Err(9));
        next(&overload, 900);
        assert!((0..LIMIT_MIN).all(|_| overload.admit(caller(1)).is_ok()));
        assert_eq!(overload.admit(caller(2)), Err(30));
    }

    #[test]
    fn a_few_commands_a_second_are_always_admitted() {
        let overload = Overload::default();
        for backlog in 6..60 {
            assert_eq!(second(&overload, &[3, 2]), [3, 2]);
            next(&overload, backlog);
        }
    }

    #[test]
    fn shares_are_as_equal_as_wishes_allow() {
        assert_eq!(fair_share(vec![10, 10, 10], 15), 5);
        assert_eq!(fair_share(vec![100, 2, 10], 15), 6);
        assert_eq!(fair_share(vec![100, 2, 3], 15), 10);
        assert_eq!(fair_share(vec![1; 100], 10), 1);
        assert_eq!(fair_share(vec![1, 2], 15), 15);
        assert_eq!(fair_share(Vec::new(), 1), 1);
    }
}
