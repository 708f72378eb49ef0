//! `fold`: the engine and the kit alone, without servers: CPU time of this thread for each message. A busy machine hardly changes
//! it, so it also tells whether a change to the engine has made it faster.

use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use daybook_engine::{Action, Claimed, Engine, Event, Limits, PARTITIONS, Record, SchemaLookup, Stream};
use daybook_events::{Message, PublishCourse, Schemas, StaticSchemas, Timestamp};

use crate::load::Sender;
use crate::{Case, Figures, Report, Settings, tally};

const MESSAGES: u64 = 400_000;
const ENTITIES: u64 = 20_000;
/// Records that are handed over at once, as the fetcher does.
const CHUNK: u64 = 2_000;
const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

pub fn measure(settings: &Settings) -> Result<Report> {
    let messages = settings.amount(MESSAGES);
    let mut case = Case::new("engine and kit");
    for _ in 0..settings.reps {
        case.runs.push(folded(messages)?);
    }
    let mut report = Report::new("fold");
    report.cases.push(case);
    Ok(report)
}

fn folded(messages: u64) -> Result<Figures> {
    let schemas = StaticSchemas;
    let mut sender = Sender::unsent(&schemas, ENTITIES)?;
    let id = schemas.id_of(PublishCourse::FULL_NAME).context("a schema of this build")?;
    let writer = schemas.writer(id).context("a schema of this build")?;
    let mut world = World::new();
    let mut spent_ns = 0;
    let mut left = messages;
    while left > 0 {
        let mut chunks: Vec<Vec<Record>> = vec![Vec::new(); usize::from(PARTITIONS)];
        for _ in 0..CHUNK.min(left) {
            let made = sender.make()?;
            let next = &mut world.next_offsets[usize::from(made.partition)];
            chunks[usize::from(made.partition)].push(Record {
                stream: Stream::Data,
                partition: made.partition,
                offset: *next,
                time: NOW,
                key: Some(Bytes::copy_from_slice(&made.key)),
                header: Some(made.header.into()),
                value: Some(made.value.into()),
                schema: SchemaLookup::Known(Arc::clone(&writer)),
            });
            *next += 1;
        }
        left = left.saturating_sub(CHUNK);
        let before_ns = thread_cpu_ns()?;
        for (partition, records) in (0..).zip(chunks) {
            let token = world.tokens[usize::from(partition)];
            world.tell(Event::Fetched { partition, token, records })?;
        }
        spent_ns += thread_cpu_ns()? - before_ns;
    }
    anyhow::ensure!(world.published == messages, "{messages} commands led to {} events", world.published);
    Ok(Figures::from([("cpu_us_per_message", spent_ns as f64 / 1_000.0 / messages as f64)]))
}

/// A log and a database that do everything at once.
struct World {
    engine: Engine,
    tokens: [u64; PARTITIONS as usize],
    next_offsets: [i64; PARTITIONS as usize],
    published: u64,
}

impl World {
    fn new() -> Self {
        let engine = Engine::new(tally::part().leaf, Arc::new(StaticSchemas), Limits::default());
        let mut world =
            Self { engine, tokens: [0; PARTITIONS as usize], next_offsets: [0; PARTITIONS as usize], published: 0 };
        for partition in 0..PARTITIONS {
            world.tell(Event::Assigned { partition }).expect("a claim is carried out");
        }
        world
    }

    fn tell(&mut self, event: Event) -> Result<()> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut actions = Vec::new();
            self.engine.on(event, NOW, &mut actions);
            for action in actions {
                self.carry_out(action, &mut events)?;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action, events: &mut VecDeque<Event>) -> Result<()> {
        match action {
            Action::Claim { partition } => events.push_back(Event::Claimed(Box::new(Claimed::first(partition, 1)))),
            Action::Fetch { partition, token, .. } => self.tokens[usize::from(partition)] = token,
            Action::Load { ticket, .. } => events.push_back(Event::Loaded { ticket, result: Ok(Box::default()) }),
            Action::Commit { ticket, .. } => events.push_back(Event::Committed { ticket, result: Ok(()) }),
            Action::Publish { partition, attempt, messages } => {
                self.published += messages.len() as u64;
                let delivered = messages.iter().map(|message| message.seq);
                let delivered = delivered.map(|seq| Event::Delivered { partition, attempt, seq, ok: true });
                events.extend(delivered);
            }
            Action::Alarm(alarm) => bail!("an alarm: {alarm:?}"),
            _ => {}
        }
        Ok(())
    }
}

/// CPU time of this thread: the scheduler's own count.
fn thread_cpu_ns() -> Result<u64> {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").context("the kernel keeps no count")?;
    let first = counted.split_whitespace().next().context("an empty count")?;
    Ok(first.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_leads_to_one_event() {
        assert!(folded(5_000).unwrap()["cpu_us_per_message"] > 0.0);
    }
}
