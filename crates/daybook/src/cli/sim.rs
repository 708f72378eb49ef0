//! `daybook sim`

use anyhow::Result;
use daybook_sim::{Faults, Outcome as SeedOutcome, Settings, TROUBLE_AFTER_MS, Tally, run_many, shrink};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::Outcome;
use crate::output::{self, counted};

/// Steps of a shrunk run that are printed: its last ones, which lead to the violation.
const STEPS_SHOWN: usize = 60;

/// The engine and the leaves run on a simulated log, database, clock and outside world, all driven by a seed, with crashes,
/// rebalances, duplicate and failed deliveries and commits whose fate nobody knows. A seed replays exactly, and one that
/// fails is made small.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// How many flows each seed runs.
    #[arg(long, default_value_t = 200)]
    flows: usize,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Simulated worker processes.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// How long the faults go on after the last flow has begun, in simulated ms.
    #[arg(long, default_value_t = TROUBLE_AFTER_MS)]
    trouble_ms: i64,
    /// Only these kinds of faults, at their usual rates.
    #[arg(long, value_delimiter = ',')]
    faults: Option<Vec<String>>,
    /// Print every step of the first seed, and run no other.
    #[arg(long)]
    trace: bool,
    /// Leave a failing seed as it is.
    #[arg(long)]
    no_shrink: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn settings(&self) -> Result<Settings> {
        Ok(Settings {
            workers: self.workers,
            faults: self.faults.as_ref().map_or_else(|| Ok(Faults::usual()), |names| Faults::only(names))?,
            trouble_ms: self.trouble_ms,
            trace: self.trace,
            ..Settings::usual(self.seed, self.flows)
        })
    }
}

/// What was found in all seeds.
#[derive(Default)]
struct Report {
    seeds: usize,
    steps: u64,
    tally: Tally,
    /// Without their traces.
    failing: Vec<SeedOutcome>,
}

pub(crate) fn carry_out(arguments: &Arguments) -> Result<Outcome> {
    let settings = arguments.settings()?;
    let count = if arguments.trace { 1 } else { arguments.seeds };
    let bar = ProgressBar::new(count).with_style(style());
    let mut report = Report::default();
    let mut told = Ok(());
    run_many(&settings, arguments.seed..arguments.seed.saturating_add(count), |mut outcome| {
        bar.inc(1);
        told = outcome.trace.iter().try_for_each(|step| output::line(step));
        report.seeds += 1;
        report.steps += outcome.steps;
        report.tally.add(&outcome.tally);
        outcome.trace.clear();
        if !outcome.violations.is_empty() {
            report.failing.push(outcome);
        }
        told.is_ok()
    });
    bar.finish_and_clear();
    told?;
    if arguments.json {
        output::json(&as_object(&settings, &report))?;
    } else {
        tell(arguments, &settings, &report)?;
    }
    Ok(Outcome::good_if(report.failing.is_empty()))
}

fn tell(arguments: &Arguments, settings: &Settings, report: &Report) -> Result<()> {
    for outcome in &report.failing {
        for violation in &outcome.violations {
            output::line(&format!("seed {}: {}: {}", outcome.seed, violation.rule, violation.detail))?;
        }
        output::line(&format!("  replay it with: {}", of_seed(settings, outcome).replay()))?;
    }
    if let Some(first) = report.failing.first().filter(|_| !arguments.no_shrink && !arguments.trace) {
        tell_smallest(&of_seed(settings, first), first)?;
    }
    let flows = counted(report.seeds * settings.flows, "flow");
    let faults = if report.tally.total() == 0 { "none".to_owned() } else { report.tally.to_string() };
    let (seeds, violations) = (counted(report.seeds, "seed"), counted(report.failing.len(), "violation"));
    output::line(&format!("{seeds}, {flows}, {} steps; faults: {faults}; {violations}", report.steps))
}

fn of_seed(settings: &Settings, outcome: &SeedOutcome) -> Settings {
    Settings { seed: outcome.seed, ..settings.clone() }
}

/// A short run that breaks the same rule, and how it comes to that.
fn tell_smallest(failing: &Settings, outcome: &SeedOutcome) -> Result<()> {
    let Some(violation) = outcome.violations.first() else { return Ok(()) };
    let (smallest, outcome) = shrink(failing, violation);
    let hidden = outcome.trace.len().saturating_sub(STEPS_SHOWN);
    output::line(&format!(
        "  the same with {}, its last steps of {}:",
        counted(smallest.flows, "flow"),
        outcome.trace.len()
    ))?;
    outcome.trace[hidden..].iter().try_for_each(|step| output::line(&format!("    {step}")))?;
    for violation in &outcome.violations {
        output::line(&format!("    {}: {}", violation.rule, violation.detail))?;
    }
    output::line(&format!("  replay it with: {}", smallest.replay()))
}

fn as_object(settings: &Settings, report: &Report) -> serde_json::Value {
    let violations = report.failing.iter().flat_map(|outcome| {
        outcome.violations.iter().map(|violation| {
            json!({
                "seed": outcome.seed,
                "rule": violation.rule,
                "detail": violation.detail,
                "replay": of_seed(settings, outcome).replay(),
            })
        })
    });
    json!({
        "seeds": report.seeds,
        "flows": report.seeds * settings.flows,
        "steps": report.steps,
        "faults": report.tally.iter().collect::<std::collections::BTreeMap<_, _>>(),
        "violations": violations.collect::<Vec<_>>(),
    })
}

fn style() -> ProgressStyle {
    let made = ProgressStyle::with_template("{bar:40} {pos} of {len} seeds, {elapsed}, {eta} to go");
    made.unwrap_or_else(|_| ProgressStyle::default_bar())
}
