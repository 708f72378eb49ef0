//! What reaches the database, the log and the world outside, and what comes back.

use super::*;

impl World {
    pub(super) fn fate(&mut self) -> Fate {
        if self.rng.chance(self.faults.commit_refused) {
            self.tally.count("commit refused");
            return Fate::Refused;
        }
        if self.rng.chance(self.faults.commit_unknown) {
            self.tally.count("commit unknown");
            return if self.rng.chance(500_000) { Fate::UnknownDone } else { Fate::UnknownLost };
        }
        Fate::Well
    }

    pub(super) fn claim(&mut self, worker: usize, epoch: u64, part: usize, partition: u16) {
        if !self.is_alive(worker, epoch) {
            return;
        }
        if self.rng.chance(self.faults.claim_failed) {
            self.tally.count("claim failed");
            self.later(worker, epoch, part, Event::ClaimFailed { partition });
            return;
        }
        if let Some(claimed) = self.tables[part].claim(partition) {
            self.later(worker, epoch, part, Event::Claimed(Box::new(claimed)));
        }
    }

    pub(super) fn load(&mut self, worker: usize, epoch: u64, part: usize, ticket: u64, load: &Load) {
        let result = if self.rng.chance(self.faults.load_failed) {
            self.tally.count("load failed");
            Err(LoadError { sqlstate: "57P01".to_owned() })
        } else {
            Ok(Box::new(self.tables[part].load(load)))
        };
        self.later(worker, epoch, part, Event::Loaded { ticket, result });
    }

    /// A commit reaches the database also when its sender is dead or stopped by now.
    pub(super) fn commit(&mut self, worker: usize, epoch: u64, part: usize, ticket: u64, commit: &Commit, fate: Fate) {
        let result = match fate {
            Fate::Refused => Err(CommitError::Retry { sqlstate: "40001".to_owned() }),
            Fate::UnknownLost => Err(CommitError::Unknown),
            Fate::Well | Fate::UnknownDone => {
                let done = self.tables[part].commit(commit);
                if done.is_ok() {
                    self.auditor.committed(self.leaves[part].spec().name, commit, self.now);
                }
                if fate == Fate::UnknownDone { Err(CommitError::Unknown) } else { done }
            }
        };
        self.note(|| format!("worker {worker} part {part} commit {ticket}: {fate:?} {result:?}"));
        self.later(worker, epoch, part, Event::Committed { ticket, result });
    }

    pub(super) fn send(&mut self, worker: usize, epoch: u64, part: usize, shard: u16, attempt: u64, message: Outgoing) {
        let after_ms = self.rng.between(0, 4);
        let place = (Arc::clone(&message.topic), message.partition);
        let earliest = self.workers[worker].last_append.get(&place).copied().unwrap_or(self.now);
        let at = self.now.plus_ms(after_ms).max(Timestamp(earliest.micros() + 1));
        self.workers[worker].last_append.insert(place, at);
        let fails = self.rng.chance(self.faults.delivery_failed);
        if fails {
            self.tally.count("delivery failed");
        }
        self.schedule_at(at, Happening::Append { worker, epoch, part, shard, attempt, message, fails });
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of one happening")]
    pub(super) fn append(
        &mut self,
        worker: usize,
        epoch: u64,
        part: usize,
        shard: u16,
        attempt: u64,
        message: Outgoing,
        fails: bool,
    ) {
        // What a process had not handed to the network when it died is gone.
        if !self.is_alive(worker, epoch) && self.rng.chance(500_000) {
            return;
        }
        // A failed delivery may have arrived all the same.
        let arrives = !fails || self.rng.chance(500_000);
        if arrives {
            let copies = if self.rng.chance(self.faults.delivery_duplicated) {
                self.tally.count("delivered twice");
                2
            } else {
                1
            };
            for _ in 0..copies {
                let record = BookRecord {
                    time: self.now,
                    key: Some(message.key.clone()),
                    header: Some(message.header.clone()),
                    value: Some(message.value.clone()),
                };
                self.put(&message.topic, message.partition, record);
            }
        }
        let event = Event::Delivered { partition: shard, attempt, seq: message.seq, ok: !fails };
        self.later(worker, epoch, part, event);
    }

    pub(super) fn publish(&mut self, topic: &str, record: BookRecord) {
        let key = record.key.clone().unwrap_or_default();
        let partition = daybook_events::key::partition(&key, u32::from(PARTITIONS));
        let partition = u16::try_from(partition).unwrap_or(0);
        self.put(topic, partition, record);
    }

    pub(super) fn put(&mut self, topic: &str, partition: u16, record: BookRecord) {
        let readers = self.readers.get(topic).cloned().unwrap_or_default();
        if !readers.is_empty() {
            self.auditor.appended(topic, &record, self.book.end(topic, partition));
        }
        self.book.append(topic, partition, record);
        for (part, stream) in readers {
            for worker in 0..self.workers.len() {
                self.plan_fetch(worker, part, partition, stream);
            }
        }
    }

    pub(super) fn perform(&mut self, worker: usize, epoch: u64, part: usize, token: u64, performance: Performance) {
        // A call that was sent acts, whether or not its sender still lives.
        let name = self.leaves[part].spec().name;
        let Answering { after_ms, outcome, notices } =
            self.outside.perform(name, &performance, self.now, &mut self.rng, &self.faults, &mut self.tally);
        let control = self.leaves[part].spec().control.clone();
        for (after_ms, record) in notices {
            self.publish_after(after_ms, control.clone(), record);
        }
        let intent_id = performance.intent_id;
        let lost = || Performed::Unknown { code: "timeout".to_owned() };
        let event = Event::Performed {
            partition: performance.partition,
            token,
            intent_id,
            outcome: outcome.unwrap_or_else(lost),
        };
        self.schedule(after_ms, Happening::Told { worker, epoch, part, event });
    }
}
