//! Finds what led to the next message of the book, and what must be applied before it.

use std::sync::Arc;

use bytes::Bytes;
use daybook_events::key;
use uuid::Uuid;

use super::counted::Published;
use super::{Pending, Recovery, RecoveryError, message_id};
use crate::batch::{Task, task_of};
use crate::fold::{parked_id, timer_id};
use crate::partition::{Answer, Told};
use crate::understood::Understood;
use crate::{Conclusion, DueAsk, DueRow, Held, Load, RawRecord, RecordedEvent, Stream};

/// An input to be applied again.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) task: Task,
    /// It stands before the one that is looked for, and published nothing that is in the book, or not yet.
    pub(super) is_silent: bool,
}

/// A record that is held.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    key: Bytes,
    message_id: Option<Uuid>,
    parked_id: Uuid,
    raw: RawRecord,
}

impl Recovery {
    pub(super) fn wait(&mut self, held: Held) {
        let Held { number, raw, .. } = held;
        let waiting = Waiting {
            key: raw.key.clone().unwrap_or_default(),
            message_id: message_id(raw.header.as_ref()),
            parked_id: parked_id(self.leaf.spec().name, self.number, raw.stream, raw.offset),
            raw,
        };
        self.waiting.insert(number, waiting);
    }

    /// Plans everything up to and with the input that led to this message.
    pub(super) fn plan(&mut self, first: &Published) -> Result<(), RecoveryError> {
        self.now = first.time;
        let cause = first.cause;
        if let Some(intent_id) = self.concluded(cause) {
            let events = self.recorded(cause);
            self.push(Task::Answer(recorded_answer(intent_id, events)), false);
            return Ok(());
        }
        let is_it = |waiting: &Waiting| waiting.message_id == Some(cause) || waiting.parked_id == cause;
        let held = self.waiting.iter().find(|(_, waiting)| is_it(waiting));
        if let Some((number, waiting)) = held.map(|(number, waiting)| (*number, waiting.clone())) {
            self.open(&waiting.key, number);
            self.push_held(number, waiting, false);
            return Ok(());
        }
        if let Some(offset) = self.inputs.find(Stream::Data, cause) {
            self.plan_data(offset);
            return Ok(());
        }
        if self.inputs.find(Stream::Control, cause).is_some() {
            return self.plan_verbs();
        }
        self.ask_due(None);
        Ok(())
    }

    /// The effect that ends under this id.
    fn concluded(&mut self, cause: Uuid) -> Option<Uuid> {
        self.memory().intents.keys().copied().find(|id| Uuid::new_v5(id, b"concluded") == cause)
    }

    /// What the outcome led to, as it stands in the book: the events, or, should they be missing, the closing reply, which
    /// is one of them.
    fn recorded(&self, cause: Uuid) -> Vec<RecordedEvent> {
        let of_cause = || self.above.iter().filter(|message| message.cause == cause);
        let events: Vec<_> = of_cause().filter(|message| !message.is_reply).collect();
        let told = if events.is_empty() { of_cause().collect() } else { events };
        told.into_iter().filter_map(|message| RecordedEvent::of(&message.understood)).collect()
    }

    fn push(&mut self, task: Task, is_silent: bool) {
        self.planned.push_back(Planned { task, is_silent });
    }

    fn push_held(&mut self, number: u64, waiting: Waiting, is_silent: bool) {
        let understood = Box::new(Understood::kept(&waiting.raw, self.number, &*self.schemas));
        self.push(Task::Held { number, key: waiting.key, understood }, is_silent);
    }

    /// A message of this key was applied, so by then its effect had ended, without a message, and whatever was held
    /// before had been released.
    fn open(&mut self, key: &Bytes, before: u64) {
        if let Some(intent_id) = self.memory().blocked.get(key).and_then(|blocked| blocked.busy) {
            self.push(Task::Answer(recorded_answer(intent_id, Vec::new())), true);
        }
        let earlier = self.waiting.range(..before).filter(|(_, waiting)| waiting.key == *key);
        let earlier: Vec<_> = earlier.map(|(number, waiting)| (*number, waiting.clone())).collect();
        for (number, waiting) in earlier {
            self.push_held(number, waiting, true);
        }
    }

    fn plan_data(&mut self, offset: i64) {
        while let Some(record) = self.inputs.take_to(Stream::Data, offset) {
            let understood = Box::new(Understood::new(Arc::new(record)));
            if understood.record.offset == offset {
                if let Some(key) = understood.raw_key() {
                    self.open(&key, u64::MAX);
                }
                self.push(Task::Record(understood), false);
            } else if self.is_applied_later(&understood) {
                self.push(Task::SetAside(understood), true);
            } else {
                self.push(Task::Record(understood), true);
            }
        }
    }

    /// It waited then, though nothing that is known keeps it waiting now.
    fn is_applied_later(&mut self, understood: &Understood) -> bool {
        let id = understood.header.as_ref().map(|header| header.message_id);
        let is_awaited = id.and_then(|id| self.causes.get(&id)).is_some_and(|count| *count > 0);
        let key = understood.raw_key();
        is_awaited && key.is_some_and(|key| !self.memory().blocked.contains_key(&key))
    }

    fn plan_control(&mut self, offset: i64) {
        while let Some(record) = self.inputs.take_to(Stream::Control, offset) {
            let id = message_id(record.header.as_ref());
            let is_silent = id.and_then(|id| self.causes.get(&id)).is_none_or(|count| *count == 0);
            self.push(task_of(&Arc::new(record)), is_silent);
        }
    }

    fn ask_due(&mut self, after: Option<&DueRow>) {
        let after = after.map(|due| (due.due, due.row));
        let ask = DueAsk { partition: self.number, until: self.now, after, limit: self.limits.page };
        self.pending = Some(Pending::Due(Load { due: vec![ask], ..Load::default() }));
    }

    pub(super) fn due_loaded(&mut self, load: &Load, due: Vec<DueRow>) -> Result<(), RecoveryError> {
        let cause = self.above.front().map(|first| first.cause);
        let part = self.leaf.spec().name;
        if let Some(due) = due.iter().find(|due| Some(timer_id(part, due)) == cause) {
            self.open(&Bytes::copy_from_slice(&key::of(due.row.key)), u64::MAX);
            self.push(Task::Due(due.clone()), false);
            return Ok(());
        }
        let is_full = load.due.iter().any(|ask| due.len() >= ask.limit as usize);
        if let Some(last) = due.last().filter(|_| is_full) {
            self.ask_due(Some(last));
            return Ok(());
        }
        self.plan_verbs()
    }

    /// All control records of the batch at once, as then: verbs of one batch see what was parked before it. One applies or
    /// discards a record, and tells of itself last.
    fn plan_verbs(&mut self) -> Result<(), RecoveryError> {
        let of_batch = self.above.iter().take_while(|message| message.time == self.now);
        let last = of_batch.filter_map(|message| self.inputs.find(Stream::Control, message.cause)).max();
        match last {
            Some(offset) => {
                self.plan_control(offset);
                Ok(())
            }
            None => Err(self.cause_unknown()),
        }
    }
}

fn recorded_answer(intent_id: Uuid, events: Vec<RecordedEvent>) -> Answer {
    Answer { intent_id, what: Told::Conclusion(Conclusion::Recorded(events)) }
}
