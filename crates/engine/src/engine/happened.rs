//! What happens to partitions outside of batches: assignment, records, deliveries, answers.

use super::*;
use crate::outbox::Publisher;
use crate::waits::Learned;

impl Engine {
    pub(super) fn assigned(&mut self, number: u16, actions: &mut Vec<Action>) {
        self.partitions.insert(number, Partition::claiming(number));
        actions.push(Action::Claim { partition: number });
    }

    pub(super) fn revoked(&mut self, number: u16, actions: &mut Vec<Action>) {
        let Some(partition) = self.partitions.get_mut(&number) else {
            actions.push(Action::Released { partition: number });
            return;
        };
        actions.push(Action::Forget { partition: number });
        match partition.phase {
            Phase::Live => partition.phase = Phase::Leaving,
            Phase::Leaving => {}
            Phase::Claiming { .. } | Phase::Halted => {
                self.partitions.remove(&number);
                actions.push(Action::Released { partition: number });
            }
        }
    }

    pub(super) fn lost(&mut self, number: u16, actions: &mut Vec<Action>) {
        if let Some(mut partition) = self.partitions.remove(&number) {
            self.lose_cache(&mut partition);
            actions.push(Action::Forget { partition: number });
        }
    }

    pub(super) fn claimed(&mut self, claimed: Claimed, now: Timestamp, actions: &mut Vec<Action>) {
        let number = claimed.partition;
        let (token, attempt) = (self.next_number(), self.next_number());
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        if !matches!(partition.phase, Phase::Claiming { .. }) {
            return;
        }
        let policy = self.leaf.spec().effects.as_ref();
        match Memory::claimed(claimed, attempt, &self.limits, policy, now) {
            Ok((mut memory, mut unpublished)) => {
                memory.left_out = self.left_out;
                if let Some(kept) = self.kept_caches.remove(&number) {
                    memory.cache = kept;
                }
                if self.left_out.has(Mutation::NoRepublish) {
                    memory.publisher = Publisher::new(attempt, memory.out_seq);
                    unpublished.clear();
                }
                let (data, control) = (memory.next_data, memory.next_control);
                *partition = Partition { phase: Phase::Live, token, memory, ..Partition::claiming(number) };
                if !unpublished.is_empty() {
                    self.counters.republished += unpublished.len() as u64;
                    actions.push(Action::Publish { partition: number, attempt, messages: unpublished });
                }
                actions.extend(partition.witness());
                actions.push(Action::Fetch { partition: number, token, data, control });
            }
            Err(_) => {
                partition.phase = Phase::Halted;
                actions.push(Action::Alarm(Alarm::Corrupt { partition: number }));
            }
        }
    }

    pub(super) fn claim_failed(&mut self, number: u16, now: Timestamp) {
        let (min, max) = (self.limits.retry_min_ms, self.limits.retry_max_ms);
        if let Some(partition) = self.partitions.get_mut(&number)
            && let Phase::Claiming { retry_at, attempts } = &mut partition.phase
        {
            *attempts += 1;
            *retry_at = Some(now.plus_ms(retry_ms(*attempts, min, max)));
        }
    }

    pub(super) fn fetched(&mut self, number: u16, token: u64, records: Vec<Record>, actions: &mut Vec<Action>) {
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        if partition.token != token || !partition.is_live() {
            return;
        }
        for record in records {
            let (stream, found) = (record.stream, record.offset);
            let queue = partition.memory.queue(stream);
            if let Err(expected) = queue.push(record) {
                partition.phase = Phase::Halted;
                actions.push(Action::Forget { partition: number });
                actions.push(Action::Alarm(Alarm::OffsetJump { partition: number, stream, expected, found }));
                return;
            }
            if queue.bytes > self.limits.queue_bytes_max && !queue.paused {
                queue.paused = true;
                actions.push(Action::Pause { partition: number, stream });
            }
        }
    }

    /// Answers whether anything else can follow from it.
    pub(super) fn delivered(
        &mut self,
        number: u16,
        attempt: u64,
        seq: u64,
        ok: bool,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(partition) = self.partitions.get_mut(&number) else {
            return false;
        };
        let publisher = &mut partition.memory.publisher;
        let was_full = publisher.unacknowledged() >= self.limits.unacknowledged_max;
        match publisher.delivered(attempt, seq, ok, now, self.limits.retry_min_ms) {
            Delivery::Noted => {
                actions.extend(partition.witness());
                was_full || partition.phase == Phase::Leaving
            }
            Delivery::Stale => false,
            Delivery::GoBack => {
                self.counters.deliveries_failed += 1;
                actions.push(Action::Alarm(Alarm::DeliveryFailed { partition: number, seq }));
                true
            }
        }
    }

    pub(super) fn ends(&mut self, number: u16, token: u64, data: i64, control: i64) {
        if let Some(partition) = self.partitions.get_mut(&number).filter(|partition| partition.token == token)
            && let Stage::Asked { until } = partition.memory.timers.stage
        {
            partition.memory.timers.stage = Stage::Barrier { until, data, control };
        }
    }

    /// A participant has told how far it has read.
    pub(super) fn progress(
        &mut self,
        number: u16,
        token: u64,
        reading: Reading,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some(partition) = self.partitions.get_mut(&number).filter(|partition| partition.token == token) else {
            return;
        };
        let memory = &mut partition.memory;
        let waits = reading.waits && !memory.left_out.has(Mutation::WaitsIgnored);
        let reading = Reading { waits, ..reading };
        match memory.waits.learned(reading, memory.timers.round, now) {
            Learned::HasRead => memory.timers.note(now),
            Learned::Lags { tell: true, behind } => {
                let Place { topic, partition: of } = reading.place;
                actions.push(Action::Alarm(Alarm::ParticipantLags { partition: number, topic, of, behind }));
            }
            Learned::Lags { tell: false, .. } | Learned::NotAsked => {}
        }
    }
}
