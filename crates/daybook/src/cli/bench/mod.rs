//! `daybook bench`: what the library measures by itself, and what needs the whole platform.

mod crowd;
mod enrolling;
mod http;
mod idle;
mod latency;
mod overload;
mod platform;
mod recovery;
mod soak;
mod staff;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use daybook_bench::{Benchmark, Report, Settings};

use super::{Outcome, Place};
use crate::output;

pub(super) use http::serve as serve_bare;

/// Benchmarks of the whole platform.
const OF_THE_PLATFORM: [&str; 6] = ["idle", "latency", "http", "soak", "overload", "recovery"];
/// Folder of the local stack.
const LOCAL_STACK: &str = ".daybook";

/// Measures the platform. Servers are started for it and deleted afterwards; but `idle` and `latency` measure the local stack
/// (`./dev up`). Figures mean something only for a release build on a machine that does nothing else; ratios are
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
    /// For `keys`: how many there are in the larger of its two cases; the other has a tenth of them.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    keys: u64,
    /// For `soak`: how long. With --quick a minute has six seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(3..=1440))]
    minutes: u32,
    /// For `soak`: how much of the capacity that is measured first.
    #[arg(long, default_value_t = 70, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    share: u32,
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
    let Arguments { name, quick, reps, keys, minutes, share: share_percent, stack, json } = arguments;
    let settings = Settings { quick, reps: usize::from(reps), keys, stack };
    let report = match name.as_str() {
        "http" => http::measure(&settings).await?,
        "idle" => idle::measure(&settings, local(&settings)).await?,
        "overload" => overload::measure(&settings).await?,
        "recovery" => recovery::measure(&settings).await?,
        "soak" => soak::measure(&settings, soak::Load { minutes, share_percent }).await?,
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
