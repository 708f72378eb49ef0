//! Rows whose time has come.

use super::*;
use crate::waits::{Place, Waiting};

impl Folder<'_> {
    pub(super) fn due(&mut self, partition: &Partition, work: &mut Work, due: &DueRow) {
        let key = raw_key_of(due.row.key);
        if self.batch.poison.is_some() {
            work.due_failed = true;
            return;
        }
        if work.blocked_of(partition, &key).is_some() {
            work.due_skipped = true;
            return;
        }
        if let Some(waiting) = self.waiting(partition, work, due) {
            self.counters.timers_put_off += 1;
            work.waits.push(waiting);
            return;
        }
        let message_id = timer_id(self.leaf.spec().name, due);
        let thread = Thread { correlation_id: message_id, ..Thread::default() };
        let cause = Cause { message_id, thread, outside: None };
        match self.handle(partition, work, &Input::Due { row: due.row }, &cause) {
            Ok(_) => self.counters.timers += 1,
            Err(fault) => {
                work.due_failed = true;
                self.counters.timers_failed += 1;
                self.alarms.push(Alarm::TimerFailed { partition: partition.number, code: fault.code.to_owned() });
            }
        }
    }

    /// Whom the row waits for although its time has come.
    fn waiting(&self, partition: &Partition, work: &Work, due: &DueRow) -> Option<Waiting> {
        // What the book tells has happened, and was waited for then.
        if self.published.is_some() || partition.memory.left_out.has(Mutation::LagIgnored) {
            return None;
        }
        let until = due.due.plus_ms(self.limits.lag_patience_ms);
        if until <= self.now {
            return None;
        }
        let loaded = || self.batch.rows.get(&(partition.number, due.row));
        let row = work.rows.get(&due.row).or_else(loaded)?.as_ref();
        // A row that was changed meanwhile is not due any more: the leaf finds that out.
        let row = row.filter(|row| row.due == Some(due.due))?;
        // What panics here panics in `handle` too.
        let participant = catch_unwind(AssertUnwindSafe(|| self.leaf.awaits(row))).ok().flatten()?;
        let of = key::partition(&key::of(participant.key), u32::from(PARTITIONS));
        let place = Place { topic: participant.topic, partition: u16::try_from(of).ok()? };
        let Memory { waits, timers, .. } = &partition.memory;
        (!waits.has_read(place, due.due, timers.round)).then_some(Waiting { place, due: due.due, until })
    }
}

/// What a timer that fires is known by: the cause of what it leads to. Parts share entities, so two of them may have the
/// same deadline under the same key.
pub(crate) fn timer_id(part: &str, due: &DueRow) -> Uuid {
    let mut name = part.as_bytes().to_vec();
    name.extend(due.row.part.as_bytes());
    name.extend(due.due.micros().to_be_bytes());
    Uuid::new_v5(&due.row.key, &name)
}
