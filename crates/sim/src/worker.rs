//! A simulated process: the engines of all parts, which die and stop together.

use std::sync::Arc;

use daybook_engine::{Engine, Event, Leaf, Limits, Mutation, PARTITIONS, Stream};
use daybook_events::{StaticSchemas, Timestamp};
use hashbrown::{HashMap, HashSet};
use uuid::Uuid;

/// Where a running engine reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) token: u64,
    pub(crate) next: [i64; 2],
    pub(crate) paused: [bool; 2],
    /// A fetch is on its way.
    pub(crate) fetching: [bool; 2],
}

impl Reading {
    pub(crate) fn at(token: u64, data: i64, control: i64) -> Self {
        Self { token, next: [data, control], paused: [false; 2], fetching: [false; 2] }
    }
}

pub(crate) fn index(stream: Stream) -> usize {
    match stream {
        Stream::Data => 0,
        Stream::Control => 1,
    }
}

pub(crate) struct Hosted {
    pub(crate) engine: Engine,
    pub(crate) reading: [Option<Reading>; PARTITIONS as usize],
    /// Fetched and not told yet: what is here at one time is told in one go.
    pub(crate) at_hand: Vec<Event>,
    /// The earliest tick that is on its way.
    pub(crate) tick_at: Option<Timestamp>,
    /// While the provider is down: the calls under way that began since.
    pub(crate) probes: Option<HashSet<(u64, Uuid)>>,
}

impl Hosted {
    fn new(leaf: &Arc<dyn Leaf>, limits: &Limits, left_out: Option<Mutation>) -> Self {
        let mut engine = Engine::new(Arc::clone(leaf), Arc::new(StaticSchemas), limits.clone());
        if let Some(rule) = left_out {
            engine = engine.without(rule);
        }
        Self { engine, reading: [None; PARTITIONS as usize], at_hand: Vec::new(), tick_at: None, probes: None }
    }

    /// A call begins. Answers how many are under way that began since the provider is down; 0: it is not.
    pub(crate) fn note_call(&mut self, call: (u64, Uuid)) -> usize {
        self.probes.as_mut().map_or(0, |probes| {
            probes.insert(call);
            probes.len()
        })
    }

    /// Calls end.
    pub(crate) fn note_answers(&mut self, events: &[Event]) {
        for event in events {
            if let (Event::Performed { token, intent_id, .. }, Some(probes)) = (event, &mut self.probes) {
                probes.remove(&(*token, *intent_id));
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// SIGSTOP: what is for it waits.
    Stopped,
    Dead,
}

pub(crate) struct Worker {
    /// Rises with every start: what was meant for an earlier life is dropped.
    pub(crate) epoch: u64,
    pub(crate) life: Life,
    pub(crate) hosted: Vec<Hosted>,
    /// What happened while it was stopped.
    pub(crate) mailbox: Vec<(usize, Event)>,
    /// When the last message to an output partition arrives: the next one arrives after it.
    pub(crate) last_append: HashMap<(Arc<str>, u16), Timestamp>,
    /// When the group's last word to each part arrives.
    pub(crate) told_last: HashMap<usize, Timestamp>,
    /// Commits that it has sent and that have not reached the database.
    pub(crate) commits_under_way: usize,
}

impl Worker {
    pub(crate) fn new(leaves: &[Arc<dyn Leaf>], limits: &Limits, left_out: Option<Mutation>) -> Self {
        Self {
            epoch: 0,
            life: Life::Running,
            hosted: leaves.iter().map(|leaf| Hosted::new(leaf, limits, left_out)).collect(),
            mailbox: Vec::new(),
            last_append: HashMap::new(),
            told_last: HashMap::new(),
            commits_under_way: 0,
        }
    }

    pub(crate) fn die(&mut self) {
        self.life = Life::Dead;
        self.epoch += 1;
        self.hosted.clear();
        self.mailbox.clear();
        self.last_append.clear();
        self.told_last.clear();
        self.commits_under_way = 0;
    }

    pub(crate) fn start(&mut self, leaves: &[Arc<dyn Leaf>], limits: &Limits, left_out: Option<Mutation>) {
        self.life = Life::Running;
        self.hosted = leaves.iter().map(|leaf| Hosted::new(leaf, limits, left_out)).collect();
    }
}
