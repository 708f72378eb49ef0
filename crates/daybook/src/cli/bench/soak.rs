//! `soak`: the whole platform for a long time at a share of its capacity. Does anything grow that should not?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use daybook_bench::{Case, Figures, Report, Series, Settings as Asked, bar, drift_percent, latencies, resident_mb};
use daybook_service::settings::Settings;
use daybook_stack::Server;
use daybook_store::Reads;
use serde_json::Value;

use super::enrolling::{Enrolling, Pace};
use super::platform::Platform;
use crate::connect;

const MINUTE: Duration = Duration::from_secs(60);
const KB: f64 = 1_000.0;
const MB: f64 = 1_000_000.0;
/// Minutes that are left out of the slopes: caches fill, and connections are made.
const SETTLING_MINUTES: usize = 1;
const VITALS: &str = "SELECT \
    pg_database_size(current_database()) AS table_bytes, \
    (SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables) AS dead_rows, \
    pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS wal_bytes, \
    (SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter)::bigint AS checkpoints";
const COLUMNS: [&str; 9] = ["per_s", "p50_ms", "p99_ms", "db_mb", "db_kb", "dead", "wal_kb", "ckpts", "rss_mb"];

/// What must stay as it is: the figure, its name for people, and by how many percent of its mean it may drift from the first minute
/// to the last, as floor and goal.
const FLAT: [(&str, &str, f64, f64); 7] = [
    ("per_s", "enrollments a second", 5.0, 2.0),
    ("p50_ms", "p50", 25.0, 10.0),
    ("p99_ms", "p99", 50.0, 25.0),
    ("db_kb", "table growth per enrollment", 25.0, 10.0),
    ("dead", "dead rows", 50.0, 25.0),
    ("wal_kb", "WAL per enrollment", 25.0, 10.0),
    ("rss_mb", "resident memory", 25.0, 10.0),
];

/// How long, and how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) minutes: u32,
    /// Of the capacity that is measured first, in percent.
    pub(super) share_percent: u32,
}

/// What the database tells of itself.
struct Vitals {
    table_bytes: f64,
    dead_rows: f64,
    wal_bytes: f64,
    checkpoints: f64,
}

pub(super) async fn measure(asked: &Asked, load: Load) -> Result<Report> {
    let platform = Platform::whole(asked).await?;
    let settings = platform.settings()?;
    let mut enrolling = Enrolling::new(&platform, 1).await?;
    let capacity = enrolling.capacity().await?;
    let rate = capacity * f64::from(load.share_percent) / 100.0;
    let minute = if asked.quick { MINUTE / 10 } else { MINUTE };
    let seconds = minute.as_secs_f64() * f64::from(load.minutes);
    enrolling.provide((rate * seconds) as u64).await?;
    let reads = reads(&settings).await?;
    let mut minutes = Vec::new();
    let mut before = Vitals::of(&reads).await?;
    let bar = bar("minutes at the share of capacity", u64::from(load.minutes))?;
    for _ in 0..load.minutes {
        let meter = platform.meter(&[])?;
        enrolling.run(&Pace::Open(vec![rate]), minute).await?;
        let now = Vitals::of(&reads).await?;
        let mut figures = of_minute(&mut enrolling, minute)?;
        now.note_since(&before, &mut figures);
        let pid = platform.stack.running_pid(Server::Platform)?;
        figures.insert("rss_mb", resident_mb(pid)?);
        meter.note(&mut figures)?;
        minutes.push(figures);
        before = now;
        bar.inc(1);
    }
    bar.finish_and_clear();
    enrolling.finish().await?;
    let answers = enrolling.answers[0];
    ensure!(answers.failed == 0, "{} requests failed", answers.failed);
    let mut first = Case::new("before");
    first.runs.push(Figures::from([("capacity_per_s", capacity), ("wanted_per_s", rate)]));
    let mut after = Case::new("all of it");
    after.runs.push(Figures::from([("accepted", answers.accepted as f64), ("refused", answers.refused as f64)]));
    Ok(told(vec![first, Case { name: "a minute".to_owned(), runs: minutes.clone() }, after], &minutes))
}

fn told(cases: Vec<Case>, minutes: &[Figures]) -> Report {
    let mut report = Report { cases, series: Some(Series::of("minute", &COLUMNS, minutes)), ..Report::new("soak") };
    for (figure, what, floor, goal) in FLAT {
        let settled = minutes.iter().skip(SETTLING_MINUTES).map(|minute| minute[figure]);
        let drift = drift_percent(&settled.collect::<Vec<_>>());
        report.at_most(format!("drift of {what}, % of its mean"), drift.abs(), floor, goal);
    }
    report
}

/// Of the enrollments that have come to their end since it was asked last.
fn of_minute(enrolling: &mut Enrolling, minute: Duration) -> Result<Figures> {
    let ended = std::mem::take(&mut enrolling.ended);
    ensure!(!ended.is_empty(), "not a single enrollment came to its end within {} s", minute.as_secs());
    let took_ms: Vec<f64> = ended.iter().map(|ended| ended.took_ms).collect();
    let count = took_ms.len() as f64;
    let mut figures = Figures::from([("ended", count), ("per_s", count / minute.as_secs_f64())]);
    figures.extend(latencies(took_ms));
    Ok(figures)
}

async fn reads(settings: &Settings) -> Result<Reads> {
    Ok(connect::store(settings).await?.reads().await?)
}

impl Vitals {
    async fn of(reads: &Reads) -> Result<Self> {
        let rows = reads.rows(VITALS, &[]).await?;
        let row = rows.first().context("the database tells nothing")?;
        let number = |name: &str| row.get(name).and_then(Value::as_f64).with_context(|| format!("no {name}"));
        Ok(Self {
            table_bytes: number("table_bytes")?,
            dead_rows: number("dead_rows")?,
            wal_bytes: number("wal_bytes")?,
            checkpoints: number("checkpoints")?,
        })
    }

    /// What there is, and what each enrollment since `before` has left behind.
    fn note_since(&self, before: &Self, figures: &mut Figures) {
        let ended = figures["ended"];
        figures.insert("db_mb", self.table_bytes / MB);
        figures.insert("db_kb", (self.table_bytes - before.table_bytes) / ended / KB);
        figures.insert("dead", self.dead_rows);
        figures.insert("wal_kb", (self.wal_bytes - before.wal_bytes) / ended / KB);
        figures.insert("ckpts", self.checkpoints - before.checkpoints);
    }
}
