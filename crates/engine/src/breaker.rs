//! The circuit breaker: a provider that is down is not called by everybody who waits, but by one at a time.
//!
//! Closed until [`FAILURES`] attempts in a row, each at most [`GAP_MS`] after the one before, say that the provider is down.
//! Then open for a pause, and half-open: one attempt probes. It closes the breaker, or opens it for twice as long. An
//! attempt that the breaker puts off counts for no budget; the intent waits as it is. Nor does a probe that finds the
//! provider down: that tells of the provider, and not of the effect whose turn it was.

use daybook_events::Timestamp;
use uuid::Uuid;

use crate::{CALL_TIMEOUT, Performed, Provider};

/// Attempts in a row that say the provider is down: fewer than what one effect has in its budget, which may be all there is.
const FAILURES: u32 = 5;
/// They count together when each is this close to the one before, in ms: longer than a call to a silent provider and the first
/// pauses between the calls of one effect take together.
const GAP_MS: i64 = 120_000;
/// First and longest pause, in ms; up to half of it is taken off by jitter.
const PAUSE_MIN_MS: i64 = 1_000;
const PAUSE_MAX_MS: i64 = 60_000;

/// An attempt: the token of the partition that makes it, and the intent.
pub(crate) type Call = (u64, Uuid);

/// What an attempt says about the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It serves; whether it does what it is asked is another matter.
    Up,
    /// It serves nobody.
    Down,
    /// The attempt did not get that far.
    Unknown,
}

impl Health {
    pub(crate) fn of(outcome: &Performed, provider: Provider) -> Self {
        match outcome {
            Performed::Answered(_) | Performed::NotFound => Self::Up,
            Performed::Refused { code } | Performed::Unknown { code } => {
                let is_down = code == CALL_TIMEOUT || provider.down.contains(&code.as_str());
                if is_down { Self::Down } else { Self::Unknown }
            }
        }
    }
}

/// A change that an operator should see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Opened,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Closed {
        failures: u32,
        last_at: Timestamp,
    },
    Open {
        until: Timestamp,
        openings: u32,
    },
    /// This attempt is under way.
    Probing {
        openings: u32,
        by: Call,
    },
}

#[derive(Debug)]
pub(crate) struct Breaker(Position);

impl Breaker {
    pub(crate) fn new() -> Self {
        Self(Position::Closed { failures: 0, last_at: Timestamp(0) })
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.0, Position::Closed { .. })
    }

    /// When an attempt may be made at the earliest; `None`: not before the probe has ended.
    pub(crate) fn next_attempt(&self, wanted: Timestamp) -> Option<Timestamp> {
        match self.0 {
            Position::Closed { .. } => Some(wanted),
            Position::Open { until, .. } => Some(until.max(wanted)),
            Position::Probing { .. } => None,
        }
    }

    /// Whether an attempt may be made now. The one that may while it is open is the probe.
    pub(crate) fn admits(&mut self, call: Call, now: Timestamp) -> bool {
        match self.0 {
            Position::Closed { .. } => true,
            Position::Open { until, openings } if until <= now => {
                self.0 = Position::Probing { openings, by: call };
                true
            }
            Position::Open { .. } | Position::Probing { .. } => false,
        }
    }

    /// An attempt has ended. Those that were under way when it opened count for nothing but good news.
    pub(crate) fn ended(&mut self, call: Call, health: Health, now: Timestamp) -> Option<Turn> {
        let jitter = call.1.as_u64_pair().1;
        match (self.0, health) {
            (Position::Closed { .. }, Health::Up) => {
                *self = Self::new();
                None
            }
            (_, Health::Up) => {
                *self = Self::new();
                Some(Turn::Closed)
            }
            (Position::Closed { failures, last_at }, Health::Down) => {
                let is_near = now.ms_since(last_at) <= GAP_MS;
                let failures = if is_near { failures + 1 } else { 1 };
                self.0 = Position::Closed { failures, last_at: now };
                if failures < FAILURES {
                    return None;
                }
                self.0 = open(0, now, jitter);
                Some(Turn::Opened)
            }
            (Position::Probing { openings, by }, Health::Down | Health::Unknown) => {
                if by == call {
                    self.0 = open(openings + 1, now, jitter);
                }
                None
            }
            (Position::Closed { .. }, Health::Unknown) | (Position::Open { .. }, _) => None,
        }
    }
}

fn open(openings: u32, now: Timestamp, jitter: u64) -> Position {
    let pause = (PAUSE_MIN_MS << openings.min(16)).min(PAUSE_MAX_MS);
    let off = i64::try_from(jitter % 512).unwrap_or(0);
    Position::Open { until: now.plus_ms(pause - pause / 2 * off / 512), openings }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of before it opened, and the one that probes. The ids end in zeros: no jitter.
    const CALL: Call = (1, Uuid::from_u64_pair(7, 0));
    const PROBE: Call = (2, Uuid::from_u64_pair(7, 0));

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new();
        for _ in 1..FAILURES {
            assert_eq!(breaker.ended(CALL, Health::Down, at(0)), None);
        }
        assert_eq!(breaker.ended(CALL, Health::Down, at(0)), Some(Turn::Opened));
        breaker
    }

    #[test]
    fn a_run_of_failures_opens_it_and_a_probe_that_is_served_closes_it() {
        let mut breaker = opened();
        assert!(!breaker.admits(PROBE, at(PAUSE_MIN_MS - 1)));
        assert_eq!(breaker.next_attempt(at(5)), Some(at(PAUSE_MIN_MS)));
        assert!(breaker.admits(PROBE, at(PAUSE_MIN_MS)));
        assert!(!breaker.admits(PROBE, at(PAUSE_MIN_MS)), "one probe at a time");
        assert_eq!(breaker.ended(PROBE, Health::Up, at(PAUSE_MIN_MS)), Some(Turn::Closed));
        assert!(breaker.is_closed() && breaker.admits(PROBE, at(PAUSE_MIN_MS)));
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer_up_to_the_bound() {
        let mut breaker = opened();
        let mut now = at(0);
        for opening in 0..12 {
            let until = breaker.next_attempt(now).unwrap();
            assert!(until.ms_since(now) <= PAUSE_MAX_MS, "opening {opening}");
            now = until;
            assert!(breaker.admits(PROBE, now));
            assert_eq!(breaker.ended(PROBE, Health::Down, now), None);
        }
        assert_eq!(breaker.next_attempt(now), Some(now.plus_ms(PAUSE_MAX_MS)));
    }

    #[test]
    fn what_is_served_in_between_or_lies_far_apart_is_no_run() {
        let mut breaker = Breaker::new();
        for round in 0..i64::from(3 * FAILURES) {
            assert_eq!(breaker.ended(CALL, Health::Down, at(round)), None);
            if round % 4 == 0 {
                breaker.ended(CALL, Health::Up, at(round));
            }
        }
        let mut breaker = Breaker::new();
        for round in 0..i64::from(3 * FAILURES) {
            assert_eq!(breaker.ended(CALL, Health::Down, at(round * (GAP_MS + 1))), None);
        }
    }

    #[test]
    fn one_effect_alone_opens_it_on_a_silent_provider() {
        let mut breaker = Breaker::new();
        let turns = (1..=i64::from(FAILURES)).map(|call| breaker.ended(CALL, Health::Down, at(call * GAP_MS)));
        assert_eq!(turns.last(), Some(Some(Turn::Opened)));
    }

    #[test]
    fn late_failures_of_before_do_not_keep_it_open() {
        let mut breaker = opened();
        let until = breaker.next_attempt(at(0));
        breaker.ended(CALL, Health::Down, at(500));
        assert_eq!(breaker.next_attempt(at(0)), until);
    }

    #[test]
    fn late_failures_of_before_do_not_end_the_probe() {
        let mut breaker = opened();
        assert!(breaker.admits(PROBE, at(PAUSE_MIN_MS)));
        assert_eq!(breaker.ended(CALL, Health::Down, at(PAUSE_MIN_MS)), None);
        assert_eq!(breaker.next_attempt(at(PAUSE_MIN_MS)), None, "it is under way");
        assert_eq!(breaker.ended(CALL, Health::Up, at(PAUSE_MIN_MS)), Some(Turn::Closed), "good news counts");
    }
}
