//! The platform's own counters, summed over processes that come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

/// A process that stands still does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// What is summed up over all parts.
pub const COUNTERS: [&str; 8] = [
    "daybook_applied_total",
    "daybook_duplicates_total",
    "daybook_gaps_total",
    "daybook_republished_total",
    "daybook_deliveries_failed_total",
    "daybook_fenced_total",
    "daybook_store_retries_total",
    "daybook_effects_retried_total",
];

/// The counters of one process, each summed over its parts.
///
/// # Errors
/// When it does not answer.
pub fn scrape(telemetry: &str) -> Result<BTreeMap<&'static str, f64>> {
    let http = reqwest::blocking::Client::builder().timeout(ANSWER_LIMIT).build()?;
    let text = http.get(format!("{telemetry}/metrics")).send()?.error_for_status()?.text()?;
    Ok(summed(&text))
}

fn summed(text: &str) -> BTreeMap<&'static str, f64> {
    let sum = |name: &&'static str| {
        let of_it = |line: &&str| line.strip_prefix(*name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values = text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        (*name, values.sum())
    };
    COUNTERS.iter().map(sum).collect()
}

/// Counters that survive the processes that count. What a process counted after it was last asked is lost with it.
#[derive(Default)]
pub struct Figures {
    ended: BTreeMap<&'static str, f64>,
    last: BTreeMap<String, BTreeMap<&'static str, f64>>,
}

impl Figures {
    /// Takes in what a process tells.
    pub fn take(&mut self, process: &str, counted: BTreeMap<&'static str, f64>) {
        let before = self.last.insert(process.to_owned(), counted.clone()).unwrap_or_default();
        let is_anew = before.iter().any(|(name, value)| counted.get(name).is_some_and(|now| now < value));
        if is_anew {
            for (name, value) in before {
                *self.ended.entry(name).or_default() += value;
            }
        }
    }

    /// The sums.
    pub fn totals(&self) -> BTreeMap<&'static str, f64> {
        let mut totals = self.ended.clone();
        for (name, value) in self.last.values().flatten() {
            *totals.entry(name).or_default() += value;
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_parts_and_over_lives() {
        let text = "# HELP daybook_gaps_total x\ndaybook_gaps_total{part=\"a\"} 2\ndaybook_gaps_total{part=\"b\"} 3\n";
        let mut figures = Figures::default();
        figures.take("front-1", summed(text));
        figures.take("front-1", summed("daybook_gaps_total{part=\"a\"} 1\n"));
        figures.take("front-2", summed(text));
        assert_eq!(figures.totals()["daybook_gaps_total"], 11.0);
    }
}
