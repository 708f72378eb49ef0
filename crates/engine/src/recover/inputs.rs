//! The records that were not taken in yet, as far as the restored row knows.

use std::collections::VecDeque;

use hashbrown::HashMap;
use uuid::Uuid;

use super::message_id;
use crate::fold::parked_id;
use crate::{Record, Stream};

#[derive(Debug)]
struct Topic {
    records: VecDeque<Record>,
    offsets: HashMap<Uuid, VecDeque<i64>>,
}

#[derive(Debug)]
pub(super) struct Inputs {
    data: Topic,
    control: Topic,
}

impl Inputs {
    pub(super) fn new(part: &str, data: Vec<Record>, control: Vec<Record>) -> Self {
        Self { data: Topic::of(part, data), control: Topic::of(part, control) }
    }

    fn topic(&self, stream: Stream) -> &Topic {
        match stream {
            Stream::Data => &self.data,
            Stream::Control => &self.control,
        }
    }

    /// Offset of the first record not taken that has this id, or is parked under it.
    pub(super) fn find(&self, stream: Stream, id: Uuid) -> Option<i64> {
        let topic = self.topic(stream);
        let first = topic.records.front()?.offset;
        topic.offsets.get(&id)?.iter().copied().find(|offset| *offset >= first)
    }

    /// Takes the next record, if it is not beyond `offset`.
    pub(super) fn take_to(&mut self, stream: Stream, offset: i64) -> Option<Record> {
        let topic = match stream {
            Stream::Data => &mut self.data,
            Stream::Control => &mut self.control,
        };
        topic.records.pop_front_if(|record| record.offset <= offset)
    }
}

impl Topic {
    fn of(part: &str, records: Vec<Record>) -> Self {
        let mut offsets: HashMap<Uuid, VecDeque<i64>> = HashMap::new();
        for record in &records {
            let parked = parked_id(part, record.partition, record.stream, record.offset);
            for id in message_id(record.header.as_ref()).into_iter().chain([parked]) {
                offsets.entry(id).or_default().push_back(record.offset);
            }
        }
        Self { records: records.into(), offsets }
    }
}
