//! The database's time.

use std::time::Duration;

use daybook_events::Timestamp;
use tokio::time::Instant;

/// An answer that is behind by less than this only stops the clock until time has caught up: answers take their
/// time to arrive. One that is further behind is believed: the database's clock was set back.
const BELIEVED_MS: i64 = 1_000;

/// The database's time at its last answer, and the monotonic time since. Before the first answer it shows 1970.
#[derive(Debug)]
pub(crate) struct DatabaseClock {
    told: Timestamp,
    told_at: Instant,
    shown: Timestamp,
}

impl DatabaseClock {
    pub fn new(at: Instant) -> Self {
        Self { told: Timestamp(0), told_at: at, shown: Timestamp(0) }
    }

    /// The database has answered.
    pub fn told(&mut self, time: Timestamp, at: Instant) {
        self.told_at = at;
        self.told = time;
        if self.shown.ms_since(time) > BELIEVED_MS {
            tracing::warn!(behind_ms = self.shown.ms_since(time), "the database's clock was set back");
            self.shown = time;
        }
    }

    /// Never goes back but for a clock that was set back.
    pub fn now(&mut self, at: Instant) -> Timestamp {
        let since = i64::try_from(at.duration_since(self.told_at).as_micros()).unwrap_or(i64::MAX);
        self.shown = self.shown.max(Timestamp(self.told.micros().saturating_add(since)));
        self.shown
    }

    /// When it will show this time; now if it is past.
    pub fn instant_of(&mut self, time: Timestamp, at: Instant) -> Instant {
        let wait = time.micros().saturating_sub(self.now(at).micros());
        at + Duration::from_micros(u64::try_from(wait).unwrap_or(0)).min(FAR)
    }
}

/// Far enough: whoever waits looks again before.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn time_goes_on_between_answers_and_small_steps_back_only_stop_it() {
        let begun = Instant::now();
        let mut clock = DatabaseClock::new(begun);
        clock.told(Timestamp::from_millis(10_000), begun);
        assert_eq!(clock.now(begun + ms(50)), Timestamp::from_millis(10_050));
        clock.told(Timestamp::from_millis(10_040), begun + ms(50));
        assert_eq!(clock.now(begun + ms(50)), Timestamp::from_millis(10_050));
        assert_eq!(clock.now(begun + ms(80)), Timestamp::from_millis(10_070));
        clock.told(Timestamp::from_millis(5_000), begun + ms(80));
        assert_eq!(clock.now(begun + ms(80)), Timestamp::from_millis(5_000));
    }

    #[test]
    fn a_time_is_waited_for_by_the_monotonic_clock() {
        let begun = Instant::now();
        let mut clock = DatabaseClock::new(begun);
        clock.told(Timestamp::from_millis(1_000), begun);
        assert_eq!(clock.instant_of(Timestamp::from_millis(1_250), begun), begun + ms(250));
        assert_eq!(clock.instant_of(Timestamp::from_millis(400), begun), begun);
        assert_eq!(clock.instant_of(Timestamp(i64::MAX), begun), begun + FAR);
    }
}
