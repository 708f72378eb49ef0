//! How far behind the parts are with what is in the book, for [`Overload`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use daybook_service::metrics::{Ages, Gauges, MetricsError};
use daybook_service::{Drain, Metrics};
use futures::future::join_all;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use crate::freshness::Samples;
use crate::overload::{INTERVAL, Overload};
use crate::ports::{LogEnds, Offsets, ReadStore};

/// When a partition of a part that has something before it and does not go on counts as stopped.
const STOPPED_AFTER: Duration = Duration::from_secs(5);

/// How long the log may take to say where its topics end.
const ENDS_TIMEOUT: Duration = Duration::from_secs(2);

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
    ends: Arc<dyn LogEnds>,
    parts: Vec<Part>,
    /// Where their topics ended, and when.
    topics: HashMap<&'static str, Samples>,
    target: Duration,
    ages: Ages<1>,
    limit: Gauges<0>,
}

struct Part {
    watched: Watched,
    /// When it was last asked, and where it had come then.
    seen: Option<(Instant, Offsets)>,
    /// When each partition was last seen to go on.
    went_on_at: [Option<Instant>; PARTITIONS],
}

const PARTITIONS: usize = daybook_engine::PARTITIONS as usize;

impl Backlog {
    /// Of these parts, which together shall not be further behind than `target`.
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
        let ages = metrics.age(
            "daybook_backlog_seconds",
            "For how long what waits before a part has been there, as the API sees it.",
            ["part"],
        )?;
        let limit = metrics.gauge(
            "daybook_overload_limit",
            "Commands a second that the API admits because of the backlog; -1: all.",
            [],
        )?;
        let topics = parts.iter().map(|watched| (watched.topic, Samples::default())).collect();
        let part = |watched| Part { watched, seen: None, went_on_at: [None; PARTITIONS] };
        let parts = parts.into_iter().map(part).collect();
        Ok(Self { reads, ends, parts, topics, target, ages, limit })
    }

    /// Tells `overload` of the backlog once a second, until the drain begins. What cannot be asked now counts for nothing, for an outage is
    /// not cured by refusing.
    pub async fn watch(mut self, overload: Overload, drain: Drain) {
        let (target, limit) = (self.target, self.limit.clone());
        let look = async {
            let mut seconds = seconds();
            loop {
                seconds.tick().await;
                if !overload.is_of_interest() {
                    self.forget();
                } else if let Some(backlog) = self.look(Instant::now).await {
                    overload.learn(backlog);
                }
            }
        };
        // A second is a second, however long it takes to look.
        let turn = async {
            let mut seconds = seconds();
            loop {
                seconds.tick().await;
                let admitted = overload.next_second(target);
                limit.with([]).set(admitted.map_or(NO_LIMIT, |limit| i64::try_from(limit).unwrap_or(i64::MAX)));
            }
        };
        tokio::select! {
            () = drain.begun() => {}
            () = look => {}
            () = turn => {}
        }
    }

    /// Begins anew: nothing can be told of the time in which nobody looked.
    fn forget(&mut self) {
        self.topics.values_mut().for_each(|samples| *samples = Samples::default());
        for part in &mut self.parts {
            part.forget();
        }
    }

    /// How long what comes in now will wait before the parts, one after the other. `None`: the log does not say where it ends.
    async fn look(&mut self, clock: impl Fn() -> Instant) -> Option<Duration> {
        let Self { reads, ends, parts, topics, ages, .. } = self;
        let then = clock();
        join_all(parts.iter_mut().map(|part| part.look(reads.as_ref(), then))).await;
        // Asked for after the places of the parts, so that it is known when what lies behind them came.
        let names: Vec<&'static str> = topics.keys().copied().collect();
        let now = clock();
        let found = match timeout(ENDS_TIMEOUT, ends.ends(&names)).await {
            Ok(Ok(found)) => found,
            failed => {
                let error = failed.ok().and_then(Result::err).map(|error| error.to_string());
                tracing::warn!(error, "it is not known where topics end");
                return None;
            }
        };
        for (name, ends) in names.iter().zip(found) {
            topics.entry(name).or_default().add(now, ends);
        }
        let mut backlog = Duration::ZERO;
        for part in parts {
            let age = topics.get(part.watched.topic).map_or(Duration::ZERO, |ends| part.behind(ends));
            ages.with([part.watched.part]).set(age.as_secs_f64());
            backlog += age;
        }
        Some(backlog)
    }
}

fn seconds() -> Interval {
    let mut seconds = interval(INTERVAL);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds
}

impl Part {
    fn forget(&mut self) {
        (self.seen, self.went_on_at) = (None, [None; PARTITIONS]);
    }

    async fn look(&mut self, reads: &dyn ReadStore, now: Instant) {
        let part = self.watched.part;
        let applied = match reads.applied(part).await {
            Ok(applied) => applied,
            Err(error) => {
                tracing::debug!(%error, part, "a backlog cannot be looked up");
                self.forget();
                return;
            }
        };
        if let Some((_, before)) = self.seen.replace((now, applied)) {
            for (partition, at) in self.went_on_at.iter_mut().enumerate() {
                if before[partition] != applied[partition] {
                    *at = Some(now);
                }
            }
        }
    }

    /// For how long the first record had been there that a partition had before it: the mean of those that go on, each counting as much as
    /// waits there. One that stands still is stopped or broken: that is not for want of capacity, and what is in the book waits for
    /// it.
    fn behind(&self, ends: &Samples) -> Duration {
        let Some((then, applied)) = self.seen else {
            return Duration::ZERO;
        };
        let goes_on = |at: Option<Instant>| at.is_some_and(|at| then.duration_since(at) < STOPPED_AFTER);
        let (mut records, mut seconds) = (0.0, 0.0);
        for (partition, next) in applied.into_iter().enumerate().filter(|(at, _)| goes_on(self.went_on_at[*at])) {
            let (count, age) = ends.waiting(partition, next, then);
            records += count as f64;
            seconds += count as f64 * age.as_secs_f64();
        }
        if records == 0.0 { Duration::ZERO } else { Duration::from_secs_f64(seconds / records) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    const WATCHED: [Watched; 2] = [
        Watched { part: "courses", topic: "learning.course.commands.v1" },
        Watched { part: "course-list", topic: "learning.course.events.v1" },
    ];

    fn backlog(memory: &Memory) -> Backlog {
        let metrics = Metrics::new().unwrap();
        let (reads, ends) = (Arc::new(memory.clone()), Arc::new(memory.clone()));
        Backlog::new(reads, ends, WATCHED.to_vec(), Duration::from_secs(5), &metrics).unwrap()
    }

    #[tokio::test]
    async fn parts_that_go_on_are_behind_one_after_the_other_and_one_that_stands_still_is_not() {
        let memory = Memory::default();
        let mut backlog = backlog(&memory);
        let begun = Instant::now();
        let after = |seconds| move || begun + Duration::from_secs(seconds);
        memory.set_offsets(0, 0);
        assert_eq!(backlog.look(after(0)).await, Some(Duration::ZERO));
        memory.set_offsets(100, 0);
        assert_eq!(backlog.look(after(1)).await, Some(Duration::ZERO), "nobody knows yet whether they go on");
        memory.set_offsets(100, 50);
        assert_eq!(backlog.look(after(2)).await, Some(Duration::from_millis(1_500) * 2));
        assert_eq!(backlog.look(after(6)).await, Some(Duration::from_millis(5_500) * 2), "it gets older");
        assert_eq!(backlog.look(after(7)).await, Some(Duration::ZERO), "they have stopped");
        memory.set_offsets(100, 100);
        assert_eq!(backlog.look(after(8)).await, Some(Duration::ZERO), "they have caught up");
        backlog.forget();
        memory.set_offsets(200, 150);
        assert_eq!(backlog.look(after(3_600)).await, Some(Duration::ZERO), "nobody looked for an hour");
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_not_taken_for_a_backlog() {
        let memory = Memory::default();
        let mut backlog = backlog(&memory);
        let begun = Instant::now();
        let after = |seconds| move || begun + Duration::from_secs(seconds);
        memory.set_offsets(100, 10);
        backlog.look(after(0)).await;
        memory.set_offsets(200, 20);
        assert!(backlog.look(after(1)).await.unwrap() > Duration::ZERO);
        memory.set_unreadable(true);
        assert_eq!(backlog.look(after(2)).await, None);
    }
}
