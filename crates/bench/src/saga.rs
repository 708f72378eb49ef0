//! `saga`: five steps, orchestrator and participant, so many at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use daybook_events::{
    EnrollLearner, Header, LearnerEnrolled, Message, ReserveSeat, SagaAdvanced, SagaEnded, SagaStarted, Schemas,
    SeatReserved, Timestamp, encode, frame, key, unframe,
};
use daybook_log::{Log, PublishError, Request, Requests, Start, Tail};
use daybook_service::ids;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::running::Running;
use crate::stage::Stage;
use crate::{Case, Figures, Report, Settings, journey, percentile};

/// What is counted, and what goes before it.
const MEASURED: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(3);
/// How long a single journey may take.
const LIMIT: Duration = Duration::from_secs(60);
/// So many at once that only the machine is the limit.
const SATURATION: usize = 8_000;
const TYPES: [&str; 7] = [
    EnrollLearner::FULL_NAME,
    LearnerEnrolled::FULL_NAME,
    ReserveSeat::FULL_NAME,
    SeatReserved::FULL_NAME,
    SagaStarted::FULL_NAME,
    SagaAdvanced::FULL_NAME,
    SagaEnded::FULL_NAME,
];

pub async fn measure(settings: &Settings, stage: &Stage) -> Result<Report> {
    let parts = journey::parts();
    let specs: Vec<_> = parts.iter().map(|part| part.leaf.spec().clone()).collect();
    let log = stage.log(&specs, &TYPES).await?;
    let store = stage.store().await?;
    let running = Running::start(parts, &log, &store)?;
    let mut loads = [1, 32, 128, SATURATION].map(|at_once| (at_once, Case::new(format!("{at_once} in flight"))));
    Load::new(&log, 1).await?.run(WARM_UP).await?;
    for _ in 0..settings.reps {
        for (at_once, case) in &mut loads {
            case.runs.push(driven(settings, stage, &log, *at_once).await?);
        }
    }
    running.end().await?;
    let mut report = Report::new("saga");
    let [(_, one), _, (_, middle), (_, most)] = &loads;
    report.at_most("one at a time, p50 ms", one.median("p50_ms"), 12.0, 12.0);
    report.at_least("128 in flight, per s", middle.median("per_s"), 1_000.0, 2_000.0);
    report.at_least("at saturation, per s", most.median("per_s"), 6_000.0, 12_000.0);
    report.cases = loads.into_iter().map(|(_, case)| case).collect();
    Ok(report)
}

async fn driven(settings: &Settings, stage: &Stage, log: &Arc<Log>, at_once: usize) -> Result<Figures> {
    let mut load = Load::new(log, at_once).await?;
    load.run(WARM_UP).await?;
    load.took_ms.clear();
    let spent = stage.spent()?;
    let measured = if settings.quick { MEASURED / 5 } else { MEASURED };
    let begun = Instant::now();
    load.run(measured).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut figures = Figures::new();
    stage.spent()?.note_since(&spent, &mut figures);
    let mut sorted = std::mem::take(&mut load.took_ms);
    sorted.sort_by(f64::total_cmp);
    figures.insert("per_s", sorted.len() as f64 / seconds);
    figures.insert("p50_ms", percentile(&sorted, 50.0));
    figures.insert("p99_ms", percentile(&sorted, 99.0));
    load.finish().await?;
    Ok(figures)
}

type Publishing = BoxFuture<'static, Result<(), PublishError>>;

/// A closed loop: whenever one journey ends, the next begins.
struct Load {
    requests: Requests,
    tail: Tail,
    at_once: usize,
    begun: u64,
    under_way: HashMap<Uuid, Instant>,
    publishing: FuturesUnordered<Publishing>,
    start_schema: u32,
    end_schema: u32,
    took_ms: Vec<f64>,
}

impl Load {
    async fn new(log: &Arc<Log>, at_once: usize) -> Result<Self> {
        let schema = |name| log.registry().id_of(name).context("a schema is not registered");
        Ok(Self {
            requests: log.requests("bench", LIMIT)?,
            tail: log.tail(LearnerEnrolled::TOPIC, Start::End, true).await?,
            at_once,
            begun: 0,
            under_way: HashMap::new(),
            publishing: FuturesUnordered::new(),
            start_schema: schema(EnrollLearner::FULL_NAME)?,
            end_schema: schema(LearnerEnrolled::FULL_NAME)?,
            took_ms: Vec::new(),
        })
    }

    /// Keeps as many under way as there should be, for so long.
    async fn run(&mut self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        loop {
            while self.under_way.len() < self.at_once {
                self.begin()?;
            }
            if timeout_at(until, self.one_event()).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Waits for those under way.
    async fn finish(mut self) -> Result<()> {
        let until = Instant::now() + LIMIT;
        while !self.under_way.is_empty() {
            let ended = timeout_at(until, self.one_event()).await;
            ended.with_context(|| format!("{} journeys do not end", self.under_way.len()))??;
        }
        Ok(())
    }

    async fn one_event(&mut self) -> Result<()> {
        tokio::select! {
            Some(published) = self.publishing.next(), if !self.publishing.is_empty() => Ok(published?),
            record = self.tail.next_raw() => {
                let record = record?.context("a followed topic has no end")?;
                let (schema, _) = unframe(record.value.as_deref().unwrap_or_default())?;
                if schema == self.end_schema {
                    let id = record.key.as_deref().and_then(key::parse).context("a key that is no id")?;
                    let begun = self.under_way.remove(&id);
                    // Journeys of the warm-up's own loop may still end here.
                    self.took_ms.extend(begun.map(|begun| begun.elapsed().as_secs_f64() * 1_000.0));
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self) -> Result<()> {
        self.begun += 1;
        let id = ids::random();
        let command = journey::begin(id, self.begun);
        let mut value = Vec::with_capacity(256);
        frame(self.start_schema, &mut value);
        encode(&command, &mut value)?;
        let mut header = Vec::with_capacity(128);
        Header::first(id, Timestamp(0)).encode(&mut header)?;
        let requests = self.requests.clone();
        self.under_way.insert(id, Instant::now());
        self.publishing.push(Box::pin(async move {
            let request = Request {
                topic: EnrollLearner::TOPIC,
                key: &key::of(id),
                type_name: EnrollLearner::FULL_NAME,
                message_id: id,
                time: Timestamp(0),
                header: &header,
                value: &value,
            };
            requests.publish(request, Instant::now() + LIMIT).await.map(|_| ())
        }));
        Ok(())
    }
}
