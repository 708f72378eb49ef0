//! One message after the other, at a quiet pace: from produce to output visible.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use daybook_events::{CoursePublished, HeaderRef, Message, PublishCourse};
use daybook_log::{Log, Start, Tail};
use rdkafka::ClientConfig;
use rdkafka::producer::{DefaultProducerContext, ThreadedProducer};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use crate::load::{Sender, offer};
use crate::{Figures, latencies};

const PER_SECOND: u64 = 100;
/// Without an output for so long the part is taken to be broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends for so many seconds, after one that does not count.
///
/// # Errors
/// When an output does not come.
pub async fn paced(log: &Log, sender: &mut Sender, seconds: u64) -> Result<Figures> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &log.settings().brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .create()?;
    let mut tail = log.tail(CoursePublished::TOPIC, Start::End, true).await?;
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(PER_SECOND)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent: HashMap<Uuid, Instant> = HashMap::new();
    let mut took_ms = Vec::new();
    let mut left = PER_SECOND * (seconds + 1);
    while left > 0 {
        tokio::select! {
            id = output(&mut tail), if !sent.is_empty() => note(&mut sent, id?, &mut took_ms),
            _ = ticks.tick() => {
                let made = sender.make()?;
                if !made.is_held {
                    sent.insert(made.id, Instant::now());
                }
                offer(&producer, sender.topic(), &made)?;
                left -= 1;
            }
        }
    }
    while !sent.is_empty() {
        let id = timeout(PATIENCE, output(&mut tail)).await.context("an output does not come")??;
        note(&mut sent, id, &mut took_ms);
    }
    let counted = took_ms.split_off(took_ms.len().min(usize::try_from(PER_SECOND)?));
    ensure!(!counted.is_empty(), "nothing was measured");
    Ok(Figures::from(latencies(counted)))
}

fn note(sent: &mut HashMap<Uuid, Instant>, cause: Uuid, took_ms: &mut Vec<f64>) {
    took_ms.extend(sent.remove(&cause).map(|at| at.elapsed().as_secs_f64() * 1_000.0));
}

/// The message that caused the next output.
async fn output(tail: &mut Tail) -> Result<Uuid> {
    let record = tail.next_raw().await?.context("a followed topic has no end")?;
    let header = HeaderRef::decode(record.header.as_deref().context("an output without a header")?)?;
    header.causation_id.with_context(|| format!("{} without a cause", PublishCourse::NAME))
}
