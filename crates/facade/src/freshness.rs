//! How old an answer from a projection is. Nobody stamps rows with the time at which they stopped being the latest; but when the log
//! is known to have ended at some place at some time, a projection that has come to that place knows everything up to that time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::ports::{LogEnds, NotReadable, Offsets};

/// How old a sample may be before another one is taken.
const SAMPLE_AGE: Duration = Duration::from_millis(200);

/// How many samples are kept of a topic: with one per [`SAMPLE_AGE`] a minute's worth.
const SAMPLES_MAX: usize = 300;

/// How long the log may take to say where it ends.
const SAMPLE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long to go on with the samples there are after the log did not answer.
const SAMPLE_PAUSE: Duration = Duration::from_secs(2);

/// Remembers where topics ended, and when.
pub(crate) struct Freshness {
    ends: Arc<dyn LogEnds>,
    topics: Mutex<HashMap<&'static str, Arc<Topic>>>,
}

#[derive(Default)]
struct Topic {
    samples: Mutex<Samples>,
    /// Before when not to ask again. Held by the one who asks; all others go on with the samples there are.
    not_before: tokio::sync::Mutex<Option<Instant>>,
}

/// When, and where the topic ended then.
#[derive(Default)]
pub(crate) struct Samples(VecDeque<(Instant, Offsets)>);

impl Freshness {
    pub(crate) fn new(ends: Arc<dyn LogEnds>) -> Self {
        Self { ends, topics: Mutex::default() }
    }

    /// How old rows are whose projection has applied `topic` up to `applied`. While the log can't be asked, the age grows with the
    /// last sample's; `None` when it was never asked with success.
    pub(crate) async fn age(&self, name: &'static str, applied: &Offsets) -> Option<Duration> {
        let topic = Arc::clone(lock(&self.topics).entry(name).or_default());
        self.sample(name, &topic).await;
        lock(&topic.samples).age(applied, Instant::now())
    }

    async fn sample(&self, name: &'static str, topic: &Topic) {
        let Ok(mut not_before) = topic.not_before.try_lock() else {
            return;
        };
        let begun = Instant::now();
        if not_before.is_some_and(|not_before| begun < not_before) {
            return;
        }
        match timeout(SAMPLE_TIMEOUT, self.ends_now(name)).await {
            Ok(Ok(ends)) => {
                lock(&topic.samples).add(begun, ends);
                *not_before = Some(begun + SAMPLE_AGE);
            }
            failed => {
                let error = failed.ok().and_then(Result::err).map(|error| error.to_string());
                tracing::warn!(error, topic = name, "it is not known where a topic ends");
                *not_before = Some(Instant::now() + SAMPLE_PAUSE);
            }
        }
    }

    /// Where the topic ends now.
    ///
    /// # Errors
    /// When the log can't be asked.
    pub(crate) async fn ends_now(&self, topic: &'static str) -> Result<Offsets, NotReadable> {
        let ends = self.ends.ends(&[topic]).await?;
        ends.first().copied().ok_or_else(|| NotReadable(format!("the log does not tell where {topic} ends")))
    }
}

impl Samples {
    pub(crate) fn add(&mut self, at: Instant, ends: Offsets) {
        if self.0.len() == SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((at, ends));
    }

    /// Since the latest sample that lies behind `applied`; before all of them, since the first, which is the least that it can be.
    fn age(&self, applied: &Offsets, now: Instant) -> Option<Duration> {
        let latest = self.0.back()?;
        if has_reached(applied, &latest.1) {
            // Nothing had been added when it was taken: as fresh as the sample.
            return Some(if now.duration_since(latest.0) < SAMPLE_AGE { Duration::ZERO } else { now - latest.0 });
        }
        let known = self.0.iter().rev().find(|(_, ends)| has_reached(applied, ends));
        known.or(self.0.front()).map(|(at, _)| now.duration_since(*at))
    }

    /// Records of a partition from `next` on, and for how long the first of them had been there `then`. Between two samples records are taken to
    /// have come evenly; what came before all samples has been there since the first at least.
    pub(crate) fn waiting(&self, partition: usize, next: i64, then: Instant) -> (i64, Duration) {
        let end = |sample: &(Instant, Offsets)| sample.1[partition];
        let count = self.0.back().map_or(0, |latest| end(latest) - next).max(0);
        let later = self.0.partition_point(|sample| end(sample) <= next);
        let Some(after) = self.0.get(later) else {
            return (0, Duration::ZERO);
        };
        let came = match later.checked_sub(1).and_then(|before| self.0.get(before)) {
            Some(before) => {
                let share = (next - end(before)) as f64 / (end(after) - end(before)) as f64;
                before.0 + after.0.duration_since(before.0).mul_f64(share)
            }
            None => after.0,
        };
        (count, then.saturating_duration_since(came))
    }
}

/// A panic while it was held can't have broken finished entries.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether everything before `ends` has been applied.
pub(crate) fn has_reached(applied: &Offsets, ends: &Offsets) -> bool {
    applied.iter().zip(ends).all(|(applied, end)| applied >= end)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::{BoxFuture, pending};

    use super::*;

    struct Silent;

    impl LogEnds for Silent {
        fn ends<'a>(&'a self, _: &'a [&'static str]) -> BoxFuture<'a, Result<Vec<Offsets>, NotReadable>> {
            pending().boxed()
        }
    }

    #[tokio::test]
    async fn only_one_reader_waits_for_a_silent_log_and_only_once() {
        let freshness = Freshness::new(Arc::new(Silent));
        let first = freshness.age("a.topic", &[0; 8]);
        tokio::pin!(first);
        assert!(first.as_mut().now_or_never().is_none(), "the first one asks");
        assert_eq!(freshness.age("a.topic", &[0; 8]).now_or_never(), Some(None), "the next one does not wait");
        assert_eq!(first.await, None);
        assert_eq!(freshness.age("a.topic", &[0; 8]).now_or_never(), Some(None), "nobody asks again at once");
    }

    #[test]
    fn an_answer_is_as_old_as_the_last_end_that_it_has_reached() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut samples = Samples::default();
        assert_eq!(samples.age(&[0; 8], at(0)), None);
        samples.add(at(0), [1; 8]);
        samples.add(at(1_000), [2; 8]);
        samples.add(at(2_000), [3; 8]);
        assert_eq!(samples.age(&[3; 8], at(2_000)), Some(Duration::ZERO));
        assert_eq!(samples.age(&[2; 8], at(2_000)), Some(Duration::from_secs(1)));
        assert_eq!(samples.age(&[2, 1, 2, 2, 2, 2, 2, 2], at(2_000)), Some(Duration::from_secs(2)));
        assert_eq!(samples.age(&[0; 8], at(2_500)), Some(Duration::from_millis(2_500)));
    }

    #[test]
    fn what_waits_is_as_old_as_its_first_record() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut samples = Samples::default();
        assert_eq!(samples.waiting(0, 0, at(0)), (0, Duration::ZERO));
        samples.add(at(0), [100; 8]);
        samples.add(at(1_000), [200, 100, 100, 100, 100, 100, 100, 100]);
        samples.add(at(2_000), [240, 100, 100, 100, 100, 100, 100, 100]);
        assert_eq!(samples.waiting(0, 240, at(2_100)), (0, Duration::ZERO));
        assert_eq!(samples.waiting(0, 230, at(2_100)), (10, Duration::from_millis(350)));
        assert_eq!(samples.waiting(0, 150, at(2_100)), (90, Duration::from_millis(1_600)));
        assert_eq!(samples.waiting(0, 50, at(2_100)), (190, Duration::from_millis(2_100)), "at least");
        assert_eq!(samples.waiting(1, 100, at(2_100)), (0, Duration::ZERO));
    }
}
