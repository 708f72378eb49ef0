//! How old an answer from a projection is. Nobody stamps rows with the time at which they stopped being the latest; but when the log
//! is known to have ended at some place at some time, a projection that has come to that place knows everything up to that time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::ports::{LogEnds, NotReadable, Offsets};

/// How old a sample may be before another one is taken.
const SAMPLE_AGE: Duration = Duration::from_millis(200);

/// How many samples are kept of a topic: with one per [`SAMPLE_AGE`] a minute's worth.
const SAMPLES_MAX: usize = 300;

/// How long the log may take to say where it ends.
const SAMPLE_TIMEOUT: Duration = Duration::from_millis(500);

/// Remembers where topics ended, and when.
pub(crate) struct Freshness {
    ends: Arc<dyn LogEnds>,
    topics: Mutex<HashMap<&'static str, Arc<Mutex<Samples>>>>,
}

#[derive(Default)]
struct Samples {
    taken: VecDeque<(Instant, Offsets)>,
    tried_at: Option<Instant>,
}

impl Freshness {
    pub(crate) fn new(ends: Arc<dyn LogEnds>) -> Self {
        Self { ends, topics: Mutex::default() }
    }

    /// How old rows are whose projection has applied `topic` up to `applied`. While the log can't be asked, the age grows with the
    /// last sample's; `None` when it was never asked with success.
    pub(crate) async fn age(&self, topic: &'static str, applied: &Offsets) -> Option<Duration> {
        let samples = Arc::clone(self.topics.lock().await.entry(topic).or_default());
        let mut samples = samples.lock().await;
        let begun = Instant::now();
        let is_due = |tried: Instant| begun.duration_since(tried) >= SAMPLE_AGE;
        if samples.tried_at.is_none_or(is_due) {
            samples.tried_at = Some(begun);
            match timeout(SAMPLE_TIMEOUT, self.ends.ends(topic)).await {
                Ok(Ok(ends)) => samples.add(begun, ends),
                Ok(Err(error)) => tracing::warn!(%error, topic, "the end of a topic is not known"),
                Err(_) => tracing::warn!(topic, "the end of a topic was not told in time"),
            }
        }
        samples.age(applied, begun)
    }

    /// Where the topic ends now.
    ///
    /// # Errors
    /// When the log can't be asked.
    pub(crate) async fn ends_now(&self, topic: &'static str) -> Result<Offsets, NotReadable> {
        self.ends.ends(topic).await
    }
}

impl Samples {
    fn add(&mut self, at: Instant, ends: Offsets) {
        if self.taken.len() == SAMPLES_MAX {
            self.taken.pop_front();
        }
        self.taken.push_back((at, ends));
    }

    /// Since the latest sample that lies behind `applied`; before all of them, since the first, which is the least that it can be.
    fn age(&self, applied: &Offsets, now: Instant) -> Option<Duration> {
        let latest = self.taken.back()?;
        if has_reached(applied, &latest.1) {
            // Nothing had been added when it was taken: as fresh as the sample.
            return Some(if now.duration_since(latest.0) < SAMPLE_AGE { Duration::ZERO } else { now - latest.0 });
        }
        let known = self.taken.iter().rev().find(|(_, ends)| has_reached(applied, ends));
        known.or(self.taken.front()).map(|(at, _)| now.duration_since(*at))
    }
}

/// Whether everything before `ends` has been applied.
pub(crate) fn has_reached(applied: &Offsets, ends: &Offsets) -> bool {
    applied.iter().zip(ends).all(|(applied, end)| applied >= end)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
