//! `saga`: five steps, orchestrator and participant, so many at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
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

use crate::peers::Peers;
use crate::restate::Restate;
use crate::running::Running;
use crate::stage::Stage;
use crate::{Case, Figures, Report, Settings, journey, latencies};

/// What is counted, and what goes before it.
const MEASURED: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(3);
/// So many at once, for so long, before anything is measured: until then the broker compiles itself, and small requests are other code
/// to it than large ones. It is twice as fast afterwards.
const FIRST_WARM_UP: [(usize, Duration); 2] = [(128, Duration::from_secs(60)), (SATURATION, Duration::from_secs(15))];
/// How long a single journey may take.
const LIMIT: Duration = Duration::from_secs(60);
/// So many at once that only the machine is the limit.
const SATURATION: usize = 8_000;
/// Entities of the participant.
const COURSES: u64 = 1_000;
/// So many at once of a peer: it is told what they reach at most, which is not more with more.
const PEERS_AT_ONCE: [usize; 3] = [1, 32, 128];
const TYPES: [&str; 7] = [
    EnrollLearner::FULL_NAME,
    LearnerEnrolled::FULL_NAME,
    ReserveSeat::FULL_NAME,
    SeatReserved::FULL_NAME,
    SagaStarted::FULL_NAME,
    SagaAdvanced::FULL_NAME,
    SagaEnded::FULL_NAME,
];

/// How much is under way at once, and to how many entities of the participant.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    at_once: usize,
    courses: u64,
}

pub async fn measure(settings: &Settings, stage: &Stage) -> Result<Report> {
    let mut loads = [1, 32, 128, SATURATION]
        .map(|at_once| (Wanted { at_once, courses: COURSES }, Case::new(format!("{at_once} in flight"))));
    let restate = Restate::start().await?;
    let mut peers = Peers::new(restate, PEERS_AT_ONCE);
    repeated(settings, stage, &mut loads, &mut peers).await?;
    let mut report = Report::new("saga");
    let [(_, one), _, (_, middle), (_, most)] = &loads;
    report.at_most("one at a time, p50 ms", one.median("p50_ms"), 12.0, 12.0);
    if let Some(hops) = peers.hops_p50_ms() {
        report.at_most("one at a time, times bare hops", one.median("p50_ms") / hops, 2.0, 1.5);
    }
    report.at_least("128 in flight, per s", middle.median("per_s"), 1_000.0, 2_000.0);
    report.at_least("at saturation, per s", most.median("per_s"), 6_000.0, 12_000.0);
    if let Some(restate) = peers.restate_at_most() {
        report.at_least("128 in flight, times Restate", middle.median("per_s") / restate, 1.2, 2.4);
        report.at_least("at saturation, times Restate at 128", most.median("per_s") / restate, 7.0, 14.0);
    }
    report.cases = loads.into_iter().map(|(_, case)| case).chain(peers.end().await?).collect();
    Ok(report)
}

/// `hot`: all of them want the same course, against as many that want one of a thousand.
pub async fn hot(settings: &Settings, stage: &Stage) -> Result<Report> {
    let of = |courses| Wanted { at_once: SATURATION, courses };
    let mut loads = [(of(COURSES), Case::new("1,000 courses")), (of(1), Case::new("one course"))];
    repeated(settings, stage, &mut loads, &mut Peers::default()).await?;
    let [(_, many), (_, one)] = loads;
    let ratios = many.runs.iter().zip(&one.runs).map(|(many, one)| one["per_s"] / many["per_s"]);
    let both =
        Case { name: "one / many".to_owned(), runs: ratios.map(|rate| Figures::from([("rate", rate)])).collect() };
    Ok(Report { cases: vec![many, one, both], ..Report::new("hot") })
}

/// Measures each of these loads in turns, as often as is asked.
async fn repeated(settings: &Settings, stage: &Stage, loads: &mut [(Wanted, Case)], peers: &mut Peers) -> Result<()> {
    let parts = journey::parts();
    let specs: Vec<_> = parts.iter().map(|part| part.leaf.spec().clone()).collect();
    let log = stage.log(&specs, &TYPES).await?;
    let store = stage.store().await?;
    let running = Running::start(parts, &log, &store)?;
    for (at_once, duration) in FIRST_WARM_UP {
        let mut load = Load::new(&log, Wanted { at_once, courses: COURSES }).await?;
        load.run(settings.time(duration)).await?;
        load.finish().await?;
    }
    for _ in 0..settings.reps {
        for (wanted, case) in &mut *loads {
            case.runs.push(driven(settings, stage, &log, *wanted).await?);
        }
        peers.run(stage, &log, WARM_UP, settings.time(MEASURED)).await?;
    }
    running.end().await
}

async fn driven(settings: &Settings, stage: &Stage, log: &Arc<Log>, wanted: Wanted) -> Result<Figures> {
    let mut load = Load::new(log, wanted).await?;
    let begun = Instant::now();
    // Until the first wave is over: it begins all at once.
    while load.took_ms.len() < wanted.at_once {
        ensure!(begun.elapsed() < LIMIT, "{} journeys at once do not come to their end", wanted.at_once);
        load.run(WARM_UP).await?;
    }
    load.took_ms.clear();
    let meter = stage.meter(&[])?;
    let measured = settings.time(MEASURED);
    let begun = Instant::now();
    load.run(measured).await?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(!load.took_ms.is_empty(), "of {} journeys at once none came to its end", wanted.at_once);
    let mut figures = Figures::new();
    meter.note(&mut figures)?;
    figures.insert("per_s", load.took_ms.len() as f64 / seconds);
    figures.extend(latencies(std::mem::take(&mut load.took_ms)));
    load.finish().await?;
    Ok(figures)
}

type Publishing = BoxFuture<'static, Result<(), PublishError>>;

/// A closed loop: whenever one journey ends, the next begins.
struct Load {
    requests: Requests,
    tail: Tail,
    wanted: Wanted,
    begun: u64,
    under_way: HashMap<Uuid, Instant>,
    publishing: FuturesUnordered<Publishing>,
    start_schema: u32,
    end_schema: u32,
    took_ms: Vec<f64>,
}

impl Load {
    async fn new(log: &Arc<Log>, wanted: Wanted) -> Result<Self> {
        let schema = |name| log.registry().id_of(name).context("a schema is not registered");
        Ok(Self {
            requests: log.requests("bench", LIMIT)?,
            tail: log.tail(LearnerEnrolled::TOPIC, Start::End, true).await?,
            wanted,
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
            while self.under_way.len() < self.wanted.at_once {
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
        let command = journey::begin(id, self.begun, self.wanted.courses);
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
