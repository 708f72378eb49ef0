//! `consumer`: an aggregate under full load.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use daybook_events::{CoursePublished, Message, PublishCourse};
use daybook_log::Log;

use crate::load::Sender;
use crate::paced::paced;
use crate::relay::Relay;
use crate::running::Running;
use crate::stage::Stage;
use crate::{Case, Figures, Report, Settings, progress, streams, tally};

const MESSAGES: u64 = 1_000_000;
const ENTITIES: u64 = 20_000;
const QUIET_SECONDS: u64 = 10;

pub async fn measure(settings: &Settings, stage: &Stage) -> Result<Report> {
    let spec = tally::part().leaf.spec().clone();
    let log = stage.log(&[spec], &[PublishCourse::FULL_NAME, CoursePublished::FULL_NAME]).await?;
    let messages = settings.amount(MESSAGES);
    let (mut sender, _) = filled(&log, Sender::new(&log, ENTITIES)?, messages).await?;
    let (mut relay, mut consumer) = (Case::new("relay"), Case::new("consumer"));
    let (mut streams, mut quiet) = (Case::new("kafka streams"), Case::new("100 a second"));
    for _ in 0..settings.reps {
        relay.runs.push(relayed(stage, &log, messages).await?);
        consumer.runs.push(consumed(stage, &log, messages, messages).await?);
        if streams::is_there() {
            streams.runs.push(streams::tallied(stage, &log, messages).await?);
        }
    }
    // Last, because what it sends is more than the others are to read.
    let running = caught_up(stage, &log, messages).await?;
    for _ in 0..settings.reps {
        quiet.runs.push(paced(&log, &mut sender, settings.amount(QUIET_SECONDS)).await?);
    }
    running.end().await?;
    let mut report = Report::new("consumer");
    let rate = consumer.median("per_s");
    report.at_least("consumer, of the relay", rate / relay.median("per_s"), 0.25, 0.35);
    if !streams.runs.is_empty() {
        report.at_least("consumer, times Kafka Streams", rate / streams.median("per_s"), 1.2, 1.5);
    }
    report.at_most("100 a second, p50 ms", quiet.median("p50_ms"), 4.0, 4.0);
    report.cases = vec![relay, streams, consumer, quiet];
    Ok(report)
}

/// Lets the sender send so many. Answers it, for what is to be sent later, and of how many something is to come.
pub(crate) async fn filled(log: &Log, mut sender: Sender, messages: u64) -> Result<(Sender, u64)> {
    let brokers = log.settings().brokers.clone();
    let filling = tokio::task::spawn_blocking(move || sender.fill(&brokers, messages).map(|made| (sender, made)));
    filling.await.context("filling was cut off")?
}

/// The aggregate with nothing before it, after all these events.
pub(crate) async fn caught_up(stage: &Stage, log: &Arc<Log>, events: u64) -> Result<Running> {
    let before = progress::records(log, CoursePublished::TOPIC).await?;
    let store = stage.store().await?;
    let running = Running::start(vec![tally::part()], log, &store)?;
    progress::growth(log, CoursePublished::TOPIC, before, events).await?;
    Ok(running)
}

async fn relayed(stage: &Stage, log: &Arc<Log>, messages: u64) -> Result<Figures> {
    let before = progress::records(log, CoursePublished::TOPIC).await?;
    let relay = Relay::new(log)?;
    let meter = stage.meter(&[])?;
    let running = tokio::task::spawn_blocking(move || relay.run(messages));
    let per_s = progress::growth(log, CoursePublished::TOPIC, before, messages).await?;
    let mut figures = Figures::from([("per_s", per_s)]);
    meter.note(&mut figures)?;
    running.await.context("the relay was cut off")??;
    Ok(figures)
}

/// All that is in the topic, by a part that begins anew. So many commands there are, and so many events have to come of them.
pub(crate) async fn consumed(stage: &Stage, log: &Arc<Log>, messages: u64, events: u64) -> Result<Figures> {
    let before = progress::records(log, CoursePublished::TOPIC).await?;
    let store = stage.store().await?;
    let meter = stage.meter(&[])?;
    let running = Running::start(vec![tally::part()], log, &store)?;
    let per_s = progress::growth(log, CoursePublished::TOPIC, before, events).await?;
    let mut figures = Figures::from([("per_s", per_s)]);
    meter.note(&mut figures)?;
    running.end().await?;
    let made = progress::records(log, CoursePublished::TOPIC).await? - before;
    ensure!(made == events, "{messages} commands led to {made} events");
    Ok(figures)
}
