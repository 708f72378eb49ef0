//! `daybook run`

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use daybook_driver::{Observer, Options, Readers, Surroundings, run_part};
use daybook_engine::{Commit, PartKind};
use daybook_facade::{Overload, Wakes};
use daybook_log::{Difference, Log, Refusal, plan, subjects};
use daybook_service::health::Check;
use daybook_service::server::{self, Limits};
use daybook_service::settings::Settings;
use daybook_service::{Drain, Health, Metrics, OnFailure, Section, SystemClock, Tasks, telemetry};
use daybook_store::{Reads, StartFrom, Store};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{Outcome, Place, waited};
use crate::contacts::Contacts;
use crate::dependencies::Dependencies;
use crate::leaves::{self, API, Leaf, Live, Means};
use crate::wakes::{self, Waker};
use crate::{api, connect};

/// How long to wait before a dependency that is not there yet is asked again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Name of the check that all has been started; what each part does about it is its own check.
const STARTUP: &str = "startup";
/// Name of the process in logs and traces.
const SERVICE: &str = "daybook";

/// Health and metrics are served at telemetry.metrics_listen, and beside the API at http.listen.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leaves to run: their names, `api` for the public API, or `all`.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Where parts begin whose topics were written before they had a database: beginning, birth or end.
    #[arg(long, value_name = "WHERE")]
    from: Option<StartFrom>,
}

/// What a process runs.
struct Chosen {
    leaves: Vec<&'static Leaf>,
    has_api: bool,
    from: Option<StartFrom>,
}

impl Chosen {
    /// Sections of the settings that have to be complete.
    fn needs(&self) -> Vec<Section> {
        let mut needed = vec![Section::Log, Section::Store];
        let of_leaves = self.leaves.iter().flat_map(|leaf| leaf.needs);
        let of_api = if self.has_api { api::NEEDS } else { &[] };
        for section in of_leaves.chain(of_api) {
            if !needed.contains(section) {
                needed.push(*section);
            }
        }
        needed
    }
}

pub(crate) fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let names = &arguments.names;
    let chosen = Chosen {
        leaves: leaves::named(names)?,
        has_api: names.iter().any(|name| name == API || name == leaves::ALL),
        from: arguments.from,
    };
    let settings = place.settings(&chosen.needs())?;
    waited(serve(settings, chosen))?;
    Ok(Outcome::Good)
}

/// Runs until the drain begins and all has ended.
async fn serve(settings: Settings, chosen: Chosen) -> Result<()> {
    let telemetry = telemetry::start(&settings.telemetry, SERVICE)?;
    tracing::info!(settings = settings.redacted()?, "settings");
    let process = Process::new()?;
    process.drain.on_signals()?;
    let listener = bound(settings.telemetry.metrics_listen, "telemetry.metrics_listen").await?;
    // Before anything can be asked: without a check nobody would know that the start is not over.
    let startup = process.health.check(STARTUP);
    let told = server::serve(listener, process.health.router(), Limits::default(), process.drain.clone());
    process.tasks.spawn("telemetry server", OnFailure::EndProcess, told);
    let started = process.start(settings, &chosen).await;
    match &started {
        Ok(()) => startup.ok(),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the process cannot start");
            process.drain.begin("the process cannot start");
        }
    }
    let ended = process.tasks.finish().await;
    telemetry.stop().await?;
    started?;
    ended.context("the process ends because of a failure; its log says why")
}

async fn bound(address: std::net::SocketAddr, setting: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}; is it taken? change {setting}"))
}

/// What everything in the process shares.
#[derive(Clone)]
struct Process {
    drain: Drain,
    metrics: Metrics,
    health: Health,
    tasks: Tasks,
}

impl Process {
    fn new() -> Result<Self> {
        let (drain, metrics) = (Drain::default(), Metrics::new()?);
        let health = Health::new(metrics.clone(), drain.clone(), Arc::new(SystemClock::default()));
        let tasks = Tasks::new(drain.clone());
        Ok(Self { drain, metrics, health, tasks })
    }

    /// Starts everything in its order; returns when all of it is under way, or the drain has begun.
    async fn start(&self, settings: Settings, chosen: &Chosen) -> Result<()> {
        let log = connect::log(&settings, 1)?;
        let described: usize =
            chosen.leaves.iter().map(|leaf| Ok(leaf.parts(&Means::Described)?.len())).sum::<Result<_>>()?;
        let store_settings = connect::store_settings(&settings, described)?;
        // Parts report to the checks that exist from the start, so that nobody is ready before all are.
        let dependencies = Dependencies::new(&self.health, &settings);
        if !self.is_ready(&log).await? {
            return Ok(());
        }
        let Some((store, reads)) = self.connected(&store_settings).await? else { return Ok(()) };
        self.tasks.spawn(
            "dependency checks",
            OnFailure::EndProcess,
            dependencies.watch(Arc::clone(&log), store.clone(), self.drain.clone()),
        );
        let needs_vault = chosen.needs().contains(&Section::Vault);
        let vault = if needs_vault { Some(connect::vault(&settings, &store)?) } else { None };
        let contacts = Contacts::new(reads.clone(), Arc::clone(&log));
        let live = Live { settings, vault, contacts };
        let (waker, wakes) = self.waker(&live)?;
        self.start_parts(&live, chosen, &log, &store, &waker)?;
        if chosen.has_api {
            self.start_api(&live, &log, reads, wakes).await?;
        }
        tracing::info!("everything is under way");
        Ok(())
    }

    /// Registers the schemas and checks the topics. Waits while broker or registry cannot be asked; `false`: the drain began.
    ///
    /// # Errors
    /// A refusal, with its cure.
    async fn is_ready(&self, log: &Log) -> Result<bool> {
        let plan = plan(&leaves::specs()?);
        let ready = self.patiently(
            async || {
                check(log.admin().diff(&plan).await?)?;
                log.registry().register(&subjects(&plan)).await.map(drop)
            },
            daybook_log::Error::is_passing,
        );
        Ok(ready.await?.is_some())
    }

    async fn connected(&self, settings: &daybook_store::Settings) -> Result<Option<(Store, Reads)>> {
        let is_passing = |error: &daybook_store::Error| {
            matches!(error, daybook_store::Error::Database { .. } | daybook_store::Error::Timeout { .. })
        };
        let attempt = async || {
            let store = Store::connect(settings.clone()).await?;
            let reads = store.reads().await?;
            Ok((store, reads))
        };
        Ok(self.patiently(attempt, is_passing).await?)
    }

    /// Tries until it succeeds, fails for good, or the drain begins.
    async fn patiently<T, E: std::fmt::Display>(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<T, E>,
        is_passing: impl Fn(&E) -> bool,
    ) -> Result<Option<T>, E> {
        loop {
            let failed = tokio::select! {
                () = self.drain.begun() => return Ok(None),
                tried = attempt() => match tried {
                    Ok(value) => return Ok(Some(value)),
                    Err(error) if is_passing(&error) => error,
                    Err(error) => return Err(error),
                },
            };
            tracing::warn!(error = %failed, "not ready to start; trying again");
            tokio::select! {
                () = self.drain.begun() => return Ok(None),
                () = tokio::time::sleep(TRY_AGAIN) => {}
            }
        }
    }

    /// What tells waiting requests of news, and where they listen within this process.
    fn waker(&self, live: &Live) -> Result<(Waker, Wakes)> {
        let wakes = Wakes::default();
        let redis = live.settings.cache.redis_url.clone();
        let (waker, news) = Waker::new(wakes.clone(), &self.metrics, redis.is_some())?;
        if let (Some(url), Some(news)) = (redis, news) {
            let publishing = wakes::publish(url, news, self.drain.clone());
            self.tasks.spawn("news to redis", OnFailure::EndProcess, publishing);
        }
        Ok((waker, wakes))
    }

    fn start_parts(&self, live: &Live, chosen: &Chosen, log: &Arc<Log>, store: &Store, waker: &Waker) -> Result<()> {
        let limits = connect::limits(&live.settings.engine);
        let readers: Readers = leaves::specs()?.iter().collect();
        for leaf in &chosen.leaves {
            for part in leaf.parts(&Means::Live(live))? {
                let (name, kind) = (part.leaf.spec().name, part.leaf.spec().kind);
                let observer = Watching {
                    check: self.health.check(name),
                    waker: (kind == PartKind::Projection).then(|| waker.clone()),
                };
                let options = Options { limits: limits.clone(), from: chosen.from, observer: Some(Arc::new(observer)) };
                let around = Surroundings {
                    log: Arc::clone(log),
                    store: store.clone(),
                    drain: self.drain.clone(),
                    metrics: self.metrics.clone(),
                    readers: readers.clone(),
                };
                let part = daybook_driver::Part { leaf: part.leaf, performer: part.performer };
                self.tasks.spawn(name, OnFailure::EndProcess, run_part(part, options, around));
            }
        }
        Ok(())
    }

    async fn start_api(&self, live: &Live, log: &Arc<Log>, reads: Reads, wakes: Wakes) -> Result<()> {
        if let Some(url) = live.settings.cache.redis_url.clone() {
            self.tasks.spawn("news from redis", OnFailure::EndProcess, wakes.clone().listen(url, self.drain.clone()));
        }
        let overload = Overload::default();
        let backlog = api::backlog(live, log, reads.on_one_connection(), &self.metrics)?;
        let watched = on_own_thread("backlog", backlog.watch(overload.clone(), self.drain.clone()));
        self.tasks.spawn("backlog", OnFailure::EndProcess, watched);
        // In this order: what no route matches is answered by the router that comes last, and that has to be with a problem.
        let router = self.health.router().merge(api::router(live, log, reads, wakes, overload, &self.metrics)?);
        let http = &live.settings.http;
        let listener = bound(http.listen, "http.listen").await?;
        let served = server::serve(listener, router, Limits::from(http), self.drain.clone());
        self.tasks.spawn("api server", OnFailure::EndProcess, served);
        Ok(())
    }
}

/// Runs what must not wait behind everything else that the process does, such as what tells that this is too much.
async fn on_own_thread(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let (tell, ended) = oneshot::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended = runtime.map(|runtime| {
            runtime.block_on(work);
            // As in `waited`.
            runtime.shutdown_background();
        });
        // Who no longer waits need not be told.
        tell.send(ended).ok();
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).context("a thread does not start")?;
    ended.await.context("a thread panicked")?.context("the asynchronous runtime does not start")
}

/// # Errors
/// When a topic is missing or has another number of partitions, with the cure.
fn check(differences: Vec<Difference>) -> Result<(), daybook_log::Error> {
    let mut topics = Vec::new();
    for difference in differences {
        match difference {
            Difference::Missing { topic } => topics.push(topic),
            Difference::Partitions { topic, expected, found } => {
                return Err(Refusal::PartitionCount { topic, expected, found }.into());
            }
        }
    }
    if topics.is_empty() { Ok(()) } else { Err(Refusal::TopicsMissing { topics }.into()) }
}

/// Hears of what a part does.
#[derive(Debug)]
struct Watching {
    check: Check,
    waker: Option<Waker>,
}

impl Observer for Watching {
    fn started(&self) {
        self.check.ok();
    }

    fn committed(&self, commit: &Commit) {
        if let Some(waker) = &self.waker {
            waker.committed(commit);
        }
    }
}
