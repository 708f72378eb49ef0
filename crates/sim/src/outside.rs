//! The world outside of the platform.

use daybook_engine::{Performance, Performed};
use daybook_events::Timestamp;

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
}

pub struct Answering {
    pub after_ms: i64,
    /// `None`: the answer is lost, and the caller's time limit runs out.
    pub outcome: Option<Performed>,
    /// Notices to the part's control topic, each after a while.
    pub notices: Vec<(i64, BookRecord)>,
}

/// Where nobody answers.
pub struct Nobody;

impl Outside for Nobody {
    fn perform(&mut self, _: &str, _: &Performance, _: Timestamp, _: &mut Rng, _: &Faults, _: &mut Tally) -> Answering {
        Answering { after_ms: 0, outcome: Some(Performed::Refused { code: "nobody".to_owned() }), notices: Vec::new() }
    }
}
