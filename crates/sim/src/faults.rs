//! What goes wrong, how often, and how often it did.

use std::collections::BTreeMap;
use std::fmt;

/// Rates, in occurrences per million opportunities. An opportunity is one step of the kind that can fail.
#[derive(Clone, Debug)]
pub struct Faults {
    pub worker_crash: u32,
    pub worker_stop: u32,
    pub rebalance: u32,
    pub commit_refused: u32,
    pub commit_unknown: u32,
    pub load_failed: u32,
    pub claim_failed: u32,
    pub delivery_failed: u32,
    pub delivery_duplicated: u32,
    pub command_repeated: u32,
    pub fetch_repeated: u32,
    pub clock_jump: u32,
    pub provider_slow: u32,
    pub provider_refused: u32,
    pub provider_failed: u32,
    pub provider_answer_lost: u32,
    pub provider_forgets_key: u32,
    pub notice_early: u32,
    pub notice_twice: u32,
    pub nonsense: u32,
}

impl Faults {
    pub fn none() -> Self {
        Self {
            worker_crash: 0,
            worker_stop: 0,
            rebalance: 0,
            commit_refused: 0,
            commit_unknown: 0,
            load_failed: 0,
            claim_failed: 0,
            delivery_failed: 0,
            delivery_duplicated: 0,
            command_repeated: 0,
            fetch_repeated: 0,
            clock_jump: 0,
            provider_slow: 0,
            provider_refused: 0,
            provider_failed: 0,
            provider_answer_lost: 0,
            provider_forgets_key: 0,
            notice_early: 0,
            notice_twice: 0,
            nonsense: 0,
        }
    }

    /// What every run of the suite has.
    pub fn usual() -> Self {
        Self {
            worker_crash: 1_500,
            worker_stop: 1_200,
            rebalance: 3_000,
            commit_refused: 10_000,
            commit_unknown: 10_000,
            load_failed: 10_000,
            claim_failed: 30_000,
            delivery_failed: 5_000,
            delivery_duplicated: 20_000,
            command_repeated: 100_000,
            fetch_repeated: 20_000,
            clock_jump: 500,
            provider_slow: 50_000,
            provider_refused: 30_000,
            provider_failed: 30_000,
            provider_answer_lost: 50_000,
            provider_forgets_key: 0,
            notice_early: 50_000,
            notice_twice: 50_000,
            nonsense: 50_000,
        }
    }
}

/// How often each fault happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub fn count(&mut self, fault: &'static str) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (fault, times) in &other.0 {
            *self.0.entry(fault).or_default() += times;
        }
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub fn of(&self, fault: &str) -> u64 {
        self.0.get(fault).copied().unwrap_or(0)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(fault, times)| (*fault, *times))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (fault, times) in self.iter() {
            let comma = if std::mem::take(&mut first) { "" } else { ", " };
            write!(formatter, "{comma}{fault} {times}")?;
        }
        Ok(())
    }
}
