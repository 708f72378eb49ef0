#![doc = include_str!("../README.md")]

mod bare;
mod client;
mod consumer;
mod dbos;
mod figures;
mod fold;
mod held;
mod hops;
mod journey;
mod keys;
mod load;
mod machine;
mod meter;
mod paced;
mod peers;
mod progress;
mod relay;
mod restate;
mod running;
mod saga;
mod stage;
mod streams;
mod tally;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use stage::Stage;

pub use bare::{FACADE_PATH, PATH as BARE_PATH, publication, serve as serve_bare};
pub use client::{Answer, Closed, Connection, Post};
pub use figures::{Case, Figures, Report, Series, Spread, Verdict, drift_percent, latencies, percentile};
pub use machine::{cpu_seconds, resident_mb};
pub use meter::Meter;
pub use progress::{bar, records};

/// How a benchmark is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A tenth of the work: to see that it runs, not for figures.
    pub quick: bool,
    /// How often each case is measured.
    pub reps: usize,
    /// For `keys`: how many there are in the larger of its two cases.
    pub keys: u64,
    /// The folder of a stack that runs; without it one is started and deleted afterwards.
    pub stack: Option<PathBuf>,
}

impl Settings {
    /// So much work, or a tenth of it.
    pub(crate) fn amount(&self, whole: u64) -> u64 {
        if self.quick { whole / 10 } else { whole }
    }

    /// So long, or a fifth of it.
    pub fn time(&self, whole: Duration) -> Duration {
        if self.quick { whole / 5 } else { whole }
    }
}

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Benchmark {
    /// An aggregate under full load, against a loop that only relays.
    Consumer,
    /// A saga of five steps, so many at once.
    Saga,
    /// Engine and kit without servers.
    Fold,
    /// An aggregate with very many entities, against one with a tenth of them.
    Keys,
    /// A saga whose steps all go to one entity, against many.
    Hot,
    /// An aggregate with one blocked entity, against one without.
    Held,
}

impl Benchmark {
    /// All of them, with the names that they are called by.
    pub const ALL: [(&'static str, Self); 6] = [
        ("consumer", Self::Consumer),
        ("saga", Self::Saga),
        ("fold", Self::Fold),
        ("keys", Self::Keys),
        ("hot", Self::Hot),
        ("held", Self::Held),
    ];

    /// The benchmark of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, benchmark)| *benchmark)
    }

    /// Runs it on real servers.
    ///
    /// # Errors
    /// When a server fails, or what was measured did not do its work.
    pub async fn run(self, settings: &Settings) -> Result<Report> {
        match self {
            Self::Consumer => consumer::measure(settings, &Stage::set(settings)?).await,
            Self::Saga => saga::measure(settings, &Stage::set(settings)?).await,
            Self::Fold => fold::measure(settings),
            Self::Keys => keys::measure(settings, &Stage::set(settings)?).await,
            Self::Hot => saga::hot(settings, &Stage::set(settings)?).await,
            Self::Held => held::measure(settings, &Stage::set(settings)?).await,
        }
    }
}
