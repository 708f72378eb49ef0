//! How many requests a caller may send: the generic cell rate algorithm (GCRA; ITU-T I.371, annex A), a token bucket that is one number.
//!
//! That number is the time at which the caller's debt would be paid: each request adds its price to it, and time pays it off. The
//! same arithmetic stands in `rate_limit.lua` for Redis.
//!
//! *2026-11: no crate for it.* `governor` keeps its cells to itself, so that Redis would have needed a second algorithm, and the fields
//! of an answer a third.

use std::time::Duration;

/// So many requests in a window: at once, or spread over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) requests: u32,
    pub(crate) window: Duration,
}

/// What was decided of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) is_admitted: bool,
    /// What is left of the quota now.
    pub(crate) remaining: u64,
    /// How long until all of the quota is there again.
    pub(crate) full_in: Duration,
    /// How long until one more request is admitted.
    pub(crate) next_in: Duration,
}

impl Quota {
    /// What one request costs, in microseconds of waiting.
    pub(crate) fn price(self) -> u64 {
        (micros(self.window) / u64::from(self.requests).max(1)).max(1)
    }

    /// The most that a caller may owe, in microseconds.
    pub(crate) fn debt_max(self) -> u64 {
        self.price() * u64::from(self.requests)
    }

    /// Judges a request at `now`, both times in microseconds on any clock. `paid_at` is when the caller's debt is paid, and afterwards
    /// is so with this request.
    pub(crate) fn judge(self, paid_at: &mut u64, now: u64) -> Verdict {
        let debt = paid_at.saturating_sub(now).min(self.debt_max());
        let with_this = debt + self.price();
        if with_this > self.debt_max() {
            return self.verdict(false, debt);
        }
        *paid_at = now + with_this;
        self.verdict(true, with_this)
    }

    /// What it means to owe so much.
    pub(crate) fn verdict(self, is_admitted: bool, debt: u64) -> Verdict {
        let credit = self.debt_max().saturating_sub(debt);
        Verdict {
            is_admitted,
            remaining: credit / self.price(),
            full_in: Duration::from_micros(debt),
            next_in: Duration::from_micros(self.price().saturating_sub(credit)),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { requests: 5, window: Duration::from_secs(10) };
    const SECOND: u64 = 1_000_000;

    #[test]
    fn the_whole_quota_may_be_used_at_once_and_comes_back_bit_by_bit() {
        let mut paid_at = 0;
        let now = 100 * SECOND;
        for remaining in (0..5).rev() {
            let verdict = QUOTA.judge(&mut paid_at, now);
            assert_eq!((verdict.is_admitted, verdict.remaining), (true, remaining));
        }
        let refused = QUOTA.judge(&mut paid_at, now);
        assert_eq!((refused.is_admitted, refused.remaining), (false, 0));
        assert_eq!((refused.next_in, refused.full_in), (Duration::from_secs(2), Duration::from_secs(10)));
        assert!(!QUOTA.judge(&mut paid_at, now + 2 * SECOND - 1).is_admitted);
        assert!(QUOTA.judge(&mut paid_at, now + 2 * SECOND).is_admitted);
        assert!(!QUOTA.judge(&mut paid_at, now + 2 * SECOND).is_admitted);
    }

    #[test]
    fn a_refused_request_costs_nothing_and_rest_does_not_pile_up() {
        let mut paid_at = 0;
        let admitted = |paid_at: &mut u64, now: u64| (0..20).filter(|_| QUOTA.judge(paid_at, now).is_admitted).count();
        assert_eq!(admitted(&mut paid_at, 0), 5);
        assert_eq!(admitted(&mut paid_at, 4 * SECOND), 2);
        assert_eq!(admitted(&mut paid_at, 4_000 * SECOND), 5);
    }

    #[test]
    fn in_the_long_run_no_more_pass_than_the_quota() {
        let mut paid_at = 0;
        let passed = (0..1_000 * 10).filter(|tenth| QUOTA.judge(&mut paid_at, tenth * SECOND / 10).is_admitted).count();
        assert_eq!(passed, 5 + 499);
    }

    #[test]
    fn a_clock_that_was_set_back_costs_a_window_and_no_more() {
        let mut paid_at = 1_000_000 * SECOND;
        assert_eq!(QUOTA.judge(&mut paid_at, 0).full_in, Duration::from_secs(10));
        assert!(QUOTA.judge(&mut paid_at, 0).next_in <= Duration::from_secs(2));
    }

    #[test]
    fn no_quota_is_too_large_to_be_counted() {
        let quota = Quota { requests: u32::MAX, window: Duration::from_secs(1) };
        let mut paid_at = 0;
        assert!((0..1_000).all(|_| quota.judge(&mut paid_at, 0).is_admitted));
    }
}
