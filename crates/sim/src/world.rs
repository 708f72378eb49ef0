//! The simulated world: a clock, a queue of what is going to happen, and everything it happens to.

mod group;
mod outer;
mod queue;
mod reading;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use daybook_engine::{
    Action, Alarm, CALL_TIMEOUT, Commit, CommitError, Event, Leaf, Limits, Load, LoadError, Mode, Outgoing, PARTITIONS,
    PartitionCommit, Performance, Performed, Stream, unpack,
};
use daybook_events::{Header, Timestamp};
use hashbrown::{HashMap, HashSet};

use crate::auditor::Auditor;
use crate::book::{Book, BookRecord};
use crate::database::Tables;
use crate::faults::{Faults, Tally};
use crate::outside::{Answered, Answering, Chance, Outside};
use crate::rng::Rng;
use crate::run::Settings;
use crate::teeth::LeftOut;
use crate::worker::{Life, Reading, Worker, index};

use queue::{Fate, Scheduled};
use reading::GroupOffset;

/// How long the group waits for a silent member, in ms.
const SESSION_TIMEOUT_MS: i64 = 6_000;
/// How long a revoked partition is waited for, in ms.
const REVOKE_TIMEOUT_MS: i64 = 10_000;
const RECORDS_PER_FETCH: usize = 64;

/// A message on its way to the brokers: whose it is, and in which attempt of its shard.
struct Sent {
    worker: usize,
    epoch: u64,
    part: usize,
    shard: u16,
    attempt: u64,
    message: Arc<Outgoing>,
}

/// Something that is going to happen.
enum Happening {
    Told {
        worker: usize,
        epoch: u64,
        part: usize,
        event: Event,
    },
    TellFetched {
        worker: usize,
        epoch: u64,
        part: usize,
    },
    Tick {
        worker: usize,
        epoch: u64,
        part: usize,
    },
    Claim {
        worker: usize,
        epoch: u64,
        part: usize,
        partition: u16,
    },
    Load {
        worker: usize,
        epoch: u64,
        part: usize,
        ticket: u64,
        load: Load,
    },
    Commit {
        worker: usize,
        epoch: u64,
        part: usize,
        ticket: u64,
        commit: Box<Commit>,
        fate: Fate,
    },
    Append {
        sent: Sent,
        fails: bool,
    },
    Fetch {
        worker: usize,
        epoch: u64,
        part: usize,
        partition: u16,
        stream: Stream,
    },
    Ends {
        worker: usize,
        epoch: u64,
        part: usize,
        partition: u16,
        token: u64,
    },
    Progress {
        worker: usize,
        epoch: u64,
        part: usize,
        partition: u16,
        token: u64,
        topic: &'static str,
        of: u16,
    },
    Perform {
        worker: usize,
        epoch: u64,
        part: usize,
        token: u64,
        performance: Performance,
    },
    /// A request reaches the outside world long after its sender has given up waiting.
    PerformLate {
        part: usize,
        performance: Performance,
        /// By the database's clock.
        sent_at: Timestamp,
    },
    /// A message that is in the log already arrives there again.
    AppendAgain {
        topic: Arc<str>,
        partition: u16,
        record: BookRecord,
    },
    /// A record from outside: a command, a notice, an operator, garbage.
    Publish {
        topic: String,
        record: BookRecord,
    },
    Reassign {
        part: usize,
        partition: u16,
    },
    RevokeTimeout {
        part: usize,
        partition: u16,
        move_number: u64,
    },
    SessionTimeout {
        worker: usize,
        epoch: u64,
    },
    StoodDown {
        worker: usize,
        epoch: u64,
        part: usize,
        partition: u16,
    },
    Restart {
        worker: usize,
    },
    Resume {
        worker: usize,
        epoch: u64,
    },
    /// The group tells a woken member what it has lost.
    TellLost {
        worker: usize,
        epoch: u64,
        part: usize,
        partition: u16,
    },
}

/// Who reads a partition of a part, as the group sees it.
#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    /// The member, in the life in which it was given the partition.
    owner: Option<(usize, u64)>,
    /// Being moved: the number of the move, and where to.
    moving: Option<(u64, Option<usize>)>,
}

pub struct World {
    pub now: Timestamp,
    /// The database's clock less the world's, in ms.
    clock_offset_ms: i64,
    pub rng: Rng,
    pub faults: Faults,
    pub tally: Tally,
    limits: Limits,
    left_out: Option<LeftOut>,
    leaves: Vec<Arc<dyn Leaf>>,
    pub tables: Vec<Tables>,
    pub book: Book,
    workers: Vec<Worker>,
    seats: Vec<[Seat; PARTITIONS as usize]>,
    /// Partitions that nobody reads before this time.
    gone_until: HashMap<(usize, u16), Timestamp>,
    /// What the group of each part has committed last.
    group_offsets: HashMap<(usize, u16), GroupOffset>,
    /// Which parts read a topic, and as which stream.
    readers: BTreeMap<String, Vec<(usize, Stream)>>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    moves: u64,
    pub outside: Box<dyn Outside>,
    pub auditor: Auditor,
    pub steps: u64,
    /// What happened lately, for a failing seed's report.
    pub trace: Option<Vec<String>>,
}

impl World {
    pub fn new(settings: &Settings, leaves: Vec<Arc<dyn Leaf>>, limits: Limits, outside: Box<dyn Outside>) -> Self {
        let left_out = settings.left_out;
        let of_engine = left_out.and_then(LeftOut::of_engine);
        let lapse = left_out.and_then(LeftOut::of_database);
        let mut readers: BTreeMap<String, Vec<(usize, Stream)>> = BTreeMap::new();
        for (part, leaf) in leaves.iter().enumerate() {
            let spec = leaf.spec();
            readers.entry(spec.input.to_owned()).or_default().push((part, Stream::Data));
            readers.entry(spec.control.clone()).or_default().push((part, Stream::Control));
        }
        let mut world = Self {
            now: Timestamp::from_millis(1_800_000_000_000),
            clock_offset_ms: 0,
            rng: Rng::new(settings.seed),
            faults: settings.faults.clone(),
            tally: Tally::default(),
            tables: leaves.iter().map(|_| Tables::new(lapse)).collect(),
            book: Book::default(),
            workers: (0..settings.workers).map(|_| Worker::new(&leaves, &limits, of_engine)).collect(),
            seats: vec![[Seat::default(); PARTITIONS as usize]; leaves.len()],
            gone_until: HashMap::new(),
            group_offsets: HashMap::new(),
            limits,
            left_out,
            leaves,
            readers,
            queue: BinaryHeap::new(),
            scheduled: 0,
            moves: 0,
            outside,
            auditor: Auditor::default(),
            steps: 0,
            trace: settings.trace.then(Vec::new),
        };
        world.assign_all();
        world
    }

    fn assign_all(&mut self) {
        for part in 0..self.leaves.len() {
            for partition in 0..PARTITIONS {
                self.schedule(self.rng.clone().between(0, 50), Happening::Reassign { part, partition });
            }
        }
    }

    fn schedule(&mut self, after_ms: i64, what: Happening) {
        let at = self.now.plus_ms(after_ms.max(0));
        self.schedule_at(at, what);
    }

    fn schedule_at(&mut self, at: Timestamp, what: Happening) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), number: self.scheduled, what }));
    }

    /// The database's time, which is all that engines know of time.
    pub fn database_now(&self) -> Timestamp {
        self.now.plus_ms(self.clock_offset_ms)
    }

    /// Puts a record of an outsider into the book, after a while.
    pub fn publish_after(&mut self, after_ms: i64, topic: String, record: BookRecord) {
        self.schedule(after_ms, Happening::Publish { topic, record });
    }

    /// Lets happen what is next; `false` when nothing is left.
    pub fn step(&mut self) -> bool {
        let Some(Reverse(Scheduled { at, what, .. })) = self.queue.pop() else { return false };
        self.now = at;
        self.steps += 1;
        self.happen(what);
        self.misfortune();
        true
    }

    /// From now on nothing fails, and everybody is brought back.
    pub fn calm(&mut self) {
        self.faults = Faults::none();
        for worker in 0..self.workers.len() {
            let epoch = self.workers[worker].epoch;
            match self.workers[worker].life {
                Life::Running => {}
                Life::Stopped => self.schedule(0, Happening::Resume { worker, epoch }),
                Life::Dead => self.schedule(0, Happening::Restart { worker }),
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Told { worker, epoch, part, event } => self.tell(worker, epoch, part, event),
            Happening::TellFetched { worker, epoch, part } => {
                if self.is_alive(worker, epoch) {
                    let fetched = std::mem::take(&mut self.workers[worker].hosted[part].at_hand);
                    self.tell_all(worker, epoch, part, fetched);
                }
            }
            Happening::Tick { worker, epoch, part } => {
                if self.workers[worker].epoch == epoch && !self.workers[worker].hosted.is_empty() {
                    self.workers[worker].hosted[part].tick_at = None;
                }
                self.tell(worker, epoch, part, Event::Tick);
            }
            Happening::Claim { worker, epoch, part, partition } => self.claim(worker, epoch, part, partition),
            Happening::Load { worker, epoch, part, ticket, load } => self.load(worker, epoch, part, ticket, &load),
            Happening::Commit { worker, epoch, part, ticket, commit, fate } => {
                self.commit(worker, epoch, part, ticket, &commit, fate);
            }
            Happening::Append { sent, fails } => self.append(sent, fails),
            Happening::Fetch { worker, epoch, part, partition, stream } => {
                self.fetch(worker, epoch, part, partition, stream);
            }
            Happening::Ends { worker, epoch, part, partition, token } => {
                let spec = self.leaves[part].spec();
                let data = self.book.end(spec.input, partition);
                let control = self.book.end(&spec.control, partition);
                self.later(worker, epoch, part, Event::Ends { partition, token, data, control });
            }
            Happening::Progress { worker, epoch, part, partition, token, topic, of } => {
                let (end, GroupOffset { next, waits }) = self.progress(topic, of);
                self.later(worker, epoch, part, Event::Progress { partition, token, topic, of, end, next, waits });
            }
            Happening::Perform { worker, epoch, part, token, performance } => {
                self.perform(worker, epoch, part, token, performance);
            }
            Happening::PerformLate { part, performance, sent_at } => self.perform_late(part, &performance, sent_at),
            Happening::AppendAgain { topic, partition, record } => self.put(&topic, partition, record),
            Happening::Publish { topic, record } => self.publish(&topic, record),
            Happening::Reassign { part, partition } => self.reassign(part, partition),
            Happening::RevokeTimeout { part, partition, move_number } => {
                self.revoke_timeout(part, partition, move_number);
            }
            Happening::SessionTimeout { worker, epoch } => self.session_timeout(worker, epoch),
            Happening::StoodDown { worker, epoch, part, partition } => {
                let seat = self.seats[part][usize::from(partition)];
                if seat.owner == Some((worker, epoch)) && seat.moving.is_none() {
                    self.tell_of_group(worker, epoch, part, Event::Assigned { partition });
                }
            }
            Happening::Restart { worker } => {
                if self.workers[worker].life == Life::Dead {
                    let left_out = self.left_out.and_then(LeftOut::of_engine);
                    self.workers[worker].start(&self.leaves, &self.limits, left_out);
                    self.adopt_orphans();
                }
            }
            Happening::Resume { worker, epoch } => self.resume(worker, epoch),
            Happening::TellLost { worker, epoch, part, partition } => {
                if self.seats[part][usize::from(partition)].owner != Some((worker, epoch)) {
                    self.tell(worker, epoch, part, Event::Lost { partition });
                }
            }
        }
    }

    fn is_alive(&self, worker: usize, epoch: u64) -> bool {
        self.workers[worker].epoch == epoch && self.workers[worker].life != Life::Dead
    }

    /// An answer on its way back.
    fn later(&mut self, worker: usize, epoch: u64, part: usize, event: Event) {
        let after_ms = self.rng.between(0, 2);
        self.schedule(after_ms, Happening::Told { worker, epoch, part, event });
    }

    fn tell(&mut self, worker: usize, epoch: u64, part: usize, event: Event) {
        self.tell_all(worker, epoch, part, vec![event]);
    }

    /// What happened to a worker at once.
    fn tell_all(&mut self, worker: usize, epoch: u64, part: usize, events: Vec<Event>) {
        if !self.is_alive(worker, epoch) {
            return;
        }
        if self.workers[worker].life == Life::Stopped {
            let lasting = events.into_iter().filter(|event| !matches!(event, Event::Tick));
            self.workers[worker].mailbox.extend(lasting.map(|event| (part, event)));
            return;
        }
        let now = self.database_now();
        let mut actions = Vec::new();
        let hosted = &mut self.workers[worker].hosted[part];
        hosted.note_answers(&events);
        hosted.engine.on_all(events, now, &mut actions);
        for action in actions {
            self.act(worker, epoch, part, action);
        }
        self.plan_tick(worker, epoch, part);
    }

    fn plan_tick(&mut self, worker: usize, epoch: u64, part: usize) {
        let hosted = &self.workers[worker].hosted[part];
        let Some(wake_at) = hosted.engine.wake_at() else { return };
        let at = wake_at.plus_ms(-self.clock_offset_ms).max(self.now.plus_ms(1));
        if hosted.tick_at.is_none_or(|planned| at < planned) {
            self.workers[worker].hosted[part].tick_at = Some(at);
            self.schedule_at(at, Happening::Tick { worker, epoch, part });
        }
    }

    fn act(&mut self, worker: usize, epoch: u64, part: usize, action: Action) {
        match action {
            Action::Claim { partition } => {
                let after_ms = self.rng.between(0, 5);
                self.schedule(after_ms, Happening::Claim { worker, epoch, part, partition });
            }
            Action::Fetch { partition, token, data, control } => {
                let reading = Some(Reading::at(token, data, control));
                self.workers[worker].hosted[part].reading[usize::from(partition)] = reading;
                self.plan_fetch(worker, part, partition, Stream::Data);
                self.plan_fetch(worker, part, partition, Stream::Control);
            }
            Action::Forget { partition } => {
                self.workers[worker].hosted[part].reading[usize::from(partition)] = None;
            }
            Action::Pause { partition, stream } => self.set_paused(worker, part, partition, stream, true),
            Action::Resume { partition, stream } => self.set_paused(worker, part, partition, stream, false),
            Action::Load { ticket, load } => {
                let after_ms = self.rng.between(0, 3);
                self.schedule(after_ms, Happening::Load { worker, epoch, part, ticket, load });
            }
            Action::Commit { ticket, commit } => {
                self.send_commit(worker, epoch, part, ticket, commit);
            }
            Action::Publish { partition, attempt, messages } => {
                for message in messages {
                    self.send(Sent { worker, epoch, part, shard: partition, attempt, message });
                }
            }
            Action::Witness { partition, next_data, waits, .. } => {
                // The brokers take it from a member alone.
                if self.seats[part][usize::from(partition)].owner == Some((worker, epoch)) {
                    self.group_offsets.insert((part, partition), GroupOffset { next: next_data, waits });
                    self.auditor.told(self.leaves[part].spec(), partition, waits, self.now);
                }
            }
            Action::Perform { token, performance } => {
                let call = (token, performance.intent_id);
                let at_once = self.workers[worker].hosted[part].note_call(call);
                if at_once > 1 {
                    let detail = format!("worker {worker} makes {at_once} calls");
                    self.auditor.blame(self.now, "a provider that is down is called once at a time", detail);
                }
                let after_ms = self.rng.between(0, 5);
                self.schedule(after_ms, Happening::Perform { worker, epoch, part, token, performance });
            }
            Action::AskEnds { partition, token } => {
                let after_ms = self.rng.between(0, 3);
                self.schedule(after_ms, Happening::Ends { worker, epoch, part, partition, token });
            }
            Action::AskProgress { partition, token, topic, of } => {
                let after_ms = self.rng.between(0, 3);
                self.schedule(after_ms, Happening::Progress { worker, epoch, part, partition, token, topic, of });
            }
            Action::Released { partition } => self.released(worker, part, partition),
            Action::StoodDown { partition } => {
                self.schedule(1_000, Happening::StoodDown { worker, epoch, part, partition });
            }
            Action::Alarm(alarm) => self.alarm(worker, part, &alarm),
        }
    }

    fn alarm(&mut self, worker: usize, part: usize, alarm: &Alarm) {
        let name = self.leaves[part].spec().name;
        self.note(|| format!("{name}: {alarm:?}"));
        match alarm {
            Alarm::Gap { .. } => self.tally.count("gap seen"),
            Alarm::Fenced { .. } => self.tally.count("writer fenced"),
            Alarm::ProviderDown { .. } => {
                self.tally.count("breaker opened");
                self.workers[worker].hosted[part].probes = Some(HashSet::new());
            }
            Alarm::ProviderUp { .. } => self.workers[worker].hosted[part].probes = None,
            Alarm::ParticipantLags { .. } => self.tally.count("participant waited for"),
            _ => {}
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let line = line();
            trace.push(format!("{} {line}", self.now.millis() - 1_800_000_000_000));
        }
    }
}
