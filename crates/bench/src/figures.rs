//! Figures of repeated measurements, and how they are shown.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// One measurement: figures by name. The names say the unit.
pub type Figures = BTreeMap<&'static str, f64>;

/// Repeated measurements of one case.
#[derive(Clone, Debug, Default)]
pub struct Case {
    pub name: String,
    pub runs: Vec<Figures>,
}

/// A bound that a figure of this run is held against.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What is compared, such as `of the relay`.
    pub what: String,
    pub value: f64,
    pub floor: f64,
    pub goal: f64,
    /// Whether less is better.
    pub at_most: bool,
}

/// What a benchmark found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub benchmark: &'static str,
    pub cases: Vec<Case>,
    /// How it went on, where that is of interest.
    pub series: Option<Series>,
    pub verdicts: Vec<Verdict>,
}

/// The same figures again and again.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the rows are counted in.
    step: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<f64>>,
}

/// Least, median and greatest of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// `None` without values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self { min, median: percentile(&sorted, 50.0), max })
    }
}

/// The value below which `percent` of the sorted values lie; 0 without values.
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (last as f64 * percent / 100.0).round() as usize;
    sorted.get(place.min(last)).copied().unwrap_or_default()
}

/// Median and 99th percentile of what took so many ms each.
pub fn latencies(mut took_ms: Vec<f64>) -> [(&'static str, f64); 2] {
    took_ms.sort_by(f64::total_cmp);
    [("p50_ms", percentile(&took_ms, 50.0)), ("p99_ms", percentile(&took_ms, 99.0))]
}

/// By how many percent of their mean the values rise or fall from the first to the last: the slope of the line through them by least
/// squares. 0 for fewer than two, and where the mean is 0.
pub fn drift_percent(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 || mean == 0.0 {
        return 0.0;
    }
    let middle = (count - 1.0) / 2.0;
    let places = || (0..values.len()).map(|place| place as f64 - middle);
    let slope = places().zip(values).map(|(place, value)| place * (value - mean)).sum::<f64>()
        / places().map(|place| place * place).sum::<f64>();
    slope * (count - 1.0) / mean * 100.0
}

impl Series {
    /// These figures of each run.
    pub fn of(step: &'static str, columns: &'static [&'static str], runs: &[Figures]) -> Self {
        let row = |run: &Figures| columns.iter().map(|column| run.get(column).copied().unwrap_or_default()).collect();
        Self { step, columns, rows: runs.iter().map(row).collect() }
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let head = self.columns.iter().map(|column| format!(" {column:>7}")).collect::<String>();
        let row = |(number, row): (usize, &Vec<f64>)| {
            let cells = row.iter().map(|value| format!(" {:>7}", short(*value))).collect::<String>();
            format!("{number:<7}{cells}")
        };
        std::iter::once(format!("{:<7}{head}", self.step)).chain((1..).zip(&self.rows).map(row))
    }
}

impl Case {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), runs: Vec::new() }
    }

    /// The spread of one figure; `None` where no run has it.
    pub fn spread(&self, figure: &str) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| run.get(figure)).copied())
    }

    /// The median of one figure; 0 where no run has it.
    pub fn median(&self, figure: &str) -> f64 {
        self.spread(figure).map_or(0.0, |spread| spread.median)
    }

    fn figures(&self) -> impl Iterator<Item = (&'static str, Spread)> {
        let mut names: Vec<&'static str> = self.runs.iter().flat_map(|run| run.keys().copied()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| Some((name, self.spread(name)?)))
    }
}

impl Verdict {
    pub fn reaches(&self, bound: f64) -> bool {
        if self.at_most { self.value <= bound } else { self.value >= bound }
    }

    fn word(&self) -> &'static str {
        match (self.reaches(self.goal), self.reaches(self.floor)) {
            (true, _) => "goal reached",
            (_, true) => "floor reached",
            _ => "MISSED",
        }
    }
}

impl Report {
    pub fn new(benchmark: &'static str) -> Self {
        Self { benchmark, ..Self::default() }
    }

    /// Notes a value that must be at least `floor`.
    pub fn at_least(&mut self, what: impl Into<String>, value: f64, floor: f64, goal: f64) {
        self.verdicts.push(Verdict { what: what.into(), value, floor, goal, at_most: false });
    }

    /// Notes a value that must be at most `floor`.
    pub fn at_most(&mut self, what: impl Into<String>, value: f64, floor: f64, goal: f64) {
        self.verdicts.push(Verdict { what: what.into(), value, floor, goal, at_most: true });
    }

    /// Whether every floor is reached.
    pub fn is_good(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.reaches(verdict.floor))
    }

    /// A table for people: one line per figure, then the verdicts.
    pub fn table(&self) -> String {
        let mut lines = vec![format!("{:<43} {:>11} {:>11} {:>11}", self.benchmark, "min", "median", "max")];
        for case in &self.cases {
            for (name, Spread { min, median, max }) in case.figures() {
                let label = format!("{} {name}", case.name);
                lines.push(format!("{label:<43} {:>11} {:>11} {:>11}", short(min), short(median), short(max)));
            }
        }
        lines.extend(self.series.iter().flat_map(Series::lines));
        for verdict in &self.verdicts {
            let Verdict { what, value, floor, goal, .. } = verdict;
            let (value, floor, goal) = (short(*value), short(*floor), short(*goal));
            lines.push(format!("{what}: {value} (floor {floor}, goal {goal}): {}", verdict.word()));
        }
        lines.join("\n")
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let cases = self.cases.iter().map(|case| {
            let figures: Map<String, Value> = case
                .figures()
                .map(|(name, Spread { min, median, max })| (name.to_owned(), json!([min, median, max])))
                .collect();
            json!({ "case": case.name, "runs": case.runs.len(), "min_median_max": figures })
        });
        let verdicts = self.verdicts.iter().map(|verdict| {
            let Verdict { what, value, floor, goal, .. } = verdict;
            json!({ "what": what, "value": value, "floor": floor, "goal": goal, "outcome": verdict.word() })
        });
        json!({
            "benchmark": self.benchmark,
            "cases": cases.collect::<Vec<_>>(),
            "series": self.series.as_ref().map(|series| json!({ "columns": series.columns, "rows": series.rows })),
            "verdicts": verdicts.collect::<Vec<_>>(),
        })
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_the_runs_that_have_the_figure() {
        let mut case = Case::new("a");
        case.runs = vec![Figures::from([("per_s", 3.0)]), Figures::from([("per_s", 1.0)]), Figures::new()];
        case.runs.push(Figures::from([("per_s", 2.0)]));
        assert_eq!(case.spread("per_s"), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(case.spread("p99_ms"), None);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&sorted, 99.0), 99.0);
        assert_eq!(percentile(&sorted, 100.0), 100.0);
        assert_eq!(percentile(&[], 50.0), 0.0);
    }

    #[test]
    fn what_is_flat_drifts_by_nothing_and_what_grows_by_its_growth() {
        assert_eq!(drift_percent(&[5.0, 5.0, 5.0]), 0.0);
        assert_eq!(drift_percent(&[90.0, 100.0, 110.0]), 20.0);
        assert_eq!(drift_percent(&[110.0, 90.0]), -20.0);
        assert_eq!(drift_percent(&[1.0]), 0.0);
    }

    #[test]
    fn a_series_fits_eighty_columns() {
        let columns: &'static [&'static str] =
            &["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
        let run = Figures::from([("one", 123_456.7), ("nine", 1.0)]);
        let report = Report { series: Some(Series::of("minute", columns, &[run])), ..Report::new("soak") };
        assert!(report.table().lines().skip(1).all(|line| line.len() == 79));
    }

    #[test]
    fn a_missed_floor_is_told() {
        let mut report = Report::new("consumer");
        report.at_least("of the relay", 0.3, 0.25, 0.35);
        report.at_most("p50 ms", 3.0, 4.0, 4.0);
        assert!(report.is_good());
        assert!(report.table().contains("floor reached"));
        report.at_most("p50 ms", 5.0, 4.0, 4.0);
        assert!(!report.is_good());
        assert!(report.table().contains("MISSED"));
    }
}
