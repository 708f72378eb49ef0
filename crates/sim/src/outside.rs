//! The world outside of the platform.

use std::collections::BTreeMap;

use daybook_engine::{Performance, Performed};
use daybook_events::Timestamp;
use uuid::Uuid;

use crate::auditor::Paid;
use crate::book::BookRecord;
use crate::faults::{Faults, Tally};
use crate::rng::Rng;

/// The world outside of the platform, as its adapters meet it.
pub trait Outside {
    /// Acts, and says what the caller is told, and when.
    fn perform(
        &mut self,
        part: &str,
        performance: &Performance,
        now: Timestamp,
        rng: &mut Rng,
        faults: &Faults,
        tally: &mut Tally,
    ) -> Answering;

    /// What was really charged, per payment.
    fn books(&self) -> BTreeMap<Uuid, Paid>;
}

pub struct Answering {
    pub after_ms: i64,
    /// `None`: the answer is lost, and the caller's time limit runs out.
    pub outcome: Option<Performed>,
    /// Notices to the part's control topic, each after a while.
    pub notices: Vec<(i64, BookRecord)>,
}

impl Answering {
    pub fn now(outcome: Performed) -> Self {
        Self { after_ms: 1, outcome: Some(outcome), notices: Vec::new() }
    }
}
