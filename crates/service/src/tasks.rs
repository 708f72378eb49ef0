//! Background tasks: each has a name and says what its failure means, so that none dies unnoticed.

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use tokio::task::JoinSet;

use crate::drain::Drain;
use crate::health::Check;

/// What it means when a task fails, by error or by panic.
#[derive(Debug, Clone)]
pub enum OnFailure {
    /// The process can't do its work without it: drain, and end with an error.
    EndProcess,
    /// The process goes on; this check tells.
    MarkFailed(Check),
}

/// Some tasks failed, or didn't end in time.
#[derive(Debug, thiserror::Error)]
#[error("failed tasks: [{}]; still running when the time was up: {unfinished}", failed.join(", "))]
pub struct TasksFailed {
    /// The names of those that failed.
    pub failed: Vec<&'static str>,
    /// How many were aborted.
    pub unfinished: usize,
}

/// The tasks of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct Tasks {
    drain: Drain,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    running: JoinSet<()>,
    failed: Vec<&'static str>,
}

impl Tasks {
    /// No tasks yet.
    pub fn new(drain: Drain) -> Self {
        Tasks { drain, state: Arc::default() }
    }

    /// Starts `work`, which should return soon after the drain begins.
    pub fn spawn<E: Display>(
        &self,
        name: &'static str,
        on_failure: OnFailure,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let tasks = self.clone();
        let supervised = async move {
            let problem = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(Ok(())) => return tracing::debug!(task = name, "task ended"),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            tracing::error!(task = name, error = problem, "task failed");
            tasks.note_failure(name, &on_failure);
        };
        let mut state = self.state();
        // Ended tasks are let go here, so that many short ones don't pile up.
        while state.running.try_join_next().is_some() {}
        state.running.spawn(supervised);
    }

    fn note_failure(&self, name: &'static str, on_failure: &OnFailure) {
        match on_failure {
            OnFailure::EndProcess => {
                self.state().failed.push(name);
                self.drain.begin("a task failed that the process needs");
            }
            OnFailure::MarkFailed(check) => check.failed("its task ended with an error"),
        }
    }

    /// Waits until the drain has begun and all tasks have ended, or its time is up; then aborts the rest.
    ///
    /// # Errors
    /// When a needed task failed, or some had to be aborted.
    pub async fn finish(&self) -> Result<(), TasksFailed> {
        self.drain.begun().await;
        let mut running = std::mem::take(&mut self.state().running);
        let all_ended = async { while running.join_next().await.is_some() {} };
        tokio::select! {
            () = all_ended => {}
            () = self.drain.time_is_up() => {}
        }
        let unfinished = running.len();
        running.shutdown().await;
        let failed = std::mem::take(&mut self.state().failed);
        if failed.is_empty() && unfinished == 0 {
            return Ok(());
        }
        Err(TasksFailed { failed, unfinished })
    }

    /// Every change of the state is a single step, so a panic in between can't have broken it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_needed_task_that_panics_ends_the_process() {
        let drain = Drain::default();
        let tasks = Tasks::new(drain.clone());
        let waits = drain.clone();
        tasks.spawn("waits", OnFailure::EndProcess, async move {
            waits.begun().await;
            Ok::<(), Infallible>(())
        });
        tasks.spawn("breaks", OnFailure::EndProcess, async {
            if Drain::default().has_begun() {
                return Ok::<(), Infallible>(());
            }
            panic!("as the test wants")
        });
        let ended = tasks.finish().await.unwrap_err();
        assert_eq!((ended.failed, ended.unfinished), (vec!["breaks"], 0));
        assert!(drain.has_begun());
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_aborted_when_the_time_is_up() {
        let drain = Drain::new(Duration::from_millis(50));
        let tasks = Tasks::new(drain.clone());
        tasks.spawn("hangs", OnFailure::EndProcess, std::future::pending::<Result<(), Infallible>>());
        drain.begin("test");
        let ended = tasks.finish().await.unwrap_err();
        assert_eq!((ended.failed.len(), ended.unfinished), (0, 1));
    }
}
