//! Rows whose time has come.

use super::*;

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
}

/// What a timer that fires is known by: the cause of what it leads to. Parts share entities, so two of them may have the
/// same deadline under the same key.
pub(crate) fn timer_id(part: &str, due: &DueRow) -> Uuid {
    let mut name = part.as_bytes().to_vec();
    name.extend(due.row.part.as_bytes());
    name.extend(due.due.micros().to_be_bytes());
    Uuid::new_v5(&due.row.key, &name)
}
