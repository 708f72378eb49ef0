//! How fast a topic grows.

use std::time::Duration;

use anyhow::{Result, ensure};
use daybook_log::Log;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};

/// How often the ends are asked for.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Without growth for so long the work is taken to have stopped.
const STALLED: Duration = Duration::from_secs(60);

/// A bar on the terminal, if there is one.
///
/// # Errors
/// When its template cannot be read.
pub fn bar(what: &str, total: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}, {eta} left")?;
    Ok(ProgressBar::new(total).with_style(style).with_message(what.to_owned()))
}

/// Records that were ever published to a topic.
///
/// # Errors
/// When the broker does not answer.
pub async fn records(log: &Log, topic: &str) -> Result<u64> {
    let ends = log.admin().all_ends(&[topic]).await?.concat();
    Ok(ends.into_iter().map(|end| u64::try_from(end).unwrap_or_default()).sum())
}

/// Waits until the topic has grown by `count` from `before`, and answers records per second between the first tenth and the end.
///
/// # Errors
/// When it stops growing.
pub async fn growth(log: &Log, topic: &str, before: u64, count: u64) -> Result<f64> {
    growth_shown(log, topic, before, count, &ProgressBar::hidden()).await
}

/// As [`growth`], for what takes so long that somebody wants to see it.
///
/// # Errors
/// When it stops growing.
pub async fn growth_shown(log: &Log, topic: &str, before: u64, count: u64, bar: &ProgressBar) -> Result<f64> {
    let mut begun: Option<(Instant, u64)> = None;
    let mut last = (Instant::now(), before);
    loop {
        let seen = records(log, topic).await?;
        let now = Instant::now();
        if begun.is_none() && seen >= before + count / 10 {
            begun = Some((now, seen));
        }
        if seen >= before + count {
            let (since, from) = begun.unwrap_or(last);
            let seconds = now.duration_since(since).as_secs_f64().max(ASK_EVERY.as_secs_f64());
            return Ok((seen - from) as f64 / seconds);
        }
        bar.set_position(seen - before);
        if seen > last.1 {
            last = (now, seen);
        }
        ensure!(now.duration_since(last.0) < STALLED, "{topic} stands still at {seen} of {} records", before + count);
        sleep(ASK_EVERY).await;
    }
}
