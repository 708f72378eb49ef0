//! `idle`: what the whole platform in one process costs when nobody wants anything.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use daybook_bench::{Case, Figures, Report, Settings, cpu_seconds, resident_mb};
use daybook_stack::{Layout, Server, Stack};
use tokio::time::{Instant, sleep};

const WATCHED: Duration = Duration::from_secs(20);

pub(super) async fn measure(settings: &Settings, folder: &Path) -> Result<Report> {
    let stack = Stack::attach(Layout::new(folder)?).context("start the platform first: ./dev up --detach")?;
    let pid = stack.pid(Server::Platform).context("the platform does not run; start it with: ./dev up --detach")?;
    let mut case = Case::new("run all");
    for _ in 0..settings.reps {
        let (begun, before) = (Instant::now(), cpu_seconds(pid)?);
        sleep(if settings.quick { WATCHED / 10 } else { WATCHED }).await;
        let percent = (cpu_seconds(pid)? - before) / begun.elapsed().as_secs_f64() * 100.0;
        case.runs.push(Figures::from([("cpu_percent_of_a_core", percent), ("resident_mb", resident_mb(pid)?)]));
    }
    let mut report = Report::new("idle");
    report.at_most("resident, MB", case.median("resident_mb"), 150.0, 75.0);
    report.at_most("percent of a core", case.median("cpu_percent_of_a_core"), 5.0, 2.5);
    report.cases.push(case);
    Ok(report)
}
