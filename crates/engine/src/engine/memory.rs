//! How a partition's memory takes over what was loaded and committed.

use super::*;
use crate::waits::Waiting;

impl Memory {
    pub(super) fn gather(&mut self, number: u16, limits: &Limits, load: &mut Load) {
        if self.released.is_empty() {
            let room = DRAINED_AT_ONCE.saturating_sub(load.held.len()).min(self.draining.len());
            let keys = self.draining.drain(..room);
            load.held.extend(keys.map(|key| HeldAsk { partition: number, key, limit: limits.page }));
        }
        let (data, control) = (self.next_data, self.next_control);
        if let Stage::Barrier { until, data: data_end, control: control_end } = self.timers.stage
            && data >= data_end
            && control >= control_end
        {
            self.timers.next_due = None;
            self.timers.stage = Stage::Firing { until, after: None, last_page: false };
        }
        if let Stage::Firing { until, after, last_page: false } = self.timers.stage
            && self.due.is_empty()
        {
            load.due.push(DueAsk { partition: number, until, after, limit: limits.page });
        }
    }

    pub(super) fn due_loaded(&mut self, found: Vec<DueRow>, next_due: Option<Timestamp>, page: u32) {
        let Stage::Firing { until, after, .. } = self.timers.stage else {
            return;
        };
        let last_page = found.len() < page as usize;
        let after = found.last().map(|due| (due.due, due.row)).or(after);
        if let Some(next_due) = next_due {
            self.timers.note(next_due);
        }
        self.timers.stage =
            if last_page && found.is_empty() { Stage::Idle } else { Stage::Firing { until, after, last_page } };
        self.due.extend(found);
    }

    /// Answers the messages to publish.
    pub(crate) fn absorb(&mut self, work: Work, acts: bool, now: Timestamp) -> Vec<Arc<Outgoing>> {
        let takes_records = (work.next_data, work.next_control) != (self.next_data, self.next_control);
        if takes_records || !self.left_out.has(Mutation::VersionRaisedByRecordsOnly) {
            self.version += 1;
        }
        self.next_data = work.next_data;
        self.next_control = work.next_control;
        self.out_seq = work.out_seq;
        self.held_next = work.held_next;
        self.held = work.held;
        self.publisher.note_stored(work.published);
        if let Some(marks) = work.marks {
            self.marks = marks;
        }
        if let Some(last_numbers) = work.last_numbers {
            self.last_numbers = last_numbers;
        }
        self.absorb_taken(work.taken);
        self.timers.skipped |= work.due_skipped;
        if work.due_failed {
            self.timers.note(now.plus_ms(FAILED_TIMER_MS));
        }
        for Waiting { place, due, until } in work.waits {
            if self.waits.wait(place, due, now, self.out_seq) {
                self.timers.note(now);
            }
            self.timers.note(until);
        }
        for (key, row) in work.rows {
            if let Some(due) = row.as_ref().and_then(|row| row.due) {
                self.timers.note(due);
            }
            self.cache.put(key, row);
        }
        for intent_id in work.intents_gone {
            self.close(intent_id);
        }
        for intent in work.intents_attention {
            let id = intent.id;
            if let Some(open) = self.intents.get_mut(&id) {
                open.intent = intent;
                open.run = Run::Attention;
            }
        }
        if acts {
            for intent in work.intents_new {
                self.open(OpenIntent::fresh(intent, now));
            }
        }
        for (key, blocked) in work.blocked {
            self.absorb_blocked(key, blocked, now);
        }
        work.messages
    }

    pub(super) fn absorb_taken(&mut self, taken: Taken) {
        self.answers.drain(..taken.answers.min(self.answers.len()));
        self.released.drain(..taken.released.min(self.released.len()));
        (0..taken.control).for_each(|_| self.control.pop());
        (0..taken.data).for_each(|_| self.data.pop());
        self.due.drain(..taken.due.min(self.due.len()));
        if self.due.is_empty()
            && let Stage::Firing { last_page: true, .. } = self.timers.stage
        {
            self.timers.stage = Stage::Idle;
        }
    }

    /// A key that opens has its held records loaded, and its timers asked again.
    pub(super) fn absorb_blocked(&mut self, key: bytes::Bytes, blocked: Blocked, now: Timestamp) {
        if blocked.is_free() {
            self.blocked.remove(&key);
            if std::mem::take(&mut self.timers.skipped) {
                self.timers.note(now);
            }
            return;
        }
        self.blocked.insert(key.clone(), blocked);
        let loaded = self.released.iter().any(|held| held.raw.key.as_ref() == Some(&key));
        if blocked.is_open() && !loaded && !self.draining.contains(&key) {
            self.draining.push_back(key);
        }
    }
}
