//! What a run has shown: a table for people, JSON for machines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::inject::Recovery;
use crate::proxy::Traffic;

/// Everything that a run tells.
#[derive(Debug, Serialize)]
pub struct Report {
    pub seed: u64,
    /// How long faults came.
    pub seconds: u64,
    pub apart: bool,
    pub processes: usize,
    pub faults: BTreeMap<&'static str, usize>,
    pub faults_skipped: usize,
    /// How many commands were accepted, and after how long.
    pub accepted: Spread,
    /// By kind and outcome.
    pub flows: BTreeMap<String, usize>,
    /// From the last fault until nothing was under way any more.
    pub rest_s: u64,
    pub recoveries: Vec<Recovery>,
    /// Summed by the server at the far end.
    pub links: BTreeMap<&'static str, Traffic>,
    /// The platform's own counters.
    pub counters: BTreeMap<&'static str, f64>,
    /// How much of logs was searched for secrets and persons' data.
    pub log_bytes: u64,
    pub violations: Vec<String>,
}

/// Least, middle and most of some durations, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    pub count: usize,
    pub min_ms: u128,
    pub p50_ms: u128,
    pub p99_ms: u128,
    pub max_ms: u128,
}

impl Spread {
    pub fn of(durations_ms: impl IntoIterator<Item = u128>) -> Self {
        let mut sorted: Vec<u128> = durations_ms.into_iter().collect();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len().saturating_sub(1)) * percent / 100).copied();
        let at = |percent| at(percent).unwrap_or_default();
        Self { count: sorted.len(), min_ms: at(0), p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// As lines for a terminal.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "seed {}, {} s of faults, {} processes{}",
            self.seed,
            self.seconds,
            self.processes,
            if self.apart { ", every leaf apart" } else { "" }
        )];
        lines.push(format!("\n{:<42} {:>7}", "fault", "count"));
        lines.extend(self.faults.iter().map(|(name, count)| format!("{name:<42} {count:>7}")));
        lines.push(format!("{:<42} {:>7}", "(skipped: target still struck)", self.faults_skipped));
        lines.push(format!("\n{:<62} {:>7}", "flow: outcome", "count"));
        lines.extend(self.flows.iter().map(|(name, count)| format!("{name:<62} {count:>7}")));
        lines.extend(self.times());
        lines.extend(self.traffic());
        lines.push(format!("\n{:<42} {:>12}", "counter", "total"));
        lines.extend(self.counters.iter().map(|(name, value)| format!("{name:<42} {value:>12}")));
        lines.push(format!("\n{} bytes of logs searched for secrets and persons' data", self.log_bytes));
        lines.push(format!("came to rest {} s after the last fault", self.rest_s));
        lines.push(format!("{} violations", self.violations.len()));
        lines.extend(self.violations.iter().map(|violation| format!("- {violation}")));
        lines
    }

    fn times(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "\n{:<34} {:>6} {:>8} {:>8} {:>8} {:>8}",
            "time", "count", "min ms", "p50 ms", "p99 ms", "max ms"
        )];
        let mut row = |name: String, spread: Spread| {
            let Spread { count, min_ms, p50_ms, p99_ms, max_ms } = spread;
            lines.push(format!("{name:<34} {count:>6} {min_ms:>8} {p50_ms:>8} {p99_ms:>8} {max_ms:>8}"));
        };
        row("request until accepted".to_owned(), self.accepted);
        let mut by_kind: BTreeMap<&str, Vec<&Recovery>> = BTreeMap::new();
        for recovery in &self.recoveries {
            by_kind.entry(recovery.what).or_default().push(recovery);
        }
        for (what, recoveries) in by_kind {
            row(format!("{what}: start until ready"), Spread::of(recoveries.iter().map(|recovery| recovery.ready_ms)));
            let applied = Spread::of(recoveries.iter().filter_map(|recovery| recovery.applied_ms));
            if applied.count > 0 {
                row(format!("{what}: start until applied"), applied);
            }
        }
        lines
    }

    fn traffic(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "\n{:<10} {:>6} {:>7} {:>11} {:>11} {:>6} {:>5} {:>6} {:>7}",
            "links to", "conns", "refused", "B asked", "B answered", "late", "cut", "reset", "dropped"
        )];
        for (to, traffic) in &self.links {
            lines.push(format!(
                "{to:<10} {:>6} {:>7} {:>11} {:>11} {:>6} {:>5} {:>6} {:>7}",
                traffic.connections,
                traffic.refused,
                traffic.bytes_asked,
                traffic.bytes_answered,
                traffic.chunks_late,
                traffic.chunks_held_by_cuts,
                traffic.resets,
                traffic.answers_dropped
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_of_nothing_is_nothing_and_of_many_is_in_order() {
        assert_eq!(Spread::of([]), Spread::default());
        let spread = Spread::of((1..=100).rev());
        assert_eq!((spread.min_ms, spread.p50_ms, spread.p99_ms, spread.max_ms), (1, 50, 99, 100));
    }
}
