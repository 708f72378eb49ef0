//! What is fetched: one lane per partition and stream.

use std::collections::VecDeque;

use daybook_engine::{Record, SchemaLookup, Stream};
use hashbrown::HashMap;

/// The records of one partition of one of the part's two topics.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Of the fetch that put it here.
    pub token: u64,
    /// The engine has no room.
    pub paused: bool,
    /// Records that wait, in order, for the schema of the first one. No further ones are fetched meanwhile, so there
    /// are at most those of one drain.
    pub waiting: VecDeque<Record>,
}

impl Lane {
    pub fn new(token: u64) -> Self {
        Self { token, paused: false, waiting: VecDeque::new() }
    }

    /// Whether records may be fetched.
    pub fn flows(&self) -> bool {
        !self.paused && self.waiting.is_empty()
    }

    /// The id that the first waiting record needs.
    pub fn wants(&self) -> Option<u32> {
        match self.waiting.front()?.schema {
            SchemaLookup::NoSuchId(id) => Some(id),
            SchemaLookup::Known(_) | SchemaLookup::Unframed => None,
        }
    }
}

/// Records of one lane, to be handed over together.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub partition: u16,
    pub stream: Stream,
    pub token: u64,
    pub records: Vec<Record>,
}

/// Sorts records into chunks, keeping the order within each lane.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    chunks: Vec<Chunk>,
    places: HashMap<(u16, Stream), usize>,
}

impl Chunks {
    pub fn push(&mut self, token: u64, record: Record) {
        let place = *self.places.entry((record.partition, record.stream)).or_insert_with(|| {
            let (partition, stream) = (record.partition, record.stream);
            self.chunks.push(Chunk { partition, stream, token, records: Vec::new() });
            self.chunks.len() - 1
        });
        self.chunks[place].records.push(record);
    }

    pub fn into_vec(self) -> Vec<Chunk> {
        self.chunks
    }
}
