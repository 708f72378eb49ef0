use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment in UTC, in microseconds since 1970-01-01T00:00:00Z, as Avro's `timestamp-micros`.
///
/// There is no way to ask it for the present: time is always handed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A text is not a moment in RFC 3339 form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct TimestampError;

impl Timestamp {
    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, as Kafka's record timestamps; rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The moment `millis` milliseconds after the epoch; the far ends saturate.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// This moment, `ms` milliseconds later (earlier if negative); the far ends saturate.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    /// This moment, `seconds` later (earlier if negative); the far ends saturate.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// This moment, `days` times 24 hours later (earlier if negative); the far ends saturate.
    #[must_use]
    pub const fn plus_days(self, days: i64) -> Self {
        self.plus_seconds(days.saturating_mul(24 * 60 * 60))
    }

    /// Milliseconds from `earlier` to this moment, negative if `earlier` is later; rounded down.
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).div_euclid(1_000)
    }
}

impl From<SystemTime> for Timestamp {
    /// Rounded towards the epoch; the far ends saturate.
    fn from(time: SystemTime) -> Self {
        let micros = |since: std::time::Duration| i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Self(time.duration_since(UNIX_EPOCH).map_or_else(|before| -micros(before.duration()), micros))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC. What lies outside of the years -9999 to 9999 is shown as a number.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => moment.fmt(formatter),
            Err(_) => write!(formatter, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        Ok(Self(moment.as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_and_read_in_rfc_3339() {
        let moment = Timestamp(1_767_225_600_250_000);
        assert_eq!(moment.to_string(), "2026-01-01T00:00:00.25Z");
        assert_eq!("2026-01-01T01:00:00.25+01:00".parse(), Ok(moment));
        assert_eq!("yesterday".parse::<Timestamp>(), Err(TimestampError));
        assert_eq!(Timestamp(i64::MAX).to_string(), format!("{}us", i64::MAX));
    }

    #[test]
    fn a_time_of_the_system_is_rounded_towards_the_epoch() {
        let nanos = std::time::Duration::from_nanos(1_999);
        assert_eq!(Timestamp::from(UNIX_EPOCH + nanos), Timestamp(1));
        assert_eq!(Timestamp::from(UNIX_EPOCH - nanos), Timestamp(-1));
    }

    #[test]
    fn sums_saturate_instead_of_wrapping() {
        assert_eq!(Timestamp(i64::MAX).plus_days(1), Timestamp(i64::MAX));
        assert_eq!(Timestamp(0).plus_days(i64::MIN), Timestamp(i64::MIN));
        assert_eq!(Timestamp(5_000).ms_since(Timestamp(7_000)), -2);
        assert_eq!(Timestamp(-1).millis(), -1);
    }
}
