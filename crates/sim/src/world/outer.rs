//! What reaches the database, the log and the world outside, and what comes back.

use super::*;

/// How long a commit may be on its way after its sender has given up, in ms.
const COMMIT_LATE_MS: i64 = 10_000;
/// How long after it was sent a request may still be acted upon, in ms: after that the provider drops it.
const REQUEST_LATE_MS: i64 = 40_000;
/// The adapters' time limit, in ms.
const TIMEOUT_MS: i64 = 20_000;
/// How late a second copy of a message may reach the log, in ms.
const DUPLICATE_LATE_MS: i64 = 5_000;

impl World {
    fn fate(&mut self, part: usize, commit: &Commit) -> Fate {
        if self.rng.chance(self.faults.commit_refused) {
            self.tally.count("commit refused");
            return Fate::Refused;
        }
        if !self.rng.chance(self.faults.commit_unknown) {
            return Fate::Well;
        }
        let (fate, name) = match self.rng.below(3) {
            0 => (Fate::UnknownDone, "commit unknown, done"),
            1 => (Fate::UnknownLost, "commit unknown, not done"),
            _ => (Fate::UnknownLate, "commit unknown, late"),
        };
        self.tally.count(name);
        if self.tables[part].takes_no_records(commit) {
            self.tally.count("commit unknown, of no records");
        }
        fate
    }

    pub(super) fn send_commit(&mut self, worker: usize, epoch: u64, part: usize, ticket: u64, commit: Box<Commit>) {
        let fate = self.fate(part, &commit);
        let mut after_ms = self.rng.between(0, 5);
        if fate == Fate::UnknownLate {
            self.later(worker, epoch, part, Event::Committed { ticket, result: Err(CommitError::Unknown) });
            after_ms += self.rng.between(1, COMMIT_LATE_MS);
        } else {
            self.workers[worker].commits_under_way += 1;
        }
        self.schedule(after_ms, Happening::Commit { worker, epoch, part, ticket, commit, fate });
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
        if self.is_alive(worker, epoch) && fate != Fate::UnknownLate {
            self.workers[worker].commits_under_way -= 1;
        }
        let result = match fate {
            Fate::Refused => Err(CommitError::Retry { sqlstate: "40001".to_owned() }),
            Fate::UnknownLost => Err(CommitError::Unknown),
            Fate::Well | Fate::UnknownDone | Fate::UnknownLate => {
                let done = self.tables[part].commit(commit);
                if done.is_ok() {
                    self.auditor.committed(self.leaves[part].spec(), commit, self.now);
                }
                if fate == Fate::Well { done } else { Err(CommitError::Unknown) }
            }
        };
        if result.is_err() {
            self.tables[part].store_offsets_alone(commit);
        }
        let name = self.leaves[part].spec().name;
        self.note(|| format!("worker {worker} {name}: commit {ticket}, {fate:?}, {result:?}: {}", told(commit)));
        if fate == Fate::UnknownLate {
            return;
        }
        self.later(worker, epoch, part, Event::Committed { ticket, result });
    }

    pub(super) fn send(&mut self, sent: Sent) {
        let (worker, message) = (sent.worker, &sent.message);
        let after_ms = self.rng.between(0, 4);
        let place = (Arc::clone(&message.topic), message.partition);
        let earliest = self.workers[worker].last_append.get(&place).copied().unwrap_or(self.now);
        let at = self.now.plus_ms(after_ms).max(Timestamp(earliest.micros() + 1));
        self.workers[worker].last_append.insert(place, at);
        let fails = self.rng.chance(self.faults.delivery_failed);
        if fails {
            self.tally.count("delivery failed");
        }
        self.schedule_at(at, Happening::Append { sent, fails });
    }

    pub(super) fn append(&mut self, sent: Sent, fails: bool) {
        let Sent { worker, epoch, part, shard, attempt, message } = sent;
        // What a process had not handed to the network when it died is gone.
        if !self.is_alive(worker, epoch) && self.rng.chance(500_000) {
            return;
        }
        // A failed delivery may have arrived all the same.
        let arrives = !fails || self.rng.chance(500_000);
        if arrives {
            let record = BookRecord {
                time: self.now,
                key: Some(message.key.clone()),
                header: Some(message.header.clone()),
                value: Some(message.value.clone()),
            };
            self.put(&message.topic, message.partition, record.clone());
            if self.rng.chance(self.faults.delivery_duplicated) {
                self.append_again(&message, record);
            }
        }
        let event = Event::Delivered { partition: shard, attempt, seq: message.seq, ok: !fails };
        self.later(worker, epoch, part, event);
    }

    fn append_again(&mut self, message: &Outgoing, record: BookRecord) {
        let late = self.rng.chance(500_000);
        self.tally.count(if late { "delivered again later" } else { "delivered twice" });
        let after_ms = if late { self.rng.between(1, DUPLICATE_LATE_MS) } else { 0 };
        let (topic, partition) = (Arc::clone(&message.topic), message.partition);
        self.schedule(after_ms, Happening::AppendAgain { topic, partition, record });
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
            let end = self.book.end(topic, partition);
            self.auditor.appended(topic, &record, partition, end, self.database_now());
        }
        self.book.append(topic, partition, record);
        for (part, stream) in readers {
            for worker in 0..self.workers.len() {
                self.plan_fetch(worker, part, partition, stream);
            }
        }
    }

    pub(super) fn perform(&mut self, worker: usize, epoch: u64, part: usize, token: u64, performance: Performance) {
        let (partition, intent_id) = (performance.partition, performance.intent_id);
        let lost = Performed::Unknown { code: CALL_TIMEOUT.to_owned() };
        let (after_ms, outcome) = if performance.mode == Mode::Call && self.rng.chance(self.faults.provider_late) {
            self.tally.count("provider acted late");
            let after_ms = self.rng.between(TIMEOUT_MS, REQUEST_LATE_MS);
            let sent_at = self.database_now();
            self.schedule(after_ms, Happening::PerformLate { part, performance, sent_at });
            (TIMEOUT_MS, lost)
        } else {
            // A call that was sent acts, whether or not its sender still lives.
            let Answering { after_ms, outcome } = self.perform_outside(part, &performance);
            match outcome {
                Some(outcome) => (after_ms, outcome),
                None => (TIMEOUT_MS, lost),
            }
        };
        let event = Event::Performed { partition, token, intent_id, outcome };
        self.schedule(after_ms, Happening::Told { worker, epoch, part, event });
        if self.rng.chance(self.faults.gone_in_call) {
            self.leave(part, partition..partition + 1);
        }
    }

    /// Nobody waits for the answer any more.
    pub(super) fn perform_late(&mut self, part: usize, performance: &Performance, sent_at: Timestamp) {
        if self.database_now().ms_since(sent_at) <= REQUEST_LATE_MS {
            self.perform_outside(part, performance);
        }
    }

    fn perform_outside(&mut self, part: usize, performance: &Performance) -> Answering {
        let now = self.database_now();
        let spec = self.leaves[part].spec();
        let mut chance = Chance { now, rng: &mut self.rng, faults: &self.faults, tally: &mut self.tally };
        let Answered { answering, notices } = self.outside.perform(spec.name, performance, &mut chance);
        let control = spec.control.clone();
        for (after_ms, record) in notices {
            self.publish_after(after_ms, control.clone(), record);
        }
        answering
    }
}

/// A commit in a line: how far each partition comes, and what it says.
fn told(commit: &Commit) -> String {
    let mut line = String::new();
    for of_commit in &commit.partitions {
        let PartitionCommit { partition, version, next_data, next_control, .. } = of_commit;
        line.push_str(&format!("{partition} (version {version}) to {next_data} and {next_control}; "));
    }
    for message in commit.outbox.iter().filter_map(|row| unpack(&row.messages).ok()).flatten() {
        let key = daybook_events::key::to_text(&message.key).into_owned();
        let name = message.type_name.rsplit('.').next().unwrap_or_default();
        let cause = Header::decode(&message.header).ok().and_then(|header| header.causation_id).unwrap_or_default();
        line.push_str(&format!("{name} {} for {key} of {cause}; ", message.message_id));
    }
    line
}
