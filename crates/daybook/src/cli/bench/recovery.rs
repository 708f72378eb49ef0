//! `recovery`: how long it takes, after a kill -9, until the first message is applied again; and what the engine had to drop.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use daybook_bench::{Case, Figures, Report, Settings as Asked};
use daybook_events::Timestamp;
use daybook_service::{Clock, SystemClock};
use daybook_stack::{Server, Urls};
use tokio::time::Instant;

use super::enrolling::{Enrolling, Pace};
use super::platform::{Beside, Platform};
use crate::cli::local;
use crate::leaves::{API, LEAVES};

/// Enrollments a second meanwhile: some dozen messages each.
const PER_SECOND: f64 = 20.0;
/// Steady load before each strike.
const BEFORE: Duration = Duration::from_secs(5);
/// How long recovery may take.
const LIMIT: Duration = Duration::from_secs(120);
const ENROLLMENTS: u64 = 50_000;
const DUPLICATES: &str = "daybook_duplicates_total";
const REPUBLISHED: &str = "daybook_republished_total";

/// What is killed, and started again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Struck {
    /// The process that runs every part; the API is another one.
    Worker,
    Broker,
    Database,
}

/// What may be killed.
struct Killable {
    platform: Platform,
    worker: Beside,
}

/// When it was killed.
struct Killed {
    at: Instant,
    wall: Timestamp,
}

pub(super) async fn measure(asked: &Asked) -> Result<Report> {
    let mut platform = Platform::prepared(asked).await?;
    let worker = platform.run_beside(worker)?;
    platform.run(&[API])?;
    let mut enrolling = Enrolling::new(&platform, 1).await?;
    enrolling.provide(ENROLLMENTS).await?;
    let killable = Arc::new(Mutex::new(Killable { platform, worker }));
    let mut report = Report::new("recovery");
    for (struck, name) in
        [(Struck::Worker, "worker killed"), (Struck::Broker, "broker killed"), (Struck::Database, "database killed")]
    {
        let mut case = Case::new(name);
        for _ in 0..asked.reps {
            case.runs.push(recovered(&killable, &mut enrolling, struck).await?);
        }
        report.cases.push(case);
    }
    Ok(report)
}

fn worker(urls: &Urls, settings: &Path) -> Result<daybook_stack::Launch> {
    let parts: Vec<&str> = LEAVES.iter().map(|leaf| leaf.name).collect();
    local::leaves(urls, settings, &parts)
}

async fn recovered(killable: &Arc<Mutex<Killable>>, enrolling: &mut Enrolling, struck: Struck) -> Result<Figures> {
    let pace = Pace::Open(vec![PER_SECOND]);
    enrolling.run(&pace, BEFORE).await?;
    let telemetry = held(killable).worker.telemetry();
    let before = counted(&telemetry).await?;
    let killed = blocking(killable, move |killable| killable.kill(struck)).await?;
    let starting = blocking(killable, move |killable| killable.restart(struck));
    let applied = enrolling.run_until_made_after(&pace, killed.wall, LIMIT);
    let (ready_at, applied_at) = tokio::try_join!(starting, applied)?;
    enrolling.finish().await?;
    let after = counted(&telemetry).await?;
    // A process that was killed counts anew.
    let since = |place: usize| if struck == Struck::Worker { after[place] } else { after[place] - before[place] };
    Ok(Figures::from([
        ("first_applied_s", applied_at.duration_since(killed.at).as_secs_f64()),
        ("ready_s", ready_at.duration_since(killed.at).as_secs_f64()),
        ("duplicates_dropped", since(0)),
        ("published_again", since(1)),
    ]))
}

impl Killable {
    fn kill(&mut self, struck: Struck) -> Result<Killed> {
        match struck {
            Struck::Worker => self.worker.stack.kill(Server::Platform)?,
            Struck::Broker => self.platform.stack.kill(Server::Kafka)?,
            Struck::Database => self.platform.stack.kill(Server::Postgres)?,
        }
        Ok(Killed { at: Instant::now(), wall: SystemClock::default().wall().into() })
    }

    /// Answers when it was ready.
    fn restart(&mut self, struck: Struck) -> Result<Instant> {
        let quiet = &daybook_stack::Silent;
        match struck {
            Struck::Worker => self.worker.stack.restart(Server::Platform, quiet)?,
            Struck::Broker => self.platform.stack.restart(Server::Kafka, quiet)?,
            Struck::Database => self.platform.stack.restart(Server::Postgres, quiet)?,
        }
        Ok(Instant::now())
    }
}

/// Starting and ending processes blocks; the load goes on meanwhile.
async fn blocking<T: Send + 'static>(
    killable: &Arc<Mutex<Killable>>,
    work: impl FnOnce(&mut Killable) -> Result<T> + Send + 'static,
) -> Result<T> {
    let killable = Arc::clone(killable);
    let done = tokio::task::spawn_blocking(move || work(&mut held(&killable)));
    done.await.context("a process could not be handled")?
}

/// A panic while it was held is told by whoever waits for that work.
fn held(killable: &Mutex<Killable>) -> std::sync::MutexGuard<'_, Killable> {
    killable.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Duplicates dropped and messages published again, over all parts of a process.
async fn counted(telemetry: &str) -> Result<[f64; 2]> {
    let text = reqwest::get(format!("{telemetry}/metrics")).await?.error_for_status()?.text().await?;
    Ok([DUPLICATES, REPUBLISHED].map(|name| summed(&text, name)))
}

fn summed(metrics: &str, name: &str) -> f64 {
    let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
    metrics.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_parts() {
        let metrics = "# HELP x\nx_total{part=\"a\"} 2\nx_total{part=\"b\"} 3\nx_total_other{part=\"a\"} 4\n";
        assert_eq!(summed(metrics, "x_total"), 5.0);
    }
}
