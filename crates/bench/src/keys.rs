//! `keys`: what a message costs where there are ten times as many entities, each with its row in the database.

use std::sync::Arc;

use anyhow::{Context, Result};
use daybook_events::{CoursePublished, Message, PublishCourse};
use daybook_log::Log;
use daybook_store::Store;

use crate::consumer::filled;
use crate::load::Sender;
use crate::running::Running;
use crate::stage::Stage;
use crate::{Case, Figures, Report, Settings, progress, tally};

const MESSAGES: u64 = 1_000_000;

pub async fn measure(settings: &Settings, stage: &Stage) -> Result<Report> {
    let most = settings.amount(settings.keys);
    let mut few = Population::new(stage, most / 10).await?;
    let mut many = Population::new(stage, most).await?;
    let (mut of_few, mut of_many) = (Case::new(named(few.keys)), Case::new(named(many.keys)));
    let mut both = Case::new("many / few");
    let messages = settings.amount(MESSAGES);
    for _ in 0..settings.reps {
        let (less, more) = (few.measured(stage, messages).await?, many.measured(stage, messages).await?);
        both.runs.push(Figures::from([
            ("cpu", more["cpu_us_per_message"] / less["cpu_us_per_message"]),
            ("rate", more["per_s"] / less["per_s"]),
        ]));
        of_few.runs.push(less);
        of_many.runs.push(more);
    }
    let mut report = Report::new("keys");
    report.at_most("cost of a message, times that of a tenth", both.median("cpu"), 1.5, 1.25);
    report.cases = vec![of_few, of_many, both];
    Ok(report)
}

fn named(keys: u64) -> String {
    format!("{keys} keys")
}

/// An aggregate whose every entity has its row.
struct Population {
    keys: u64,
    log: Arc<Log>,
    store: Store,
    sender: Option<Sender>,
}

impl Population {
    /// Makes the rows, by the engine itself: a command for each entity.
    async fn new(stage: &Stage, keys: u64) -> Result<Self> {
        let spec = tally::part().leaf.spec().clone();
        let log = stage.log(&[spec], &[PublishCourse::FULL_NAME, CoursePublished::FULL_NAME]).await?;
        let (mut sender, store) = (Sender::new(&log, keys)?, stage.store().await?);
        let brokers = log.settings().brokers.clone();
        let filling = tokio::task::spawn_blocking(move || sender.fill_each(&brokers).map(|()| sender));
        let running = Running::start(vec![tally::part()], &log, &store)?;
        let bar = progress::bar(&format!("making {keys} rows"), keys)?;
        progress::growth_shown(&log, CoursePublished::TOPIC, 0, keys, &bar).await?;
        bar.finish_and_clear();
        running.end().await?;
        let sender = filling.await.context("filling was cut off")??;
        Ok(Self { keys, log, store, sender: Some(sender) })
    }

    /// So many messages, each to any of the entities, that wait when the part starts.
    async fn measured(&mut self, stage: &Stage, messages: u64) -> Result<Figures> {
        let sender = self.sender.take().context("the sender was lost with a failed fill")?;
        self.sender = Some(filled(&self.log, sender, messages).await?.0);
        let before = progress::records(&self.log, CoursePublished::TOPIC).await?;
        let meter = stage.meter(&[])?;
        let running = Running::start(vec![tally::part()], &self.log, &self.store)?;
        let per_s = progress::growth(&self.log, CoursePublished::TOPIC, before, messages).await?;
        let mut figures = Figures::from([("per_s", per_s)]);
        meter.note(&mut figures)?;
        let spent = figures["cpu_own_s"] + figures["cpu_broker_s"] + figures["cpu_database_s"];
        figures.insert("cpu_us_per_message", spent / messages as f64 * 1_000_000.0);
        running.end().await?;
        Ok(figures)
    }
}
