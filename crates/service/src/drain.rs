//! The end of a process: told to all parts at once, bounded in time.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a process may take to end by itself. Kubernetes kills after 30 seconds unless told otherwise.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(25);

/// 128 + SIGINT, as shells have it: the operator did not want to wait.
const EXIT_AT_ONCE: i32 = 130;

/// Tells that the process is to end, and how long that may take. Clones are one and the same drain.
#[derive(Debug, Clone)]
pub struct Drain {
    begun: CancellationToken,
    deadline: Arc<OnceLock<Instant>>,
    limit: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Drain::new(DRAIN_LIMIT)
    }
}

impl Drain {
    /// A drain that may take `limit` from when it begins.
    pub fn new(limit: Duration) -> Self {
        Drain { begun: CancellationToken::new(), deadline: Arc::default(), limit }
    }

    /// Begins; again does nothing.
    pub fn begin(&self, reason: &str) {
        let deadline = Instant::now() + self.limit;
        if self.deadline.set(deadline).is_ok() {
            tracing::info!(reason, limit_ms = self.limit.as_millis() as u64, "draining");
            self.begun.cancel();
        }
    }

    /// Whether it has begun: new work must be refused.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Resolves when it begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// How long the end may still take; the whole limit before it begins.
    pub fn remaining(&self) -> Duration {
        match self.deadline.get() {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => self.limit,
        }
    }

    /// Resolves when the time is up.
    pub async fn time_is_up(&self) {
        self.begun().await;
        tokio::time::sleep(self.remaining()).await;
    }

    /// Begins at SIGTERM or SIGINT; a second one ends the process at once.
    ///
    /// # Errors
    /// When the handlers can't be installed.
    #[expect(clippy::disallowed_methods, reason = "signals are heard beside all tasks, and the second one ends them")]
    pub fn on_signals(&self) -> std::io::Result<()> {
        let terminate = received(signal(SignalKind::terminate())?);
        let interrupt = received(signal(SignalKind::interrupt())?);
        let drain = self.clone();
        tokio::spawn(async move {
            drain.begin_at_first(stream::select(terminate, interrupt)).await;
            tracing::warn!("second signal: ending at once");
            std::process::exit(EXIT_AT_ONCE);
        });
        Ok(())
    }

    /// Begins at the first signal and resolves at the second.
    async fn begin_at_first(&self, signals: impl Stream<Item = ()>) {
        let mut signals = pin!(signals);
        signals.next().await;
        self.begin("signal");
        signals.next().await;
    }
}

fn received(signal: Signal) -> impl Stream<Item = ()> {
    stream::unfold(signal, |mut signal| async move { signal.recv().await.map(|()| ((), signal)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_time_is_counted_from_the_first_beginning() {
        let drain = Drain::new(Duration::from_millis(50));
        assert!(!drain.has_begun());
        assert_eq!(drain.remaining(), Duration::from_millis(50));
        drain.begin("test");
        assert!(drain.has_begun());
        drain.time_is_up().await;
        drain.begin("again");
        assert_eq!(drain.remaining(), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_is_the_end() {
        let drain = Drain::default();
        let seen = std::cell::RefCell::new(Vec::new());
        let signals = stream::repeat_with(|| seen.borrow_mut().push(drain.has_begun()));
        drain.begin_at_first(signals).await;
        assert_eq!(*seen.borrow(), [false, true]);
    }
}
