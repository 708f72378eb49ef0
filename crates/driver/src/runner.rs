//! The loop of a part: what happened goes to the engine, what it answers is carried out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use daybook_engine::{Action, Engine, Event, Performance, Performer, Record, Spec, Stream};
use daybook_log::{Committed, Delivered, Fetched, Fetcher, Log, Publisher, Refusal, Witness};
use daybook_service::{Drain, SystemClock};
use daybook_store::PartStore;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;
use tracing::{Instrument, info, warn};

use crate::carry::{self, Done, Until};
use crate::clock::DatabaseClock;
use crate::metrics::PartMetrics;
use crate::traces::{self, Traces};
use crate::{Error, Observer, Readers, alarm, behind};

/// How long a revoked partition may take to be let go; afterwards it is as good as lost.
const REVOKE_LIMIT: Duration = Duration::from_secs(10);
/// A revoked partition waits for its calls: their own time limit, and this.
const CALL_MARGIN: Duration = Duration::from_secs(2);
/// How long a part that stood down waits before it takes the partition again.
const STAND_DOWN_WAIT: Duration = Duration::from_secs(1);
/// The engine is not woken more often than this while it waits for something else.
const TICK_MIN: Duration = Duration::from_millis(5);
/// How often the figures are brought up to date.
const FIGURES_INTERVAL: Duration = Duration::from_secs(2);
/// How often the store is told to let go of what it has kept long enough.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Acknowledgments told to the engine in one go.
const DELIVERIES_AT_ONCE: usize = 2_000;

/// What a runner works with besides what it owns.
pub(crate) struct With {
    pub spec: Spec,
    pub performer: Option<Arc<dyn Performer>>,
    pub log: Arc<Log>,
    pub store: Arc<PartStore>,
    /// Highest numbers found in the book at the start.
    pub book: HashMap<u16, Witness>,
    pub observer: Option<Arc<dyn Observer>>,
    pub readers: Readers,
}

/// One part, run by one task.
pub(crate) struct Runner {
    engine: Engine,
    fetcher: Fetcher,
    publisher: Publisher,
    metrics: PartMetrics,
    traces: Traces,
    with: With,
    control: Arc<str>,
    clock: DatabaseClock,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Partitions that the group gives us.
    owned: HashSet<u16>,
    /// Partitions asked back, and until when they may take to be let go.
    leaving: HashMap<u16, Instant>,
    /// Partitions that somebody else wrote, and when they are taken again.
    stood_down: HashMap<u16, Instant>,
    applied: HashMap<u16, i64>,
    ticked_at: Instant,
    figures_at: Instant,
    housekeeping_at: Instant,
}

enum Happened {
    Fetched(Fetched),
    Delivered(Delivered),
    Done(Done),
    TimePassed,
    DrainBegan,
    DrainIsUp,
}

impl Runner {
    pub fn new(engine: Engine, fetcher: Fetcher, publisher: Publisher, metrics: PartMetrics, with: With) -> Self {
        let now = Instant::now();
        Self {
            engine,
            fetcher,
            publisher,
            metrics,
            traces: Traces::new(with.spec.name, with.spec.input),
            control: Arc::from(with.spec.control.as_str()),
            with,
            clock: DatabaseClock::new(now),
            work: FuturesUnordered::new(),
            owned: HashSet::new(),
            leaving: HashMap::new(),
            stood_down: HashMap::new(),
            applied: HashMap::new(),
            ticked_at: now,
            figures_at: now,
            housekeeping_at: now + HOUSEKEEPING_INTERVAL,
        }
    }

    /// Runs until the process drains.
    ///
    /// # Errors
    /// When the part cannot go on.
    pub async fn run(mut self, drain: &Drain) -> Result<(), Error> {
        let ended = self.turn(drain).await;
        let Self { fetcher, work, with, owned, mut metrics, .. } = self;
        // Work that is still under way is given up; whatever it was, the next owner finds out.
        drop(work);
        owned.into_iter().for_each(|partition| metrics.forget(partition));
        fetcher.close().await;
        with.store.close().await;
        info!(part = with.spec.name, "a part has ended");
        ended
    }

    async fn turn(&mut self, drain: &Drain) -> Result<(), Error> {
        let mut draining = false;
        loop {
            let wake_at = self.wake_at();
            let happened = tokio::select! {
                fetched = self.fetcher.next() => Happened::Fetched(fetched.map_err(|refusal| self.refused(refusal))?),
                delivered = self.publisher.next() => Happened::Delivered(delivered),
                Some(done) = self.work.next(), if !self.work.is_empty() => Happened::Done(done),
                () = tokio::time::sleep_until(wake_at) => Happened::TimePassed,
                () = drain.begun(), if !draining => Happened::DrainBegan,
                () = drain.time_is_up(), if draining => Happened::DrainIsUp,
            };
            match happened {
                Happened::Fetched(fetched) => self.fetched(fetched)?,
                Happened::Delivered(first) => self.delivered(first)?,
                Happened::Done(done) => self.done(done)?,
                Happened::TimePassed => self.time_passed()?,
                Happened::DrainBegan => {
                    draining = true;
                    let partitions: Vec<u16> = self.owned.iter().copied().collect();
                    self.revoked(&partitions)?;
                }
                Happened::DrainIsUp => {
                    warn!(part = self.with.spec.name, left = self.leaving.len(), "the time to drain is up");
                    return Ok(());
                }
            }
            if draining && self.leaving.is_empty() {
                return Ok(());
            }
        }
    }

    fn refused(&self, refusal: Refusal) -> Error {
        Error::Log { part: self.with.spec.name.to_owned(), source: refusal.into() }
    }

    /// When something is to be done at the latest.
    fn wake_at(&mut self) -> Instant {
        let engine = self
            .engine
            .wake_at()
            .map(|time| self.clock.instant_of(time, Instant::now()).max(self.ticked_at + TICK_MIN));
        let leaving = self.leaving.values().min().copied();
        let stood_down = self.stood_down.values().min().copied();
        [engine, leaving, stood_down].into_iter().flatten().fold(self.figures_at, Instant::min)
    }

    fn time_passed(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        self.ticked_at = now;
        let overdue: Vec<u16> = due(&self.leaving, now);
        for partition in overdue {
            warn!(part = self.with.spec.name, partition, "a revoked partition was not let go in time");
            self.lost(partition)?;
            self.released(partition)?;
        }
        for partition in due(&self.stood_down, now) {
            self.stood_down.remove(&partition);
            if self.owned.contains(&partition) {
                self.tell(Event::Assigned { partition })?;
            }
        }
        if self.figures_at <= now {
            self.figures_at = now + FIGURES_INTERVAL;
            self.refresh_figures();
        }
        if self.housekeeping_at <= now {
            self.housekeeping_at = now + HOUSEKEEPING_INTERVAL;
            self.work.push(carry::keep_house(self.with.spec.name, Arc::clone(&self.with.store)).boxed());
        }
        self.tell(Event::Tick)
    }

    fn refresh_figures(&mut self) {
        self.metrics.refresh(self.engine.counters(), &self.engine.gauges(), self.publisher.waiting());
        for partition in &self.owned {
            let ends = self.fetcher.end_seen(*partition).zip(self.applied.get(partition));
            self.metrics.lag(*partition, ends.map(|(end, next)| (end - next).max(0)));
        }
    }

    fn fetched(&mut self, fetched: Fetched) -> Result<(), Error> {
        match fetched {
            Fetched::Assigned(partitions) => {
                for partition in partitions {
                    self.owned.insert(partition);
                    self.tell(Event::Assigned { partition })?;
                }
                Ok(())
            }
            Fetched::Revoked(partitions) => self.revoked(&partitions),
            Fetched::Lost(partitions) => partitions.into_iter().try_for_each(|partition| {
                warn!(part = self.with.spec.name, partition, "a partition was lost");
                self.leaving.remove(&partition);
                self.lost(partition)
            }),
            Fetched::Records { partition, stream, token, records } => {
                let mut events = vec![self.arrived(partition, stream, token, records)];
                while let Some(Fetched::Records { partition, stream, token, records }) = self.fetcher.ready() {
                    events.push(self.arrived(partition, stream, token, records));
                }
                self.tell_all(events)
            }
        }
    }

    fn arrived(&mut self, partition: u16, stream: Stream, token: u64, records: Vec<Record>) -> Event {
        if stream == Stream::Data {
            self.metrics.arrived(partition, &records);
            self.traces.arrived(partition, &records);
        }
        Event::Fetched { partition, token, records }
    }

    fn revoked(&mut self, partitions: &[u16]) -> Result<(), Error> {
        let until = Instant::now() + self.revoke_limit();
        // All are noted before any is let go: a group's revocation is answered with the last of them.
        self.leaving.extend(partitions.iter().map(|partition| (*partition, until)));
        for partition in partitions {
            self.owned.remove(partition);
            self.stood_down.remove(partition);
            self.tell(Event::Revoked { partition: *partition })?;
        }
        Ok(())
    }

    fn revoke_limit(&self) -> Duration {
        REVOKE_LIMIT.max(self.call_timeout() + CALL_MARGIN)
    }

    fn call_timeout(&self) -> Duration {
        let policy = self.with.spec.effects.as_ref();
        policy.map_or(Duration::ZERO, |policy| Duration::from_millis(policy.call_timeout_ms))
    }

    fn lost(&mut self, partition: u16) -> Result<(), Error> {
        self.owned.remove(&partition);
        self.stood_down.remove(&partition);
        self.publisher.forget(partition);
        self.metrics.forget(partition);
        self.traces.forget(partition);
        self.tell(Event::Lost { partition })
    }

    /// Nothing of a revoked partition is in flight any more.
    fn released(&mut self, partition: u16) -> Result<(), Error> {
        self.leaving.remove(&partition);
        self.publisher.forget(partition);
        self.metrics.forget(partition);
        self.traces.forget(partition);
        self.fetcher.release(partition).map_err(Error::log(self.with.spec.name))
    }

    fn delivered(&mut self, first: Delivered) -> Result<(), Error> {
        let ready = self.publisher.ready(DELIVERIES_AT_ONCE);
        let event = |Delivered { partition, attempt, seq, ok }| Event::Delivered { partition, attempt, seq, ok };
        self.tell_all(std::iter::once(first).chain(ready).map(event))
    }

    fn done(&mut self, done: Done) -> Result<(), Error> {
        match done {
            Done::Claimed { partition, claimed: None } => self.tell(Event::ClaimFailed { partition }),
            Done::Claimed { partition, claimed: Some((claimed, at, witness)) } => {
                self.clock.told(at, Instant::now());
                let published = witness.max(self.with.book.get(&partition).copied());
                behind::check(self.with.spec.name, &claimed, published)?;
                self.applied.insert(partition, claimed.next_data);
                self.tell(Event::Claimed(claimed))
            }
            Done::Loaded { ticket, result } => {
                let result = result.map(|(loaded, at)| {
                    self.clock.told(at, Instant::now());
                    loaded
                });
                self.tell(Event::Loaded { ticket, result })
            }
            Done::Committed { ticket, result, nexts, took } => {
                let result = result.map(|at| {
                    self.clock.told(at, Instant::now());
                    self.metrics.committed(took, &nexts, at);
                    nexts.iter().for_each(|(partition, next)| self.traces.applied(*partition, *next));
                    self.applied.extend(nexts);
                });
                self.tell(Event::Committed { ticket, result })
            }
            Done::Performed { partition, token, intent_id, outcome } => {
                self.tell(Event::Performed { partition, token, intent_id, outcome })
            }
            Done::Ends { partition, token, data, control } => {
                self.tell(Event::Ends { partition, token, data, control })
            }
            Done::Progress { partition, token, topic, of, end, next, waits } => {
                self.tell(Event::Progress { partition, token, topic, of, end, next, waits })
            }
            Done::Kept => Ok(()),
        }
    }

    fn tell(&mut self, event: Event) -> Result<(), Error> {
        self.tell_all([event])
    }

    fn tell_all(&mut self, events: impl IntoIterator<Item = Event>) -> Result<(), Error> {
        let mut actions = Vec::new();
        self.engine.on_all(events, self.clock.now(Instant::now()), &mut actions);
        actions.into_iter().try_for_each(|action| self.carry_out(action))
    }

    fn carry_out(&mut self, action: Action) -> Result<(), Error> {
        let part = self.with.spec.name;
        let failed = Error::log(part);
        let store = Arc::clone(&self.with.store);
        match action {
            Action::Fetch { partition, token, data, control } => {
                self.fetcher.fetch(partition, token, data, control).map_err(failed)?;
            }
            Action::Forget { partition } => self.fetcher.forget(partition).map_err(failed)?,
            Action::Pause { partition, stream } => self.fetcher.pause(partition, stream).map_err(failed)?,
            Action::Resume { partition, stream } => self.fetcher.resume(partition, stream).map_err(failed)?,
            Action::Released { partition } => self.released(partition)?,
            Action::Claim { partition } => {
                let committed = self.fetcher.committed(&[partition]);
                let claimed = async move { store.claim(partition).await };
                self.work.push(carry::claim(part, partition, committed, claimed).boxed());
            }
            Action::Load { ticket, load } => {
                let registry = Arc::clone(self.with.log.registry());
                self.work.push(carry::load(store, registry, ticket, load).boxed());
            }
            Action::Commit { ticket, commit } => {
                self.work.push(carry::commit(part, store, ticket, *commit, self.with.observer.clone()).boxed());
            }
            Action::Publish { partition, attempt, messages } => self.publisher.publish(partition, attempt, messages),
            Action::Witness { partition, next_data, incarnation, out_seq, waits } => {
                let witness = Some(Witness { incarnation, out_seq });
                self.fetcher.commit(Committed { partition, next: next_data, witness, waits });
            }
            Action::Perform { token, performance } => self.perform(token, performance),
            Action::AskEnds { partition, token } => {
                let (log, control) = (Arc::clone(&self.with.log), Arc::clone(&self.control));
                self.work.push(carry::ends(log, self.with.spec.input, control, partition, token).boxed());
            }
            Action::AskProgress { partition, token, topic, of } => {
                let (log, reader) = (Arc::clone(&self.with.log), self.with.readers.of(topic));
                self.work.push(carry::progress(log, reader, (partition, token), (topic, of)).boxed());
            }
            Action::StoodDown { partition } => {
                self.publisher.forget(partition);
                self.stood_down.insert(partition, Instant::now() + STAND_DOWN_WAIT);
            }
            Action::Alarm(alarm) => {
                alarm::tell(part, &alarm);
                self.metrics.alarm(&alarm);
            }
        }
        Ok(())
    }

    fn perform(&mut self, token: u64, performance: Performance) {
        let performer = self.with.performer.as_ref();
        let performer = performer.expect("a part with effects starts only with a performer");
        let limit = self.call_timeout();
        let span = traces::of_call(self.with.spec.name, performance.trace);
        let now = Instant::now();
        let left = performance.key_until.map(|until| self.clock.instant_of(until, now).duration_since(now));
        let until = left.map(|left| Until::new(SystemClock::default(), left));
        let call = carry::perform(Arc::clone(performer), token, performance, limit, until);
        self.work.push(call.instrument(span).boxed());
    }
}

fn due(times: &HashMap<u16, Instant>, now: Instant) -> Vec<u16> {
    times.iter().filter(|(_, at)| **at <= now).map(|(partition, _)| *partition).collect()
}
