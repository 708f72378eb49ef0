//! What Postgres is to a part, as far as the engine can tell: claims raise the version, a commit compares
//! versions and takes effect whole or not at all.

use std::collections::BTreeMap;

use bytes::Bytes;
use daybook_engine::{
    Applied, BlockedKey, Claimed, Commit, CommitError, DueRow, Held, HistoryRow, Intent, Load, Loaded, OutboxRow,
    PARTITIONS, Parked, Row, RowKey,
};
use daybook_events::key;
use uuid::Uuid;

/// The tables of one part.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    partitions: BTreeMap<u16, PartitionRow>,
    pub state: BTreeMap<RowKey, (u16, Row)>,
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
    pub fn new() -> Self {
        let partitions = (0..PARTITIONS).map(|number| (number, PartitionRow::default())).collect();
        Self { partitions, ..Self::default() }
    }

    pub fn claim(&mut self, number: u16) -> Option<Claimed> {
        let row = self.partitions.get_mut(&number)?;
        row.version += 1;
        let row = row.clone();
        let due = self.state.values().filter(|(partition, _)| *partition == number);
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
            next_due: due.filter_map(|(_, row)| row.due).min(),
        })
    }

    fn blocked(&self, number: u16) -> Vec<BlockedKey> {
        let mut blocked: BTreeMap<Bytes, BlockedKey> = BTreeMap::new();
        for held in self.held.values().filter(|held| held.partition == number) {
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
            let of_key = self
                .held
                .values()
                .filter(|held| held.partition == ask.partition && held.raw.key.as_ref() == Some(&ask.key));
            loaded.held.extend(of_key.take(ask.limit as usize).cloned());
        }
        for ask in &load.due {
            let of_partition = self.state.iter().filter(|(_, (partition, _))| *partition == ask.partition);
            let mut due: Vec<_> = of_partition.filter_map(|(key, (_, row))| Some((row.due?, *key))).collect();
            due.sort_unstable();
            let next = due.iter().find(|(at, _)| *at > ask.until).map(|(at, _)| *at);
            loaded.next_due.push((ask.partition, next));
            let page =
                due.into_iter().filter(|entry| entry.0 <= ask.until && ask.after.is_none_or(|after| *entry > after));
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

    fn write(&mut self, commit: &Commit) {
        for of_commit in &commit.partitions {
            let row = self.partitions.entry(of_commit.partition).or_default();
            row.version += 1;
            row.next_data = of_commit.next_data;
            row.next_control = of_commit.next_control;
            row.out_seq = of_commit.out_seq;
            row.published_seq = row.published_seq.max(of_commit.published_seq);
            row.held_next = of_commit.held_next;
            row.marks = of_commit.marks.clone().unwrap_or_else(|| row.marks.clone());
            row.last_numbers = of_commit.last_numbers.clone().unwrap_or_else(|| row.last_numbers.clone());
        }
        for row in &commit.rows {
            match &row.row {
                Some(new) => self.state.insert(row.key, (row.partition, new.clone())),
                None => self.state.remove(&row.key),
            };
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
        self.applied.extend(commit.applied_put.iter().map(|applied| (applied.id, applied.clone())));
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

    pub fn held_keys(&self) -> usize {
        self.held.len()
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

/// The partition that an entity's records are in.
pub fn partition_of(entity: Uuid) -> u16 {
    let partition = key::partition(&key::of(entity), u32::from(PARTITIONS));
    u16::try_from(partition).unwrap_or(0)
}
