//! Running a part.

use std::collections::HashMap;
use std::sync::Arc;

use daybook_engine::{Engine, Leaf, Limits, PartKind, Performer, Spec};
use daybook_log::Log;
use daybook_service::{Drain, Metrics};
use daybook_store::{StartFrom, Store};

use crate::metrics::PartMetrics;
use crate::prepare::{Prepared, prepare};
use crate::runner::{Runner, With};
use crate::{Error, Observer};

/// A part of a leaf.
#[derive(Clone)]
pub struct Part {
    pub leaf: Arc<dyn Leaf>,
    /// Carries out its effects; a part that declares effects has one.
    pub performer: Option<Arc<dyn Performer>>,
}

/// How it is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub limits: Limits,
    /// Where a part begins that has no rows yet while its topics have records.
    pub from: Option<StartFrom>,
    /// Hears of what the part does.
    pub observer: Option<Arc<dyn Observer>>,
}

/// What all parts of a process share.
#[derive(Clone)]
pub struct Surroundings {
    pub log: Arc<Log>,
    pub store: Store,
    pub drain: Drain,
    pub metrics: Metrics,
    /// Of the whole platform, run here or elsewhere.
    pub readers: Readers,
}

/// Which part carries out the commands of a topic: whom deadlines wait for.
#[derive(Clone, Debug, Default)]
pub struct Readers(Arc<HashMap<&'static str, &'static str>>);

impl Readers {
    /// Name of the part that reads the topic.
    pub(crate) fn of(&self, topic: &str) -> Option<&'static str> {
        self.0.get(topic).copied()
    }
}

impl<'a> FromIterator<&'a Spec> for Readers {
    fn from_iter<T: IntoIterator<Item = &'a Spec>>(specs: T) -> Self {
        let commanded = specs.into_iter().filter(|spec| matches!(spec.kind, PartKind::Aggregate | PartKind::Saga));
        Self(Arc::new(commanded.map(|spec| (spec.input, spec.name)).collect()))
    }
}

/// Runs the part until the process drains. The schemas of its messages are registered before. Passing trouble is waited out.
///
/// # Errors
/// When it cannot go on without somebody doing something, or lost its place in the group for good.
pub async fn run_part(part: Part, options: Options, around: Surroundings) -> Result<(), Error> {
    let spec = part.leaf.spec().clone();
    let metrics = PartMetrics::new(&around.metrics, spec.name, spec.input)?;
    if spec.effects.is_some() && part.performer.is_none() {
        return Err(Error::NoPerformer { part: spec.name.to_owned() });
    }
    let Surroundings { log, store, drain, readers, .. } = around;
    let Some(Prepared { store, book }) = prepare(&spec, &log, &store, options.from, &drain).await? else {
        return Ok(());
    };
    let fetcher = log.fetcher(spec.name, spec.input, &spec.control).map_err(Error::log(spec.name))?;
    fetcher.join().map_err(Error::log(spec.name))?;
    let publisher = log.publisher(spec.name);
    let schemas = Arc::clone(log.registry());
    let engine = Engine::new(Arc::clone(&part.leaf), schemas, options.limits);
    let (performer, observer) = (part.performer, options.observer);
    let with = With { spec, performer, log, store: Arc::new(store), book, observer, readers };
    tracing::info!(part = with.spec.name, "a part runs");
    if let Some(observer) = &with.observer {
        observer.started();
    }
    Runner::new(engine, fetcher, publisher, metrics, with).run(&drain).await
}
