//! The order in which things are going to happen.

use super::*;

/// What becomes of a commit on its way to the database and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Well,
    Refused,
    UnknownDone,
    UnknownLost,
    /// Its sender is told at once that nobody knows, and it arrives later.
    UnknownLate,
}

pub(super) struct Scheduled {
    pub(super) at: Timestamp,
    pub(super) number: u64,
    pub(super) what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
