#![doc = include_str!("../README.md")]

mod consumer;
mod figures;
mod fold;
mod journey;
mod load;
mod machine;
mod paced;
mod progress;
mod relay;
mod running;
mod saga;
mod stage;
mod streams;
mod tally;

use std::path::PathBuf;

use anyhow::Result;

use stage::Stage;

pub use figures::{Case, Figures, Report, Spread, Verdict, percentile};
pub use machine::{cpu_seconds, resident_mb};

/// How a benchmark is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A tenth of the work: to see that it runs, not for figures.
    pub quick: bool,
    /// How often each case is measured.
    pub reps: usize,
    /// The folder of a stack that runs; without it one is started and deleted afterwards.
    pub stack: Option<PathBuf>,
}

impl Settings {
    /// So much work, or a tenth of it.
    pub(crate) fn amount(&self, whole: u64) -> u64 {
        if self.quick { whole / 10 } else { whole }
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
}

impl Benchmark {
    /// All of them, with the names that they are called by.
    pub const ALL: [(&'static str, Self); 3] =
        [("consumer", Self::Consumer), ("saga", Self::Saga), ("fold", Self::Fold)];

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
        }
    }
}
