//! `daybook sim`

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use anyhow::Result;
use daybook_sim::{Faults, Outcome as SeedOutcome, Settings, Tally, run};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::Outcome;
use crate::output::{self, counted};

/// The engine and the leaves run on a simulated log, database, clock and outside world, all driven by a seed, with crashes,
/// rebalances, duplicate and failed deliveries and commits whose fate nobody knows. A seed replays exactly.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// How many flows each seed runs.
    #[arg(long, default_value_t = 50)]
    flows: usize,
    /// The first seed; with it alone, only that one is run.
    #[arg(long)]
    seed: Option<u64>,
    /// Simulated worker processes.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Print every step; for one seed.
    #[arg(long)]
    trace: bool,
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn settings(&self, seed: u64) -> Settings {
        Settings { seed, flows: self.flows, workers: self.workers, faults: Faults::usual(), trace: self.trace }
    }

    fn replay(&self, seed: u64) -> String {
        format!("daybook sim --seed {seed} --seeds 1 --flows {} --workers {}", self.flows, self.workers)
    }
}

pub(crate) fn carry_out(arguments: &Arguments) -> Result<Outcome> {
    let first = arguments.seed.unwrap_or(1);
    let outcomes = run_all(arguments, first);
    let violated: Vec<&SeedOutcome> = outcomes.iter().filter(|outcome| !outcome.violations.is_empty()).collect();
    let mut tally = Tally::default();
    outcomes.iter().for_each(|outcome| tally.add(&outcome.tally));
    if arguments.trace {
        outcomes.iter().flat_map(|outcome| &outcome.trace).try_for_each(|step| output::line(step))?;
    }
    if arguments.json {
        output::json(&as_object(arguments, &outcomes, &tally))?;
    } else {
        for outcome in &violated {
            for violation in &outcome.violations {
                output::line(&format!("seed {}: {}: {}", outcome.seed, violation.rule, violation.detail))?;
            }
            output::line(&format!("  replay it with: {} --trace", arguments.replay(outcome.seed)))?;
        }
        output::line(&summary(arguments, outcomes.len(), &tally, violated.len()))?;
    }
    Ok(Outcome::good_if(violated.is_empty()))
}

fn summary(arguments: &Arguments, seeds: usize, tally: &Tally, violated: usize) -> String {
    let flows = counted(seeds * arguments.flows, "flow");
    let faults = if tally.total() == 0 { "none".to_owned() } else { tally.to_string() };
    format!("{}, {flows}; faults: {faults}; {}", counted(seeds, "seed"), counted(violated, "violation"))
}

fn as_object(arguments: &Arguments, outcomes: &[SeedOutcome], tally: &Tally) -> serde_json::Value {
    let violations = outcomes.iter().flat_map(|outcome| {
        outcome.violations.iter().map(|violation| {
            json!({
                "seed": outcome.seed,
                "rule": violation.rule,
                "detail": violation.detail,
                "replay": arguments.replay(outcome.seed),
            })
        })
    });
    json!({
        "seeds": outcomes.len(),
        "flows": outcomes.len() * arguments.flows,
        "faults": tally.iter().collect::<std::collections::BTreeMap<_, _>>(),
        "violations": violations.collect::<Vec<_>>(),
    })
}

/// Runs the seeds, as many at once as there are cores; answers in the order of the seeds.
fn run_all(arguments: &Arguments, first: u64) -> Vec<SeedOutcome> {
    let count = if arguments.trace { 1 } else { arguments.seeds };
    let bar = ProgressBar::new(count).with_style(style());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let (sender, results) = mpsc::channel();
    let mut outcomes: Vec<SeedOutcome> = thread::scope(|scope| {
        for _ in 0..cores {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= count || sender.send(run(&arguments.settings(first.wrapping_add(place)))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        results.iter().inspect(|_| bar.inc(1)).collect()
    });
    bar.finish_and_clear();
    outcomes.sort_by_key(|outcome| outcome.seed.wrapping_sub(first));
    outcomes
}

fn style() -> ProgressStyle {
    let made = ProgressStyle::with_template("{bar:40} {pos} of {len} seeds, {elapsed}, {eta} to go");
    made.unwrap_or_else(|_| ProgressStyle::default_bar())
}
