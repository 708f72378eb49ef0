//! Deadlines that wait for a participant.
//!
//! A deadline says that somebody is too slow. Of a participant that has not even read what it was sent it says nothing, and
//! giving up gains nothing: what undoes the command would wait behind it. So a due row asks first where the participant's
//! partition ends, after its own command is there for certain, and is handed over when the participant has come to that end;
//! and when, in a round of timers that began later still, the answers that this led to have been applied. It waits for so
//! long at most as [`crate::Limits::lag_patience_ms`].
//!
//! A participant may be a saga that waits in the same way. It tells so with its group offset, and is then taken as one that has
//! not read; so whoever asks a lagging participant at the end of such a chain is waited for by all of it.

use std::collections::BTreeMap;

use daybook_events::Timestamp;

/// Pause before a participant is asked again, in ms: a quarter of the time that it was waited for, within these.
const PAUSE_MIN_MS: i64 = 1_000;
const PAUSE_MAX_MS: i64 = 5 * 60_000;
/// How long a participant is waited for before an operator is told, in ms.
const TOLD_AFTER_MS: i64 = 60_000;

/// A partition of a participant's topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) topic: &'static str,
    pub(crate) partition: u16,
}

/// A due row that was passed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) place: Place,
    pub(crate) due: Timestamp,
    /// It waits no longer than this.
    pub(crate) until: Timestamp,
}

/// How far a place was found to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) place: Place,
    pub(crate) end: i64,
    pub(crate) next: i64,
    /// It waits for somebody itself.
    pub(crate) waits: bool,
}

/// What an answer led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    HasRead,
    Lags {
        /// 0: it has read everything, and waits for somebody itself.
        behind: i64,
        /// It was waited for long enough that somebody should know, and nobody was told yet.
        tell: bool,
    },
    NotAsked,
}

/// How far participants have read, as far as due rows have asked. There are never more entries than partitions of the topics
/// to which the part sends commands.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    places: BTreeMap<Place, Wait>,
    /// What is due was not looked at before this round is over: an earlier owner may have put it off.
    looked_at: u64,
}

#[derive(Debug)]
struct Wait {
    /// What was sent for deadlines up to this time was committed when the wait began.
    since: Timestamp,
    /// Our shard's last number then: all of it has to be in the log before the end is asked for.
    sent: u64,
    /// Where the place ended when it was first asked for. It stays, or a participant under load would never come to it.
    end: Option<i64>,
    stage: Stage,
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AskAt(Timestamp),
    Asked,
    /// It has come to the end, as was learned in this round of timers.
    HasRead {
        round: u64,
    },
}

impl Waits {
    /// Of a partition that was just claimed; `due`: some of its rows are.
    pub(crate) fn until_looked_at(due: bool) -> Self {
        Self { looked_at: u64::from(due), ..Self::default() }
    }

    /// Whether a row is put off, or may be; `finished`: the last round of timers that is over.
    pub(crate) fn are_open(&self, finished: u64) -> bool {
        let is_over = |wait: &Wait| matches!(wait.stage, Stage::HasRead { round } if round < finished);
        finished < self.looked_at || !self.places.values().all(is_over)
    }

    /// Whether what was sent for a deadline is known to be read, and its answers are among what this round has applied.
    pub(crate) fn has_read(&self, place: Place, due: Timestamp, round: u64) -> bool {
        self.places.get(&place).is_some_and(|wait| match wait.stage {
            Stage::HasRead { round: learned } => wait.since >= due && learned < round,
            Stage::AskAt(_) | Stage::Asked => false,
        })
    }

    /// A row that was due waits for this place. Answers whether another round of timers will do.
    pub(crate) fn wait(&mut self, place: Place, due: Timestamp, now: Timestamp, sent: u64) -> bool {
        if let Some(wait) = self.places.get(&place) {
            match wait.stage {
                Stage::HasRead { .. } if wait.since >= due => return true,
                Stage::HasRead { .. } => {}
                Stage::AskAt(_) | Stage::Asked => return false,
            }
        }
        self.places.insert(place, Wait { since: now, sent, end: None, stage: Stage::AskAt(now), told: false });
        false
    }

    /// The places to ask about now; `published`: our shard's number up to which everything is in the log.
    pub(crate) fn ask(&mut self, now: Timestamp, published: u64) -> Vec<Place> {
        let mut places = Vec::new();
        for (place, wait) in &mut self.places {
            match wait.stage {
                Stage::AskAt(at) if at > now => {}
                Stage::AskAt(_) if published < wait.sent => wait.stage = Stage::AskAt(now.plus_ms(PAUSE_MIN_MS)),
                Stage::AskAt(_) => {
                    wait.stage = Stage::Asked;
                    places.push(*place);
                }
                Stage::Asked | Stage::HasRead { .. } => {}
            }
        }
        places
    }

    /// When the next place is to be asked about.
    pub(crate) fn ask_at(&self) -> Option<Timestamp> {
        let times = self.places.values().filter_map(|wait| match wait.stage {
            Stage::AskAt(at) => Some(at),
            Stage::Asked | Stage::HasRead { .. } => None,
        });
        times.min()
    }

    /// Takes an answer; `round`: the round of timers that was begun last.
    pub(crate) fn learned(&mut self, reading: Reading, round: u64, now: Timestamp) -> Learned {
        let Some(wait) = self.places.get_mut(&reading.place).filter(|wait| wait.stage == Stage::Asked) else {
            return Learned::NotAsked;
        };
        let end = *wait.end.get_or_insert(reading.end);
        if reading.next >= end && !reading.waits {
            wait.stage = Stage::HasRead { round };
            return Learned::HasRead;
        }
        let waited_ms = now.ms_since(wait.since);
        wait.stage = Stage::AskAt(now.plus_ms((waited_ms / 4).clamp(PAUSE_MIN_MS, PAUSE_MAX_MS)));
        let tell = waited_ms >= TOLD_AFTER_MS && !std::mem::replace(&mut wait.told, waited_ms >= TOLD_AFTER_MS);
        Learned::Lags { behind: (end - reading.next).max(0), tell }
    }

    /// Places that were found not to be read so far.
    pub(crate) fn lagging(&self) -> usize {
        let lags = |wait: &&Wait| wait.end.is_some() && !matches!(wait.stage, Stage::HasRead { .. });
        self.places.values().filter(lags).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { topic: "payments", partition: 3 };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn reading(end: i64, next: i64) -> Reading {
        Reading { place: PLACE, end, next, waits: false }
    }

    #[test]
    fn the_end_is_asked_for_when_our_own_messages_are_in_the_log() {
        let mut waits = Waits::default();
        assert!(!waits.wait(PLACE, at(0), at(10), 5));
        assert_eq!(waits.ask(at(10), 4), []);
        assert_eq!(waits.ask_at(), Some(at(10 + PAUSE_MIN_MS)));
        assert_eq!(waits.ask(at(2_000), 5), [PLACE]);
        assert_eq!(waits.ask(at(2_000), 5), [], "it is under way");
    }

    #[test]
    fn the_end_stays_and_counts_only_in_a_later_round() {
        let mut waits = Waits::default();
        waits.wait(PLACE, at(0), at(10), 0);
        waits.ask(at(10), 0);
        assert_eq!(waits.learned(reading(100, 90), 1, at(20)), Learned::Lags { behind: 10, tell: false });
        assert_eq!(waits.lagging(), 1);
        assert_eq!(waits.ask(at(20 + PAUSE_MIN_MS), 0), [PLACE]);
        assert_eq!(waits.learned(reading(200, 100), 2, at(1_030)), Learned::HasRead, "200 is not its business");
        assert!(!waits.has_read(PLACE, at(0), 2), "answers may have come after the ends of round 2 were asked for");
        assert!(waits.wait(PLACE, at(0), at(1_030), 0));
        assert!(waits.has_read(PLACE, at(0), 3));
        assert_eq!(waits.lagging(), 0);
    }

    #[test]
    fn what_was_sent_later_is_asked_for_anew() {
        let mut waits = Waits::default();
        waits.wait(PLACE, at(0), at(10), 0);
        waits.ask(at(10), 0);
        waits.learned(reading(1, 1), 1, at(11));
        assert!(!waits.has_read(PLACE, at(50), 2));
        assert!(!waits.wait(PLACE, at(50), at(60), 0));
        assert_eq!(waits.ask(at(60), 0), [PLACE]);
    }

    #[test]
    fn one_that_waits_itself_lags_though_it_has_read_everything() {
        let mut waits = Waits::default();
        waits.wait(PLACE, at(0), at(10), 0);
        waits.ask(at(10), 0);
        let waiting = Reading { waits: true, ..reading(100, 120) };
        assert_eq!(waits.learned(waiting, 1, at(20)), Learned::Lags { behind: 0, tell: false });
        assert_eq!(waits.lagging(), 1);
        assert_eq!(waits.ask(at(20 + PAUSE_MIN_MS), 0), [PLACE]);
        assert_eq!(waits.learned(reading(100, 120), 2, at(1_030)), Learned::HasRead);
    }

    #[test]
    fn a_wait_is_open_until_a_later_round_is_over() {
        let mut waits = Waits::default();
        assert!(!waits.are_open(0));
        waits.wait(PLACE, at(0), at(10), 0);
        assert!(waits.are_open(1), "it was not asked about yet");
        waits.ask(at(10), 0);
        waits.learned(reading(1, 1), 1, at(20));
        assert!(waits.are_open(1), "the answers are not applied");
        assert!(!waits.are_open(2));
    }

    #[test]
    fn what_is_due_at_a_claim_counts_until_it_was_looked_at() {
        assert!(Waits::until_looked_at(true).are_open(0));
        assert!(!Waits::until_looked_at(true).are_open(1));
        assert!(!Waits::until_looked_at(false).are_open(0));
    }

    #[test]
    fn a_long_wait_is_told_once_and_asked_about_less_and_less_often() {
        let mut waits = Waits::default();
        waits.wait(PLACE, at(0), at(0), 0);
        let mut now = at(0);
        let mut told = 0;
        for _ in 0..320 {
            assert_eq!(waits.ask(now, 0), [PLACE]);
            if let Learned::Lags { tell: true, .. } = waits.learned(reading(7, 3), 1, now) {
                told += 1;
            }
            now = waits.ask_at().expect("it asks again");
        }
        assert_eq!(told, 1);
        assert!(now.ms_since(at(0)) > 24 * 60 * 60_000, "a day takes fewer questions than this");
    }
}
