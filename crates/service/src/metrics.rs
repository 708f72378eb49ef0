//! Metrics for Prometheus. One registry per process; every metric has a fixed set of label names and a bounded number of
//! series, so that no input can fill the memory of whoever scrapes it.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::process;

/// The most series per metric; the rest is counted together under the label value `other`.
pub const SERIES_MAX: usize = 2000;

/// What stands in every label of the series that takes what is too much.
pub const OTHER: &str = "other";

/// Buckets in seconds, from half a millisecond (a commit) to five minutes (a slow saga).
pub const SECONDS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

const PREFIX: &str = "daybook_";

/// The one name that dashboards everywhere know already.
const LAG: &str = "kafka_consumergroup_lag";

/// What `Content-Type` the rendered metrics have.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters, one per combination of label values.
pub type Counters<const LABELS: usize> = Family<IntCounterVec, LABELS>;
/// Whole numbers that go up and down.
pub type Gauges<const LABELS: usize> = Family<IntGaugeVec, LABELS>;
/// Ages in seconds, which go up and down.
pub type Ages<const LABELS: usize> = Family<GaugeVec, LABELS>;
/// Durations in seconds.
pub type Seconds<const LABELS: usize> = Family<HistogramVec, LABELS>;

/// A metric could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Wrong name.
    #[error("metric `{name}` must start with `{PREFIX}`")]
    Prefix {
        /// The name.
        name: String,
    },
    /// The same name with other labels or of another kind.
    #[error("metric `{name}` exists already with other labels or of another kind")]
    Different {
        /// The name.
        name: String,
    },
    /// Not a valid metric.
    #[error("metric `{name}`: {source}")]
    Invalid {
        /// The name.
        name: String,
        /// What the library says.
        source: prometheus::Error,
    },
    /// Rendering failed.
    #[error("metrics cannot be rendered: {0}")]
    Rendering(prometheus::Error),
}

/// A metric with `LABELS` labels.
#[derive(Debug)]
pub struct Family<V, const LABELS: usize> {
    vector: V,
    seen: Arc<Mutex<HashSet<[String; LABELS]>>>,
}

impl<V: Clone, const LABELS: usize> Clone for Family<V, LABELS> {
    fn clone(&self) -> Self {
        Family { vector: self.vector.clone(), seen: Arc::clone(&self.seen) }
    }
}

impl<B: MetricVecBuilder, const LABELS: usize> Family<MetricVec<B>, LABELS> {
    /// The series of these label values. On hot paths keep it instead of asking each time: this takes a lock.
    ///
    /// Values are codes and names from a fixed set; beyond [`SERIES_MAX`] combinations it answers the series [`OTHER`].
    pub fn with(&self, values: [&str; LABELS]) -> B::M {
        let values = if self.has_room(values) { values } else { [OTHER; LABELS] };
        self.vector
            .get_metric_with_label_values(&values)
            .expect("the only possible error is another number of labels, and the type says how many")
    }

    fn has_room(&self, values: [&str; LABELS]) -> bool {
        let mut seen = lock(&self.seen);
        let key = values.map(str::to_owned);
        seen.contains(&key) || (seen.len() < SERIES_MAX && seen.insert(key))
    }
}

/// The metrics of a process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Mutex<HashMap<String, Box<dyn Any + Send>>>>,
    process: ProcessMetrics,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// A registry with the figures of the process in it.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let process = ProcessMetrics::register(&registry)?;
        let metrics = Metrics { registry, families: Arc::default(), process };
        let build = metrics.gauge("daybook_build_info", "The running build; always 1.", ["version"])?;
        build.with([env!("CARGO_PKG_VERSION")]).set(1);
        Ok(metrics)
    }

    /// Counters named `name` (ending in `_total`). Asking again for the same gives the same.
    ///
    /// # Errors
    /// When name, labels or kind are wrong.
    pub fn counter<const LABELS: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; LABELS],
    ) -> Result<Counters<LABELS>, MetricsError> {
        self.family(name, || IntCounterVec::new(Opts::new(name, help), &labels))
    }

    /// Gauges named `name`. Asking again for the same gives the same.
    ///
    /// # Errors
    /// When name, labels or kind are wrong.
    pub fn gauge<const LABELS: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; LABELS],
    ) -> Result<Gauges<LABELS>, MetricsError> {
        self.family(name, || IntGaugeVec::new(Opts::new(name, help), &labels))
    }

    /// Gauges of ages named `name` (ending in `_seconds`). Asking again for the same gives the same.
    ///
    /// # Errors
    /// When name, labels or kind are wrong.
    pub fn age<const LABELS: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; LABELS],
    ) -> Result<Ages<LABELS>, MetricsError> {
        self.family(name, || GaugeVec::new(Opts::new(name, help), &labels))
    }

    /// Histograms of durations named `name` (ending in `_seconds`), with [`SECONDS_BUCKETS`]. Asking again for the same
    /// gives the same.
    ///
    /// # Errors
    /// When name, labels or kind are wrong.
    pub fn seconds<const LABELS: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; LABELS],
    ) -> Result<Seconds<LABELS>, MetricsError> {
        let options = HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec());
        self.family(name, || HistogramVec::new(options, &labels))
    }

    fn family<V, const LABELS: usize>(
        &self,
        name: &str,
        build: impl FnOnce() -> prometheus::Result<V>,
    ) -> Result<Family<V, LABELS>, MetricsError>
    where
        V: Collector + Clone + Send + 'static,
    {
        if !name.starts_with(PREFIX) && name != LAG {
            return Err(MetricsError::Prefix { name: name.to_owned() });
        }
        let invalid = |source| MetricsError::Invalid { name: name.to_owned(), source };
        let vector = build().map_err(invalid)?;
        let mut families = lock(&self.families);
        if let Some(existing) = families.get(name) {
            return existing
                .downcast_ref::<Family<V, LABELS>>()
                .filter(|existing| label_names(&existing.vector) == label_names(&vector))
                .cloned()
                .ok_or_else(|| MetricsError::Different { name: name.to_owned() });
        }
        self.registry.register(Box::new(vector.clone())).map_err(invalid)?;
        let family = Family { vector, seen: Arc::default() };
        families.insert(name.to_owned(), Box::new(family.clone()));
        Ok(family)
    }

    /// All metrics in Prometheus's text format.
    ///
    /// # Errors
    /// When a metric can't be encoded.
    pub fn render(&self) -> Result<String, MetricsError> {
        self.process.refresh();
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(MetricsError::Rendering)
    }
}

fn label_names(collector: &impl Collector) -> Vec<&[String]> {
    let descriptions = collector.desc().into_iter();
    descriptions.map(|description| description.variable_labels.as_slice()).collect()
}

/// A panic while it was held can't have broken a map or set of finished entries.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the operating system knows of this process, read when metrics are scraped.
#[derive(Clone)]
struct ProcessMetrics {
    cpu_seconds: Gauge,
    resident_bytes: Gauge,
    open_files: Gauge,
    unreadable: IntCounter,
}

impl ProcessMetrics {
    fn register(registry: &Registry) -> Result<Self, MetricsError> {
        let gauge = |name: &str, help: &str| {
            let made = Gauge::new(name, help);
            made.and_then(|gauge| registry.register(Box::new(gauge.clone())).map(|()| gauge))
                .map_err(|source| MetricsError::Invalid { name: name.to_owned(), source })
        };
        let unreadable = "daybook_process_unreadable_total";
        Ok(ProcessMetrics {
            cpu_seconds: gauge("daybook_process_cpu_seconds_total", "Processor time used, in seconds.")?,
            resident_bytes: gauge("daybook_process_resident_bytes", "Memory in use, in bytes.")?,
            open_files: gauge("daybook_process_open_files", "Open files and sockets.")?,
            unreadable: IntCounter::new(unreadable, "How often /proc could not be read.")
                .and_then(|counter| registry.register(Box::new(counter.clone())).map(|()| counter))
                .map_err(|source| MetricsError::Invalid { name: unreadable.to_owned(), source })?,
        })
    }

    fn refresh(&self) {
        match process::usage() {
            Ok(usage) => {
                self.cpu_seconds.set(usage.cpu_seconds);
                self.resident_bytes.set(usage.resident_bytes as f64);
                self.open_files.set(usage.open_files as f64);
            }
            Err(error) => {
                self.unreadable.inc();
                tracing::debug!(%error, "process figures are unreadable");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_metric_asked_for_twice_is_one() {
        let metrics = Metrics::new().unwrap();
        let first = metrics.counter("daybook_applied_total", "Applied.", ["consumer"]).unwrap();
        let second = metrics.counter("daybook_applied_total", "Applied.", ["consumer"]).unwrap();
        first.with(["courses"]).inc();
        second.with(["courses"]).inc_by(2);
        let text = metrics.render().unwrap();
        assert!(text.contains("daybook_applied_total{consumer=\"courses\"} 3"), "{text}");
    }

    #[test]
    fn a_metric_is_refused_under_a_foreign_name_or_with_other_labels() {
        let metrics = Metrics::new().unwrap();
        metrics.counter("daybook_applied_total", "Applied.", ["consumer"]).unwrap();
        assert!(metrics.counter("applied_total", "Applied.", ["consumer"]).is_err());
        assert!(metrics.counter("daybook_applied_total", "Applied.", ["topic"]).is_err());
        assert!(metrics.gauge("daybook_applied_total", "Applied.", ["consumer"]).is_err());
        assert!(metrics.gauge("kafka_consumergroup_lag", "Lag.", ["group"]).is_ok());
    }

    #[test]
    fn series_beyond_the_bound_are_counted_together() {
        let metrics = Metrics::new().unwrap();
        let counters = metrics.counter("daybook_seen_total", "Seen.", ["what"]).unwrap();
        for number in 0..SERIES_MAX + 5 {
            counters.with([&number.to_string()]).inc();
        }
        assert_eq!(counters.with([OTHER]).get(), 5);
        assert_eq!(counters.with(["0"]).get(), 1);
    }

    #[test]
    fn the_process_and_the_build_are_shown() {
        let text = Metrics::new().unwrap().render().unwrap();
        assert!(text.contains("daybook_build_info{version=\""), "{text}");
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        assert!(value("daybook_process_resident_bytes ") > 100_000.0);
        assert!(value("daybook_process_open_files ") >= 3.0);
        assert_eq!(value("daybook_process_unreadable_total "), 0.0);
    }
}
