//! What a batch makes of one partition, before it is committed.

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;

use super::*;
use crate::waits::Waiting;

/// Rows in the order in which they were first written: they are taken over as they come, and a seed has to replay.
pub(crate) type WrittenRows = IndexMap<RowKey, Option<Row>, DefaultHashBuilder>;

/// What the batch makes of one partition; the engine takes it over after the commit.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) number: u16,
    pub(crate) version: i64,
    pub(crate) next_data: i64,
    pub(crate) next_control: i64,
    pub(crate) out_seq: u64,
    pub(crate) published: u64,
    pub(crate) held_next: u64,
    pub(crate) held: u64,
    pub(crate) marks: Option<Marks>,
    pub(crate) last_numbers: Option<LastNumbers>,
    /// Keys whose state of being blocked changed. Ordered, for the same reason as the rows.
    pub(crate) blocked: BTreeMap<Bytes, Blocked>,
    pub(crate) rows: WrittenRows,
    pub(crate) messages: Vec<Arc<Outgoing>>,
    pub(crate) intents_new: Vec<Intent>,
    pub(crate) intents_attention: Vec<Intent>,
    pub(crate) intents_gone: Vec<Uuid>,
    /// Inputs taken from the queues: answers, released, control, due, data.
    pub(crate) taken: Taken,
    /// A due row was passed over because its key is blocked, or could not be fired.
    pub(crate) due_skipped: bool,
    pub(crate) due_failed: bool,
    /// Due rows that were passed over because a participant has not read what it was sent.
    pub(crate) waits: Vec<Waiting>,
    pub(super) incarnation: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) answers: usize,
    pub(crate) released: usize,
    pub(crate) control: usize,
    pub(crate) due: usize,
    pub(crate) data: usize,
}

impl Work {
    pub(super) fn new(number: u16, memory: &Memory) -> Self {
        Self {
            number,
            version: memory.version,
            next_data: memory.next_data,
            next_control: memory.next_control,
            out_seq: memory.out_seq,
            published: memory.publisher.published(),
            held_next: memory.held_next,
            held: memory.held,
            marks: None,
            last_numbers: None,
            blocked: BTreeMap::new(),
            rows: WrittenRows::default(),
            messages: Vec::new(),
            intents_new: Vec::new(),
            intents_attention: Vec::new(),
            intents_gone: Vec::new(),
            taken: Taken::default(),
            due_skipped: false,
            due_failed: false,
            waits: Vec::new(),
            incarnation: memory.incarnation,
        }
    }

    pub(super) fn commit(&self) -> PartitionCommit {
        PartitionCommit {
            partition: self.number,
            version: self.version,
            next_data: self.next_data,
            next_control: self.next_control,
            out_seq: self.out_seq,
            published_seq: self.published,
            held_next: self.held_next,
            marks: self.marks.as_ref().map(Marks::encode),
            last_numbers: self.last_numbers.as_ref().map(LastNumbers::encode),
        }
    }

    /// Why the key's records wait, at this point of the batch; `None` if they don't.
    pub(super) fn blocked_of(&self, partition: &Partition, key: &Bytes) -> Option<Blocked> {
        let blocked = self.blocked.get(key).or_else(|| partition.memory.blocked.get(key)).copied();
        blocked.filter(|blocked| !blocked.is_free())
    }

    pub(super) fn change_blocked(&mut self, partition: &Partition, key: &Bytes, change: impl FnOnce(&mut Blocked)) {
        let mut blocked = self.blocked_of(partition, key).unwrap_or_default();
        change(&mut blocked);
        self.blocked.insert(key.clone(), blocked);
    }
}

/// What was put and taken away within one batch was never there; what was put twice is as it was put last.
pub(super) fn settle(commit: &mut Commit) {
    let Commit { held_put, held_gone, parked_put, parked_gone, intents_put, intents_gone, .. } = commit;
    held_put.retain(|held| !held_gone.contains(&(held.partition, held.number)));
    let mut latest = HashMap::new();
    for (place, parked) in parked_put.iter().enumerate() {
        latest.insert(parked.id, place);
    }
    let mut place = 0;
    parked_put.retain(|parked| {
        place += 1;
        latest[&parked.id] == place - 1 && !parked_gone.contains(&parked.id)
    });
    intents_put.retain(|intent| !intents_gone.contains(&intent.id));
}
