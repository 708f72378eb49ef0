//! The figures of a part. Labels are names and codes; partitions are numbers below 8.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use daybook_engine::{Alarm, Counters, Gauges, Record};
use daybook_events::Timestamp;
use daybook_service::Metrics;
use daybook_service::metrics::{self as service, MetricsError};
use prometheus::{Histogram, IntCounter, IntGauge};

use crate::alarm;

/// Lag of a partition that is not (or no longer) ours, or not yet known: told apart from zero.
const UNKNOWN_LAG: i64 = -1;
/// Chunks remembered per partition to tell how old what was applied is.
const AGES_MAX: usize = 256;

/// Metrics, each with what it shows.
type Figures<M, F> = Vec<(M, fn(&F) -> u64)>;

pub(crate) struct PartMetrics {
    part: &'static str,
    input: &'static str,
    counted: Counters,
    counters: Figures<IntCounter, Counters>,
    gauges: Figures<IntGauge, Gauges>,
    commit_seconds: Histogram,
    age_seconds: Histogram,
    alarms: service::Counters<2>,
    lag: service::Gauges<3>,
    waiting: IntGauge,
    arrivals: HashMap<u16, VecDeque<(i64, Timestamp)>>,
}

impl PartMetrics {
    /// # Errors
    /// When another metric has one of the names.
    pub fn new(metrics: &Metrics, part: &'static str, input: &'static str) -> Result<Self, MetricsError> {
        let counter =
            |name: &str, help: &str| Ok::<_, MetricsError>(metrics.counter(name, help, ["part"])?.with([part]));
        let gauge = |name: &str, help: &str| Ok::<_, MetricsError>(metrics.gauge(name, help, ["part"])?.with([part]));
        let counters: Figures<IntCounter, Counters> = vec![
            (counter("daybook_applied_total", "Inputs applied.")?, |c| c.applied),
            (counter("daybook_rejected_total", "Commands rejected.")?, |c| c.rejected),
            (counter("daybook_parked_total", "Records parked.")?, |c| c.parked),
            (counter("daybook_held_total", "Records held behind a key.")?, |c| c.held),
            (counter("daybook_duplicates_total", "Records dropped as seen before.")?, |c| c.duplicates),
            (counter("daybook_gaps_total", "Records dropped because a number before them is missing.")?, |c| c.gaps),
            (counter("daybook_timers_total", "Timers fired.")?, |c| c.timers),
            (counter("daybook_timers_failed_total", "Timers that could not be fired.")?, |c| c.timers_failed),
            (
                counter("daybook_timers_put_off_total", "Times that a deadline waited for a lagging participant.")?,
                |c| c.timers_put_off,
            ),
            (counter("daybook_concluded_total", "Effects concluded.")?, |c| c.concluded),
            (counter("daybook_batches_total", "Batches committed.")?, |c| c.batches),
            (counter("daybook_republished_total", "Messages published again.")?, |c| c.republished),
            (counter("daybook_deliveries_failed_total", "Messages that were not delivered.")?, |c| c.deliveries_failed),
            (counter("daybook_effects_retried_total", "Effects tried again.")?, |c| c.effects_retried),
            (counter("daybook_effects_late_total", "Answers to effects concluded otherwise.")?, |c| c.effects_late),
            (counter("daybook_fenced_total", "Partitions stood down from.")?, |c| c.fenced),
            (counter("daybook_store_retries_total", "Batches tried again.")?, |c| c.store_retries),
        ];
        let gauges: Figures<IntGauge, Gauges> = vec![
            (gauge("daybook_partitions", "Partitions owned and live.")?, |g| g.partitions as u64),
            (gauge("daybook_partitions_halted", "Partitions that stand still.")?, |g| g.halted as u64),
            (gauge("daybook_queue_bytes", "Bytes fetched and not yet applied.")?, |g| g.queued_bytes as u64),
            (gauge("daybook_cached_rows", "State rows in memory.")?, |g| g.cached_rows as u64),
            (gauge("daybook_unacknowledged", "Messages committed, not yet acknowledged.")?, |g| {
                g.unacknowledged as u64
            }),
            (gauge("daybook_held", "Records held now.")?, |g| g.held),
            (gauge("daybook_intents_open", "Effects not concluded.")?, |g| g.intents_open as u64),
            (gauge("daybook_intents_attention", "Effects that need attention.")?, |g| g.intents_attention as u64),
            (gauge("daybook_blocked_keys", "Keys that wait.")?, |g| g.blocked_keys as u64),
            (gauge("daybook_participants_lagging", "Partitions of participants that deadlines wait for.")?, |g| {
                g.participants_lagging as u64
            }),
            (gauge("daybook_breaker_open", "1 while the part's provider is down and calls are put off.")?, |g| {
                g.breaker_open as u64
            }),
        ];
        Ok(Self {
            part,
            input,
            counted: Counters::default(),
            counters,
            gauges,
            commit_seconds: metrics.seconds("daybook_commit_seconds", "A batch's commit.", ["part"])?.with([part]),
            age_seconds: metrics
                .seconds("daybook_age_seconds", "Age of the newest record of a batch once applied.", ["part"])?
                .with([part]),
            alarms: metrics.counter("daybook_alarms_total", "Alarms.", ["part", "code"])?,
            lag: metrics.gauge(
                "kafka_consumergroup_lag",
                "Records in the partition that are not applied; -1: not known here.",
                ["group", "topic", "partition"],
            )?,
            waiting: gauge("daybook_publisher_waiting", "Messages that the producer has not taken yet.")?,
            arrivals: HashMap::new(),
        })
    }

    pub fn refresh(&mut self, counters: &Counters, gauges: &Gauges, waiting: usize) {
        for (metric, read) in &self.counters {
            metric.inc_by(read(counters).saturating_sub(read(&self.counted)));
        }
        self.counted = *counters;
        for (metric, read) in &self.gauges {
            metric.set(i64::try_from(read(gauges)).unwrap_or(i64::MAX));
        }
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    pub fn alarm(&self, alarm: &Alarm) {
        self.alarms.with([self.part, alarm::code(alarm)]).inc();
    }

    /// Records of the data topic have arrived.
    pub fn arrived(&mut self, partition: u16, records: &[Record]) {
        let Some(last) = records.last() else { return };
        let arrivals = self.arrivals.entry(partition).or_default();
        if arrivals.len() < AGES_MAX {
            arrivals.push_back((last.offset, last.time));
        }
    }

    pub fn committed(&mut self, took: Duration, nexts: &[(u16, i64)], now: Timestamp) {
        self.commit_seconds.observe(took.as_secs_f64());
        for (partition, next) in nexts {
            let Some(arrivals) = self.arrivals.get_mut(partition) else { continue };
            let applied = arrivals.partition_point(|(offset, _)| offset < next);
            if let Some((_, time)) = arrivals.drain(..applied).next_back() {
                self.age_seconds.observe(Duration::from_micros(age_micros(now, time)).as_secs_f64());
            }
        }
    }

    pub fn lag(&self, partition: u16, lag: Option<i64>) {
        let number = partition.to_string();
        self.lag.with([self.part, self.input, &number]).set(lag.unwrap_or(UNKNOWN_LAG));
    }

    /// The partition is not ours any more.
    pub fn forget(&mut self, partition: u16) {
        self.arrivals.remove(&partition);
        self.lag(partition, None);
    }
}

/// Producers' clocks may be ahead of the database's.
fn age_micros(now: Timestamp, time: Timestamp) -> u64 {
    u64::try_from(now.micros().saturating_sub(time.micros())).unwrap_or(0)
}
