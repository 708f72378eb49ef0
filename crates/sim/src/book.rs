//! The log: topics of partitions of records, appended to and never changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use daybook_engine::{PARTITIONS, Record, SchemaLookup, Stream};
use daybook_events::{Schemas, StaticSchemas, Timestamp, unframe};

#[derive(Clone, Debug)]
pub struct BookRecord {
    pub time: Timestamp,
    pub key: Option<Bytes>,
    pub header: Option<Bytes>,
    pub value: Option<Bytes>,
}

#[derive(Debug, Default)]
pub struct Book {
    topics: BTreeMap<String, Vec<Vec<BookRecord>>>,
    records: u64,
}

impl Book {
    pub fn append(&mut self, topic: &str, partition: u16, record: BookRecord) {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), vec![Vec::new(); usize::from(PARTITIONS)]);
        }
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions[usize::from(partition % PARTITIONS)].push(record);
            self.records += 1;
        }
    }

    /// Offset of the next record.
    pub fn end(&self, topic: &str, partition: u16) -> i64 {
        let records = self.topics.get(topic).and_then(|partitions| partitions.get(usize::from(partition)));
        records.map_or(0, |records| i64::try_from(records.len()).unwrap_or(i64::MAX))
    }

    /// At most `limit` records from `from` on, as the driver hands them to the engine.
    pub fn read(&self, topic: &str, stream: Stream, partition: u16, from: i64, limit: usize) -> Vec<Record> {
        let records = self.topics.get(topic).and_then(|partitions| partitions.get(usize::from(partition)));
        let start = usize::try_from(from).unwrap_or(0);
        let page = records.and_then(|records| records.get(start..)).unwrap_or_default().iter().take(limit);
        page.enumerate()
            .map(|(place, record)| Record {
                stream,
                partition,
                offset: from + i64::try_from(place).unwrap_or(i64::MAX),
                time: record.time,
                key: record.key.clone(),
                header: record.header.clone(),
                value: record.value.clone(),
                schema: look_up(record.value.as_deref()),
            })
            .collect()
    }

    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    pub fn records(&self) -> u64 {
        self.records
    }
}

fn look_up(value: Option<&[u8]>) -> SchemaLookup {
    match value.map(unframe) {
        Some(Ok((id, _))) => StaticSchemas.writer(id).map_or(SchemaLookup::NoSuchId(id), SchemaLookup::Known),
        _ => SchemaLookup::Unframed,
    }
}
