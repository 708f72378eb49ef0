//! The world outside of the platform.

use std::collections::BTreeMap;

use daybook_engine::{Intent, Performance, Performed};
use daybook_events::Timestamp;
use uuid::Uuid;

use crate::auditor::Paid;
use crate::book::BookRecord;
use crate::faults::{Faults, Tally};
use crate::rng::Rng;

/// The world outside of the platform, as its adapters meet it.
pub trait Outside {
    /// Acts, and says what the caller is told, and when.
    fn perform(&mut self, part: &str, performance: &Performance, chance: &mut Chance<'_>) -> Answered;

    /// What came of an effect, as its caller would have been told; `None`: it was not done.
    fn became_of(&self, part: &str, intent: &Intent) -> Option<Vec<u8>>;

    /// What was really charged, per payment.
    fn books(&self) -> BTreeMap<Uuid, Paid>;
}

/// What decides what goes wrong outside.
pub struct Chance<'a> {
    /// By the database's clock, as all waiting for the provider is measured.
    pub now: Timestamp,
    pub rng: &'a mut Rng,
    pub faults: &'a Faults,
    pub tally: &'a mut Tally,
}

impl Chance<'_> {
    /// Whether a fault of this rate happens; if so, it is counted.
    pub fn strikes(&mut self, per_million: u32, fault: &'static str) -> bool {
        let strikes = self.rng.chance(per_million);
        if strikes {
            self.tally.count(fault);
        }
        strikes
    }
}

pub struct Answered {
    pub answering: Answering,
    /// Notices to the part's control topic, each after a while.
    pub notices: Vec<(i64, BookRecord)>,
}

pub struct Answering {
    pub after_ms: i64,
    /// `None`: the answer is lost, and the caller's time limit runs out.
    pub outcome: Option<Performed>,
}

impl Answered {
    pub fn now(outcome: Performed) -> Self {
        Self { answering: Answering { after_ms: 1, outcome: Some(outcome) }, notices: Vec::new() }
    }
}
