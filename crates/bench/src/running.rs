//! Parts that run in this process, as `daybook run` runs them.

use std::sync::Arc;

use anyhow::{Context, Result};
use daybook_consumer::Part;
use daybook_driver::{Options, Readers, Surroundings, run_part};
use daybook_log::Log;
use daybook_service::{Drain, Metrics, OnFailure, Tasks};
use daybook_store::{StartFrom, Store};

/// Some parts, under way.
pub struct Running {
    drain: Drain,
    tasks: Tasks,
}

impl Running {
    /// Starts parts that have no tables yet from the first record of their topics.
    ///
    /// # Errors
    /// When metrics cannot be kept.
    pub fn start(parts: Vec<Part>, log: &Arc<Log>, store: &Store) -> Result<Self> {
        let drain = Drain::default();
        let tasks = Tasks::new(drain.clone());
        let metrics = Metrics::new()?;
        let readers: Readers = parts.iter().map(|part| part.leaf.spec()).collect();
        for Part { leaf, performer, .. } in parts {
            let around = Surroundings {
                log: Arc::clone(log),
                store: store.clone(),
                drain: drain.clone(),
                metrics: metrics.clone(),
                readers: readers.clone(),
            };
            let options = Options { from: Some(StartFrom::Beginning), ..Options::default() };
            let name = leaf.spec().name;
            let part = daybook_driver::Part { leaf, performer };
            tasks.spawn(name, OnFailure::EndProcess, run_part(part, options, around));
        }
        Ok(Self { drain, tasks })
    }

    /// Ends them in good order.
    ///
    /// # Errors
    /// When one of them failed.
    pub async fn end(self) -> Result<()> {
        self.drain.begin("measured");
        self.tasks.finish().await.context("a part failed")
    }
}
