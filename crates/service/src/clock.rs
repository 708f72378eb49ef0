//! Time. What must be reproducible takes a [`Clock`]; nothing but [`SystemClock`] asks the system for the wall time.

use std::time::{Duration, Instant, SystemTime};

/// The wall time and the time that only goes forward.
pub trait Clock: Send + Sync {
    /// What a clock on the wall says; may jump. For people and for other systems, never for measuring.
    fn wall(&self) -> SystemTime;

    /// Time since a fixed moment of this process's life; never goes back.
    fn elapsed(&self) -> Duration;
}

/// The computer's clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// `time` in RFC 3339, UTC, to the microsecond: `2026-03-01T12:00:00.000000Z`.
pub fn rfc3339(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(timestamp) => format!("{timestamp:.6}"),
        // Years beyond 9999: only a broken clock says so, and that is worth seeing.
        Err(_) => format!("{time:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_to_the_microsecond() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_772_366_400_000_007);
        assert_eq!(rfc3339(time), "2026-03-01T12:00:00.000007Z");
    }
}
