//! `daybook-faults`: what `./dev faults` runs.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use faults::{Options, run};

/// Kills, stops and cuts off processes and servers under load, and checks the rules afterwards.
#[derive(Parser)]
#[command(name = "daybook-faults", version)]
struct Arguments {
    /// How long faults come.
    #[arg(long, default_value_t = 4.0, value_parser = minutes)]
    minutes: f64,
    /// What goes wrong, and when, follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Every leaf in a process of its own, instead of three deployments of two processes each.
    #[arg(long)]
    apart: bool,
    /// How many flows begin each second.
    #[arg(long, default_value_t = 3.0, value_parser = rate)]
    rate: f64,
    /// Print the report as one line of JSON, the last one.
    #[arg(long)]
    json: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    within(text, 0.2, 240.0)
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.1, 100.0)
}

fn within(text: &str, low: f64, high: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (low..=high).contains(&number) { Ok(number) } else { Err(format!("from {low} to {high}")) }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let report = run(&Options {
        name: "faults".to_owned(),
        seed: arguments.seed,
        lasting: Duration::from_secs_f64(arguments.minutes * 60.0),
        apart: arguments.apart,
        per_second: arguments.rate,
    })?;
    let text = if arguments.json { serde_json::to_string(&report)? } else { report.lines().join("\n") };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
