//! What a recipient wants, and when not to be disturbed. The rules of time zones are those of the system's database; what
//! follows from them stands in the events, so a later database changes nothing that has happened.

use std::collections::BTreeSet;

use daybook_consumer::{Rejection, ensure};
use daybook_events::{NotificationPreferencesSet, SetNotificationPreferences, Timestamp};
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::CLASSES;
use crate::codes::{CLASS_UNKNOWN, PREFERENCES_INVALID};

/// The language of those who have said nothing: that of their contact data (BCP 47 for "undetermined").
pub const LANGUAGE_UNDETERMINED: &str = "und";

const LANGUAGE_MAX_CHARS: usize = 35;
const MINUTES_OF_DAY: i32 = 24 * 60;

/// What a recipient wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preferences {
    /// BCP 47 tag.
    pub language: String,
    /// IANA name.
    pub time_zone: String,
    pub quiet: Option<QuietHours>,
    /// Classes that are not wanted.
    pub opted_out: BTreeSet<String>,
}

/// From one minute of the local day until another, past midnight if that is the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    pub from_minute: i32,
    pub until_minute: i32,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            language: LANGUAGE_UNDETERMINED.to_owned(),
            time_zone: "UTC".to_owned(),
            quiet: None,
            opted_out: BTreeSet::new(),
        }
    }
}

impl Preferences {
    /// What the event set.
    pub fn of(event: &NotificationPreferencesSet) -> Self {
        let quiet = event.quiet_from_minute.zip(event.quiet_until_minute);
        Self {
            language: event.language.clone(),
            time_zone: event.time_zone.clone(),
            quiet: quiet.map(|(from_minute, until_minute)| QuietHours { from_minute, until_minute }),
            opted_out: event.opted_out.iter().cloned().collect(),
        }
    }

    /// When the quiet hours end, if it is quiet now. A zone that this release does not know keeps nothing waiting.
    pub fn quiet_until(&self, now: Timestamp) -> Option<Timestamp> {
        let quiet = self.quiet?;
        let zone = TimeZone::get(&self.time_zone).ok()?;
        let now = jiff::Timestamp::from_microsecond(now.micros()).ok()?;
        let end = quiet.end(zone.to_datetime(now))?;
        // Where the clock is set back, the later of two moments: the other may be over already.
        let end = zone.to_ambiguous_timestamp(end).later().ok()?;
        Some(Timestamp(end.as_microsecond()))
    }
}

impl QuietHours {
    /// The local time at which they end, if it is quiet at `local`.
    fn end(self, local: DateTime) -> Option<DateTime> {
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        let is_over_midnight = self.until_minute < self.from_minute;
        let is_quiet = if is_over_midnight {
            minute >= self.from_minute || minute < self.until_minute
        } else {
            (self.from_minute..self.until_minute).contains(&minute)
        };
        let date = if minute < self.until_minute { local.date() } else { local.date().tomorrow().ok()? };
        let time = time_of(self.until_minute)?;
        is_quiet.then(|| date.to_datetime(time))
    }
}

fn time_of(minute: i32) -> Option<Time> {
    let hour = i8::try_from(minute / 60).ok()?;
    Time::new(hour, i8::try_from(minute % 60).ok()?, 0, 0).ok()
}

/// # Errors
/// The field that does not make sense.
pub(crate) fn check(ask: &SetNotificationPreferences) -> Result<(), Rejection> {
    ensure!(is_language(&ask.language), PREFERENCES_INVALID, "language");
    ensure!(TimeZone::get(&ask.time_zone).is_ok(), PREFERENCES_INVALID, "time_zone");
    let is_quiet_sound = match (ask.quiet_from_minute, ask.quiet_until_minute) {
        (None, None) => true,
        (Some(from), Some(until)) => from != until && [from, until].iter().all(|m| (0..MINUTES_OF_DAY).contains(m)),
        _ => false,
    };
    ensure!(is_quiet_sound, PREFERENCES_INVALID, "quiet_from_minute, quiet_until_minute");
    ensure!(ask.opted_out.iter().all(|class| CLASSES.contains(&class.as_str())), CLASS_UNKNOWN);
    ensure!(ask.opted_out.len() <= CLASSES.len(), PREFERENCES_INVALID, "opted_out");
    Ok(())
}

/// The form of a BCP 47 tag: subtags of one to eight letters or digits, the first of letters.
fn is_language(tag: &str) -> bool {
    let is_subtag = |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric());
    tag.len() <= LANGUAGE_MAX_CHARS
        && tag.starts_with(|first: char| first.is_ascii_alphabetic())
        && tag.split('-').all(is_subtag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(time_zone: &str, from_minute: i32, until_minute: i32) -> Preferences {
        let quiet = Some(QuietHours { from_minute, until_minute });
        Preferences { time_zone: time_zone.to_owned(), quiet, ..Preferences::default() }
    }

    fn until(preferences: &Preferences, now: &str) -> Option<String> {
        preferences.quiet_until(now.parse().unwrap()).map(|end| end.to_string())
    }

    #[test]
    fn quiet_hours_are_those_of_the_recipients_clock() {
        let night = quiet("America/New_York", 22 * 60, 7 * 60);
        assert_eq!(until(&night, "2026-01-15T02:59:59Z"), None, "21:59 in New York");
        assert_eq!(until(&night, "2026-01-15T03:00:00Z").unwrap(), "2026-01-15T12:00:00Z");
        assert_eq!(until(&night, "2026-01-15T11:59:59.9Z").unwrap(), "2026-01-15T12:00:00Z");
        assert_eq!(until(&night, "2026-01-15T12:00:00Z"), None, "07:00 in New York");
        let noon = quiet("UTC", 12 * 60, 13 * 60);
        assert_eq!(until(&noon, "2026-01-15T12:30:00Z").unwrap(), "2026-01-15T13:00:00Z");
        assert_eq!(until(&noon, "2026-01-15T13:00:00Z"), None);
        assert_eq!(Preferences::default().quiet_until(Timestamp(0)), None);
    }

    #[test]
    fn the_end_lies_ahead_also_when_the_clock_is_changed() {
        // New York, 1 November 2026: 01:30 comes twice, the second time at 06:30 UTC.
        let back = quiet("America/New_York", 22 * 60, 90);
        for now in ["2026-11-01T05:10:00Z", "2026-11-01T06:10:00Z"] {
            assert_eq!(until(&back, now).unwrap(), "2026-11-01T06:30:00Z", "{now}");
        }
        // New York, 8 March 2026: 02:30 does not come at all.
        let forth = quiet("America/New_York", 22 * 60, 150);
        assert_eq!(until(&forth, "2026-03-08T06:50:00Z").unwrap(), "2026-03-08T07:30:00Z");
    }

    #[test]
    fn an_unknown_zone_keeps_nothing_waiting() {
        assert_eq!(until(&quiet("Mars/Base", 0, 1_439), "2026-01-15T12:00:00Z"), None);
    }
}
