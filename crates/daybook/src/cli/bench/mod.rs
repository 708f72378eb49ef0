//! `daybook bench`: what the library measures by itself, and what needs the whole platform.

mod idle;
mod latency;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use daybook_bench::{Benchmark, Report, Settings};

use super::{Outcome, Place};
use crate::output;

/// Benchmarks of the whole platform, on the local stack that runs.
const OF_THE_PLATFORM: [&str; 2] = ["idle", "latency"];
/// Folder of the local stack.
const LOCAL_STACK: &str = ".daybook";

/// Measures the platform. Parts are measured on servers that are started for it and deleted afterwards; `idle` and `latency` on
/// the local stack (`./dev up`). Figures mean something only for a release build on a machine that does nothing else; ratios are
/// of one and the same run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to measure.
    #[arg(value_parser = names())]
    name: String,
    /// A tenth of the work: to see that it runs.
    #[arg(long)]
    quick: bool,
    /// How often each case is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    reps: u16,
    /// The folder of a stack that runs already; it should be sized for measuring.
    #[arg(long, value_name = "FOLDER")]
    stack: Option<PathBuf>,
    /// Print JSON, one line, instead of a table.
    #[arg(long)]
    json: bool,
}

fn names() -> clap::builder::PossibleValuesParser {
    let of_parts = Benchmark::ALL.iter().map(|(name, _)| *name);
    of_parts.chain(OF_THE_PLATFORM).collect::<Vec<_>>().into()
}

pub(crate) async fn carry_out(place: &Place, arguments: Arguments) -> Result<Outcome> {
    let Arguments { name, quick, reps, stack, json } = arguments;
    let settings = Settings { quick, reps: usize::from(reps), stack };
    let report = match name.as_str() {
        "idle" => idle::measure(&settings, local(&settings)).await?,
        "latency" => latency::measure(place, &settings).await?,
        name => of_parts(name, &settings).await?,
    };
    if json {
        output::line(&report.json().to_string())?;
    } else {
        output::line(&report.table())?;
    }
    Ok(Outcome::good_if(report.is_good()))
}

async fn of_parts(name: &str, settings: &Settings) -> Result<Report> {
    let benchmark = Benchmark::named(name).context("the command line accepts no other name")?;
    benchmark.run(settings).await
}

fn local(settings: &Settings) -> &Path {
    settings.stack.as_deref().unwrap_or(Path::new(LOCAL_STACK))
}
