//! `held`: one blocked entity among many. What comes for it is held; the others are to notice nothing.

use anyhow::{Context, Result};
use daybook_events::{CoursePublished, Message, PublishCourse, RecordParked};

use crate::consumer::{caught_up, consumed, filled};
use crate::load::Sender;
use crate::paced::paced;
use crate::stage::Stage;
use crate::{Case, Figures, Report, Settings, tally};

const MESSAGES: u64 = 500_000;
const ENTITIES: u64 = 20_000;
const TYPES: [&str; 3] = [PublishCourse::FULL_NAME, CoursePublished::FULL_NAME, RecordParked::FULL_NAME];
/// Every so manieth message is for one entity, blocked or not: so both cases are sent the same.
const FAVORED_EVERY: u64 = 100;
const QUIET_SECONDS: u64 = 10;

pub async fn measure(settings: &Settings, stage: &Stage) -> Result<Report> {
    let (mut open, mut blocked, mut both) =
        (Case::new("none blocked"), Case::new("one blocked"), Case::new("blocked / none"));
    for _ in 0..settings.reps {
        let (without, with) = (run(settings, stage, false).await?, run(settings, stage, true).await?);
        both.runs.push(Figures::from([
            ("rate", with["per_s"] / without["per_s"]),
            ("p50", with["p50_ms"] / without["p50_ms"]),
            ("p99", with["p99_ms"] / without["p99_ms"]),
        ]));
        open.runs.push(without);
        blocked.runs.push(with);
    }
    let mut report = Report::new("held");
    report.at_least("others' rate beside a blocked key, of that without", both.median("rate"), 0.9, 0.97);
    report.at_most("others' p50 beside it, of that without", both.median("p50"), 1.2, 1.1);
    report.cases = vec![open, blocked, both];
    Ok(report)
}

/// Full load, then a quiet pace; figures are those of the events that come.
async fn run(settings: &Settings, stage: &Stage, is_blocked: bool) -> Result<Figures> {
    let spec = tally::part().leaf.spec().clone();
    let log = stage.log(&[spec], &TYPES).await?;
    let messages = settings.amount(MESSAGES);
    let mut sender = Sender::new(&log, ENTITIES)?.favoring(FAVORED_EVERY, is_blocked);
    if is_blocked {
        let brokers = log.settings().brokers.clone();
        let blocking = tokio::task::spawn_blocking(move || sender.block(&brokers).map(|()| sender));
        sender = blocking.await.context("blocking was cut off")??;
    }
    let (mut sender, events) = filled(&log, sender, messages).await?;
    let mut figures = consumed(stage, &log, messages, events).await?;
    let running = caught_up(stage, &log, events).await?;
    figures.extend(paced(&log, &mut sender, settings.amount(QUIET_SECONDS)).await?);
    running.end().await?;
    Ok(figures)
}
