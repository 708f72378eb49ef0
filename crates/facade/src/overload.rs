//! Backpressure: when the parts fall behind with what was accepted, less is accepted, and of whom asks most first.
//!
//! Once a second the age of the oldest record that some part has not applied is looked up (`backlog`). While it is above its target and
//! grows, a process admits fewer commands than it admitted in the second before; while it shrinks, as many; and below the target
//! step by step more, until nobody is refused. What is admitted is shared so that no caller gets more while another one wants and gets
//! less (max-min fairness; D. Bertsekas, R. Gallager, *Data Networks*, 6.5.2).
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

/// What is admitted of the commands of the second before, while the backlog grows, and when there is room again: in hundredths.
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
    backlog: Duration,
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
        let State { limit, share, admitted, callers, backlog } = &mut *state;
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
        state.limit.is_some() || !state.backlog.is_zero() || !state.callers.is_empty()
    }

    /// A second is over, and this is the age of the backlog at its end. Answers how many commands are admitted in the next; `None`: all.
    pub fn next_second(&self, backlog: Duration, target: Duration) -> Option<u64> {
        let mut state = self.state();
        let commands: Vec<u64> = state.callers.values().map(|asked| asked.commands).collect();
        let wanted: u64 = commands.iter().sum();
        let limit = match state.limit {
            _ if backlog > target && backlog >= state.backlog => Some((state.admitted * LESS / 100).max(LIMIT_MIN)),
            Some(limit) if backlog > target => Some(limit),
            Some(limit) => Some(limit * MORE / 100 + 1).filter(|limit| *limit < wanted),
            None => None,
        };
        state.share = limit.map_or(0, |limit| fair_share(commands, limit));
        state.limit = limit;
        state.backlog = backlog;
        state.admitted = 0;
        state.callers.clear();
        limit
    }

    /// A panic while it was held can't have broken numbers.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn everything_is_admitted_as_long_as_the_backlog_is_below_its_target() {
        let overload = Overload::default();
        assert!(!overload.is_of_interest());
        for backlog in 0..=5 {
            assert_eq!(second(&overload, &[1_000, 10]), [1_000, 10]);
            assert_eq!(overload.next_second(Duration::from_secs(backlog), TARGET), None);
        }
    }

    #[test]
    fn the_heaviest_caller_is_refused_first() {
        let overload = Overload::default();
        second(&overload, &[1_000, 40, 10]);
        assert_eq!(overload.next_second(Duration::from_secs(6), TARGET), Some(735));
        assert_eq!(second(&overload, &[1_000, 40, 10]), [685, 40, 10]);
        overload.next_second(Duration::from_secs(7), TARGET);
        assert_eq!(second(&overload, &[1_000, 40, 10]), [464, 40, 10]);
    }

    #[test]
    fn as_much_is_admitted_while_it_shrinks_and_more_below_the_target_until_all_is() {
        let overload = Overload::default();
        second(&overload, &[100, 100]);
        assert_eq!(overload.next_second(Duration::from_secs(8), TARGET), Some(140));
        second(&overload, &[100, 100]);
        assert_eq!(overload.next_second(Duration::from_secs(7), TARGET), Some(140));
        assert_eq!(second(&overload, &[100, 100]), [70, 70]);
        assert_eq!(overload.next_second(Duration::from_secs(4), TARGET), Some(176));
        second(&overload, &[100, 100]);
        assert_eq!(overload.next_second(Duration::from_secs(1), TARGET), None);
        assert!(overload.is_of_interest(), "the backlog is not gone");
        assert_eq!(second(&overload, &[100, 100]), [100, 100]);
        overload.next_second(Duration::ZERO, TARGET);
        assert!(!overload.is_of_interest());
    }

    #[test]
    fn who_is_refused_is_told_to_wait_as_long_as_the_backlog_is_old() {
        let overload = Overload::default();
        assert_eq!(overload.admit(caller(1)), Ok(()));
        overload.next_second(Duration::from_secs(9), TARGET);
        assert!((0..LIMIT_MIN).all(|_| overload.admit(caller(1)).is_ok()));
        assert_eq!(overload.admit(caller(1)), Err(9));
        overload.next_second(Duration::from_secs(900), TARGET);
        assert!((0..LIMIT_MIN).all(|_| overload.admit(caller(1)).is_ok()));
        assert_eq!(overload.admit(caller(2)), Err(30));
    }

    #[test]
    fn a_few_commands_a_second_are_always_admitted() {
        let overload = Overload::default();
        for backlog in 6..60 {
            assert_eq!(second(&overload, &[3, 2]), [3, 2]);
            overload.next_second(Duration::from_secs(backlog), TARGET);
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
