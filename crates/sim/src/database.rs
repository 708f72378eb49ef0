//! What Postgres is to a part, as far as the engine can tell: claims raise the version, a commit compares
//! versions and takes effect whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use daybook_engine::{
    Applied, BlockedKey, Claimed, Commit, CommitError, DueRow, Held, HistoryRow, Intent, IntentStatus, Load, Loaded,
    OutboxRow, PARTITIONS, Parked, Row, RowKey,
};
use daybook_events::Timestamp;
use uuid::Uuid;

/// A rule of the database's side that is left out, to see whether the auditor misses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lapse {
    VersionNotCompared,
    /// Only commits that take in records raise the version; claims don't.
    VersionRaisedByRecordsOnly,
    /// Offsets are stored by themselves, before the batch.
    OffsetsBeforeBatch,
    AppliedForgotten,
}

/// The tables of one part.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    lapse: Option<Lapse>,
    partitions: BTreeMap<u16, PartitionRow>,
    state: BTreeMap<RowKey, (u16, Row)>,
    due: BTreeSet<(u16, Timestamp, RowKey)>,
    outbox: BTreeMap<(u16, u64), OutboxRow>,
    pub intents: BTreeMap<Uuid, Intent>,
    held: BTreeMap<(u16, u64), Held>,
    pub parked: BTreeMap<Uuid, Parked>,
    applied: BTreeMap<Uuid, Applied>,
    pub history: Vec<HistoryRow>,
}

#[derive(Clone, Debug, Default)]
struct PartitionRow {
    version: i64,
    next_data: i64,
    next_control: i64,
    out_seq: u64,
    published_seq: u64,
    held_next: u64,
    marks: Bytes,
    last_numbers: Bytes,
}

impl Tables {
    pub fn new(lapse: Option<Lapse>) -> Self {
        let partitions = (0..PARTITIONS).map(|number| (number, PartitionRow::default())).collect();
        Self { lapse, partitions, ..Self::default() }
    }

    pub fn claim(&mut self, number: u16) -> Option<Claimed> {
        let row = self.partitions.get_mut(&number)?;
        if self.lapse != Some(Lapse::VersionRaisedByRecordsOnly) {
            row.version += 1;
        }
        let row = row.clone();
        Some(Claimed {
            partition: number,
            version: row.version,
            next_data: row.next_data,
            next_control: row.next_control,
            incarnation: 1,
            out_seq: row.out_seq,
            published_seq: row.published_seq,
            last_numbers: row.last_numbers,
            marks: row.marks,
            accepts_first: false,
            held_next: row.held_next,
            outbox: self
                .outbox
                .range((number, row.published_seq + 1)..(number + 1, 0))
                .map(|(_, r)| r.clone())
                .collect(),
            intents: self.intents.values().filter(|intent| intent.partition == number).cloned().collect(),
            blocked: self.blocked(number),
            next_due: self.due_of(number).next().map(|(at, _)| at),
        })
    }

    /// Due rows of a partition in the order of their times.
    fn due_of(&self, number: u16) -> impl Iterator<Item = (Timestamp, RowKey)> + '_ {
        let first = (number, Timestamp(i64::MIN), RowKey::entity(Uuid::nil()));
        self.due.range(first..).take_while(move |(partition, ..)| *partition == number).map(|(_, at, key)| (*at, *key))
    }

    fn held_of(&self, number: u16) -> impl Iterator<Item = &Held> + '_ {
        self.held.range((number, 0)..=(number, u64::MAX)).map(|(_, held)| held)
    }

    /// Every row, with its partition.
    pub fn state(&self) -> &BTreeMap<RowKey, (u16, Row)> {
        &self.state
    }

    /// Every row that asks to be woken, and when.
    pub fn waiting(&self) -> impl Iterator<Item = (Timestamp, RowKey)> + '_ {
        self.due.iter().map(|(_, at, key)| (*at, *key))
    }

    /// Effects of which nobody but a person can tell what came of them.
    pub fn needing_attention(&self) -> impl Iterator<Item = &Intent> + '_ {
        self.intents.values().filter(|intent| intent.status == IntentStatus::NeedsAttention)
    }

    fn blocked(&self, number: u16) -> Vec<BlockedKey> {
        let mut blocked: BTreeMap<Bytes, BlockedKey> = BTreeMap::new();
        for held in self.held_of(number) {
            let Some(key) = held.raw.key.clone() else { continue };
            let new = BlockedKey { key: key.clone(), held: 0, parked: None };
            blocked.entry(key).or_insert(new).held += 1;
        }
        for parked in self.parked.values().filter(|parked| parked.partition == number && parked.blocks) {
            let Some(key) = parked.raw.key.clone() else { continue };
            let new = BlockedKey { key: key.clone(), held: 0, parked: None };
            blocked.entry(key).or_insert(new).parked = Some(parked.id);
        }
        blocked.into_values().collect()
    }

    pub fn load(&self, load: &Load) -> Loaded {
        let mut loaded = Loaded::default();
        for (_, key) in &load.rows {
            if let Some((_, row)) = self.state.get(key) {
                loaded.rows.push((*key, row.clone()));
            }
        }
        loaded.applied = load.applied.iter().filter_map(|id| self.applied.get(id).cloned()).collect();
        loaded.parked = load.parked.iter().filter_map(|id| self.parked.get(id).cloned()).collect();
        for ask in &load.held {
            let of_key = self.held_of(ask.partition).filter(|held| held.raw.key.as_ref() == Some(&ask.key));
            loaded.held.extend(of_key.take(ask.limit as usize).cloned());
        }
        for ask in &load.due {
            let next = self.due_of(ask.partition).find(|(at, _)| *at > ask.until).map(|(at, _)| at);
            loaded.next_due.push((ask.partition, next));
            let until = self.due_of(ask.partition).take_while(|(at, _)| *at <= ask.until);
            let page = until.filter(|entry| ask.after.is_none_or(|after| *entry > after));
            let rows = page.take(ask.limit as usize).map(|(due, row)| DueRow { partition: ask.partition, due, row });
            loaded.due.extend(rows);
        }
        loaded
    }

    /// # Errors
    /// `Fenced` when a version differs, `Data` when a text holds a NUL, which Postgres does not store; nothing is
    /// written then.
    pub fn commit(&mut self, commit: &Commit) -> Result<(), CommitError> {
        let fenced = commit.partitions.iter().filter(|of_commit| {
            self.partitions.get(&of_commit.partition).is_none_or(|row| row.version != of_commit.version)
                && self.lapse != Some(Lapse::VersionNotCompared)
        });
        let fenced: Vec<u16> = fenced.map(|of_commit| of_commit.partition).collect();
        if !fenced.is_empty() {
            return Err(CommitError::Fenced(fenced));
        }
        if commit.tables.iter().flat_map(|table| &table.upserts).any(has_nul) {
            return Err(CommitError::Data { sqlstate: "22P05".to_owned() });
        }
        self.write(commit);
        Ok(())
    }

    /// Where offsets are stored by themselves, they stay when the batch is lost.
    pub fn store_offsets_alone(&mut self, commit: &Commit) {
        if self.lapse != Some(Lapse::OffsetsBeforeBatch) {
            return;
        }
        for of_commit in &commit.partitions {
            if let Some(row) = self.partitions.get_mut(&of_commit.partition)
                && row.version == of_commit.version
            {
                row.next_data = of_commit.next_data;
                row.next_control = of_commit.next_control;
            }
        }
    }

    /// Whether a commit moves neither of its partitions' offsets: timers, outcomes, progress of publishing.
    pub fn takes_no_records(&self, commit: &Commit) -> bool {
        commit
            .partitions
            .iter()
            .all(|of_commit| self.next_offsets(of_commit.partition) == (of_commit.next_data, of_commit.next_control))
    }

    fn write(&mut self, commit: &Commit) {
        for of_commit in &commit.partitions {
            let row = self.partitions.entry(of_commit.partition).or_default();
            let takes_records = (row.next_data, row.next_control) != (of_commit.next_data, of_commit.next_control);
            if takes_records || self.lapse != Some(Lapse::VersionRaisedByRecordsOnly) {
                row.version += 1;
            }
            row.next_data = of_commit.next_data;
            row.next_control = of_commit.next_control;
            row.out_seq = of_commit.out_seq;
            row.published_seq = row.published_seq.max(of_commit.published_seq);
            row.held_next = of_commit.held_next;
            row.marks = of_commit.marks.clone().unwrap_or_else(|| row.marks.clone());
            row.last_numbers = of_commit.last_numbers.clone().unwrap_or_else(|| row.last_numbers.clone());
        }
        for row in &commit.rows {
            let old = match &row.row {
                Some(new) => self.state.insert(row.key, (row.partition, new.clone())),
                None => self.state.remove(&row.key),
            };
            if let Some((partition, at)) = old.and_then(|(partition, old)| Some((partition, old.due?))) {
                self.due.remove(&(partition, at, row.key));
            }
            if let Some(at) = row.row.as_ref().and_then(|new| new.due) {
                self.due.insert((row.partition, at, row.key));
            }
        }
        self.outbox.extend(commit.outbox.iter().map(|row| ((row.partition, row.last_seq), row.clone())));
        self.intents.extend(commit.intents_put.iter().map(|intent| (intent.id, intent.clone())));
        commit.intents_gone.iter().for_each(|id| {
            self.intents.remove(id);
        });
        self.held.extend(commit.held_put.iter().map(|held| ((held.partition, held.number), held.clone())));
        commit.held_gone.iter().for_each(|place| {
            self.held.remove(place);
        });
        commit.parked_gone.iter().for_each(|id| {
            self.parked.remove(id);
        });
        self.parked.extend(commit.parked_put.iter().map(|parked| (parked.id, parked.clone())));
        if self.lapse != Some(Lapse::AppliedForgotten) {
            self.applied.extend(commit.applied_put.iter().map(|applied| (applied.id, applied.clone())));
        }
        self.history.extend(commit.history.iter().cloned());
        self.trim(commit);
    }

    /// Outbox rows that are published are not read again.
    fn trim(&mut self, commit: &Commit) {
        for of_commit in &commit.partitions {
            let published = self.partitions.get(&of_commit.partition).map_or(0, |row| row.published_seq);
            let number = of_commit.partition;
            let done: Vec<_> = self.outbox.range((number, 0)..=(number, published)).map(|(place, _)| *place).collect();
            for place in done {
                self.outbox.remove(&place);
            }
        }
    }

    /// Parts whose outbox is not published to the end.
    pub fn is_published(&self) -> bool {
        self.partitions.values().all(|row| row.published_seq == row.out_seq)
    }

    pub fn next_offsets(&self, number: u16) -> (i64, i64) {
        self.partitions.get(&number).map_or((0, 0), |row| (row.next_data, row.next_control))
    }
}

fn has_nul(columns: &serde_json::Map<String, serde_json::Value>) -> bool {
    columns.values().any(|value| value.as_str().is_some_and(|text| text.contains('\0')))
}
