//! What became of the flows: counts by outcome, and how long they took.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::Ended;
use super::scenario::Expectation;
use crate::output::Table;

/// The kind of flow in which somebody leaves.
pub const WITHDRAWAL: &str = "withdrawal";
/// Why one who wants a seat in a full course does not get in.
const FULL: &str = "course-full";

/// One learner's way through the API.
#[derive(Debug)]
pub struct Flow {
    pub kind: &'static str,
    pub person_id: Uuid,
    pub course_id: Uuid,
    pub expected: Expectation,
    pub ended: Ended,
}

impl Flow {
    /// Whether it ended as it had to.
    pub fn is_as_expected(&self) -> bool {
        let succeeded = self.ended.is_good();
        let refused = self.ended.status == "failed";
        match self.expected {
            _ if self.kind == WITHDRAWAL => succeeded,
            Expectation::Enrolled => succeeded,
            Expectation::NotEnrolled => refused,
            Expectation::SeatOrFull => succeeded || (refused && self.ended.code() == FULL),
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Flows(Vec<Flow>);

impl Extend<Flow> for Flows {
    fn extend<I: IntoIterator<Item = Flow>>(&mut self, flows: I) {
        self.0.extend(flows);
    }
}

impl IntoIterator for Flows {
    type Item = Flow;
    type IntoIter = std::vec::IntoIter<Flow>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Flows {
    pub fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.0.iter()
    }

    pub fn has_succeeded(&self, person_id: Uuid) -> bool {
        self.0.iter().any(|flow| flow.person_id == person_id && flow.ended.is_good())
    }

    /// By kind and code.
    fn groups(&self) -> BTreeMap<(&str, &str), Vec<Duration>> {
        let mut groups: BTreeMap<(&str, &str), Vec<Duration>> = BTreeMap::new();
        for flow in &self.0 {
            groups.entry((flow.kind, flow.ended.code())).or_default().push(flow.ended.took);
        }
        groups.values_mut().for_each(|durations| durations.sort_unstable());
        groups
    }

    pub fn print(&self) -> Result<()> {
        let mut table = Table::new(&["flow", "outcome", ">count", ">p50 ms", ">p95 ms"]);
        for ((kind, code), durations) in self.groups() {
            let [half, most] = [50, 95].map(|percent| percentile(&durations, percent).as_millis().to_string());
            table.row([kind.to_owned(), code.to_owned(), durations.len().to_string(), half, most]);
        }
        table.print("nobody enrolled")
    }

    pub fn as_object(&self) -> Vec<Value> {
        let groups = self.groups().into_iter();
        let object = |((kind, code), durations): ((&str, &str), Vec<Duration>)| {
            let [half, most] = [50, 95].map(|percent| percentile(&durations, percent).as_millis() as u64);
            json!({ "flow": kind, "outcome": code, "count": durations.len(), "p50_ms": half, "p95_ms": most })
        };
        groups.map(object).collect()
    }
}

/// The duration that so many percent do not exceed (nearest rank); zero without any.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(expected: Expectation, status: &str, code: Option<&str>) -> Flow {
        let ended = Ended::of(status, code, Duration::ZERO);
        Flow { kind: "good card", person_id: Uuid::nil(), course_id: Uuid::nil(), expected, ended }
    }

    #[test]
    fn only_the_right_outcome_is_as_expected() {
        assert!(flow(Expectation::Enrolled, "succeeded", None).is_as_expected());
        assert!(!flow(Expectation::Enrolled, "running", None).is_as_expected());
        assert!(flow(Expectation::NotEnrolled, "failed", Some("card_declined")).is_as_expected());
        assert!(!flow(Expectation::NotEnrolled, "succeeded", None).is_as_expected());
        assert!(flow(Expectation::SeatOrFull, "failed", Some(FULL)).is_as_expected());
        assert!(!flow(Expectation::SeatOrFull, "failed", Some("price-changed")).is_as_expected());
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let durations: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        assert_eq!(percentile(&durations, 50), Duration::from_millis(10));
        assert_eq!(percentile(&durations, 95), Duration::from_millis(19));
        assert_eq!(percentile(&durations[..1], 95), Duration::from_millis(1));
        assert_eq!(percentile(&[], 95), Duration::ZERO);
    }
}
