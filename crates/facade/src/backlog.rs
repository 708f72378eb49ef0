//! How far behind the parts are with what is in the book, for [`Overload`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use daybook_service::metrics::{Gauges, MetricsError};
use daybook_service::{Drain, Metrics};
use futures::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::freshness::Freshness;
use crate::overload::{INTERVAL, Overload};
use crate::ports::{LogEnds, Offsets, ReadStore};

/// When a part that has something before it and does not go on counts as stopped.
const STOPPED_AFTER: Duration = Duration::from_secs(5);

/// What the gauge of the limit shows while everything is admitted.
const NO_LIMIT: i64 = -1;

/// A part whose backlog counts, and the topic that it applies.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Its name.
    pub part: &'static str,
    /// What it reads.
    pub topic: &'static str,
}

/// Looks up the backlog of parts.
pub struct Backlog {
    reads: Arc<dyn ReadStore>,
    freshness: Freshness,
    parts: Vec<Part>,
    target: Duration,
    figures: Figures,
}

struct Part {
    watched: Watched,
    /// Where it had come when it was last asked.
    applied: Option<Offsets>,
    /// When it was last seen to go on.
    went_on_at: Option<Instant>,
}

struct Figures {
    seconds: Gauges<1>,
    limit: Gauges<0>,
}

impl Backlog {
    /// Of these parts, which shall not be further behind than `target`.
    ///
    /// # Errors
    /// When other metrics have the names of these.
    pub fn new(
        reads: Arc<dyn ReadStore>,
        ends: Arc<dyn LogEnds>,
        parts: Vec<Watched>,
        target: Duration,
        metrics: &Metrics,
    ) -> Result<Self, MetricsError> {
        let figures = Figures {
            seconds: metrics.gauge(
                "daybook_backlog_seconds",
                "Age of the oldest record that a part has before it, as the API sees it.",
                ["part"],
            )?,
            limit: metrics.gauge(
                "daybook_overload_limit",
                "Commands a second that the API admits because of the backlog; -1: all.",
                [],
            )?,
        };
        let parts = parts.into_iter().map(|watched| Part { watched, applied: None, went_on_at: None }).collect();
        Ok(Self { reads, freshness: Freshness::new(ends), parts, target, figures })
    }

    /// Tells `overload` of the backlog once a second, until the drain begins.
    ///
    /// # Errors
    /// None: what cannot be asked now counts for nothing, for an outage is not cured by refusing.
    pub async fn watch(mut self, overload: Overload, drain: Drain) -> Result<(), Infallible> {
        let mut seconds = interval(INTERVAL);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = drain.begun() => return Ok(()),
                _ = seconds.tick() => {}
            }
            if overload.is_of_interest() {
                let limit = overload.next_second(self.oldest(Instant::now()).await, self.target);
                self.figures
                    .limit
                    .with([])
                    .set(limit.map_or(NO_LIMIT, |limit| i64::try_from(limit).unwrap_or(i64::MAX)));
            }
        }
    }

    async fn oldest(&mut self, now: Instant) -> Duration {
        let Self { reads, freshness, parts, figures, .. } = self;
        let asked = parts.iter_mut().map(|part| age_of(part, reads, freshness, now));
        let ages = join_all(asked).await;
        for (part, age) in parts.iter().zip(&ages) {
            figures.seconds.with([part.watched.part]).set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        }
        ages.into_iter().max().unwrap_or_default()
    }
}

/// How far behind a part is that goes on. One that stands still is stopped or broken: that is not for want of capacity, and what is in
/// the book waits for it.
async fn age_of(part: &mut Part, reads: &Arc<dyn ReadStore>, freshness: &Freshness, now: Instant) -> Duration {
    let applied = match reads.applied(part.watched.part).await {
        Ok(applied) => applied,
        Err(error) => {
            tracing::debug!(%error, part = part.watched.part, "a backlog cannot be looked up");
            (part.applied, part.went_on_at) = (None, None);
            return Duration::ZERO;
        }
    };
    let age = freshness.age(part.watched.topic, &applied).await.unwrap_or_default();
    if part.applied.replace(applied).is_some_and(|before| before != applied) {
        part.went_on_at = Some(now);
    }
    let goes_on = part.went_on_at.is_some_and(|at| now.duration_since(at) < STOPPED_AFTER);
    if goes_on { age } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    const WATCHED: Watched = Watched { part: "courses", topic: "learning.course.commands.v1" };

    fn backlog(memory: &Memory) -> Backlog {
        let metrics = Metrics::new().unwrap();
        let (reads, ends) = (Arc::new(memory.clone()), Arc::new(memory.clone()));
        Backlog::new(reads, ends, vec![WATCHED], Duration::from_secs(5), &metrics).unwrap()
    }

    #[tokio::test]
    async fn a_part_that_goes_on_is_behind_and_one_that_stands_still_is_not() {
        let memory = Memory::default();
        let mut backlog = backlog(&memory);
        let now = Instant::now();
        memory.set_offsets(100, 0);
        assert_eq!(backlog.oldest(now).await, Duration::ZERO, "nobody knows yet whether it goes on");
        memory.set_offsets(100, 10);
        let first = backlog.oldest(now).await;
        assert!(first > Duration::ZERO);
        assert!(backlog.oldest(now).await > first, "it gets older");
        assert_eq!(backlog.oldest(now + STOPPED_AFTER).await, Duration::ZERO, "it has stopped");
        memory.set_offsets(100, 100);
        assert_eq!(backlog.oldest(now + STOPPED_AFTER).await, Duration::ZERO, "it has caught up");
    }

    #[tokio::test]
    async fn what_cannot_be_asked_counts_for_nothing() {
        let memory = Memory::default();
        let mut backlog = backlog(&memory);
        let now = Instant::now();
        memory.set_offsets(100, 10);
        backlog.oldest(now).await;
        memory.set_offsets(100, 20);
        assert!(backlog.oldest(now).await > Duration::ZERO);
        memory.set_unreadable(true);
        assert_eq!(backlog.oldest(now).await, Duration::ZERO);
    }
}
