//! Who reads what, and the misfortunes of processes.

use std::ops::Range;

use super::*;

const MINUTE_MS: i64 = 60 * 1_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

impl World {
    pub(super) fn running(&self) -> Vec<usize> {
        (0..self.workers.len()).filter(|worker| self.workers[*worker].life == Life::Running).collect()
    }

    pub(super) fn reassign(&mut self, part: usize, partition: u16) {
        let seat = self.seats[part][usize::from(partition)];
        if seat.owner.is_some() || seat.moving.is_some() {
            return;
        }
        if let Some(until) = self.gone_until.get(&(part, partition)).filter(|until| **until > self.now) {
            self.schedule_at(*until, Happening::Reassign { part, partition });
            return;
        }
        let running = self.running();
        let Some(&worker) = self.rng.pick(&running) else { return };
        self.give(worker, part, partition);
    }

    pub(super) fn give(&mut self, worker: usize, part: usize, partition: u16) {
        let epoch = self.workers[worker].epoch;
        self.seats[part][usize::from(partition)] = Seat { owner: Some((worker, epoch)), moving: None };
        self.tell_of_group(worker, epoch, part, Event::Assigned { partition });
    }

    /// What the group tells a member arrives in the order in which it was told.
    pub(super) fn tell_of_group(&mut self, worker: usize, epoch: u64, part: usize, event: Event) {
        let at = self.now.plus_ms(self.rng.between(0, 2));
        let last = self.workers[worker].told_last.entry(part).or_insert(at);
        *last = at.max(*last);
        let at = *last;
        self.schedule_at(at, Happening::Told { worker, epoch, part, event });
    }

    pub(super) fn adopt_orphans(&mut self) {
        for part in 0..self.leaves.len() {
            for partition in 0..PARTITIONS {
                if self.seats[part][usize::from(partition)].owner.is_none() {
                    self.schedule(1, Happening::Reassign { part, partition });
                }
            }
        }
    }

    pub(super) fn start_move(&mut self) {
        let part = usize::try_from(self.rng.below(self.leaves.len() as u64)).unwrap_or(0);
        let partition = u16::try_from(self.rng.below(u64::from(PARTITIONS))).unwrap_or(0);
        let seat = self.seats[part][usize::from(partition)];
        let Some((owner, epoch)) = seat.owner.filter(|_| seat.moving.is_none()) else { return };
        let running = self.running();
        let to = self.rng.pick(&running).copied();
        self.tally.count("rebalance");
        self.moves += 1;
        self.seats[part][usize::from(partition)].moving = Some((self.moves, to));
        self.tell_of_group(owner, epoch, part, Event::Revoked { partition });
        let move_number = self.moves;
        self.schedule(REVOKE_TIMEOUT_MS, Happening::RevokeTimeout { part, partition, move_number });
    }

    /// Nobody reads the partition, or none of its part, for a long while: an outage, or a deployment at zero.
    pub(super) fn consumer_gone(&mut self) {
        let part = usize::try_from(self.rng.below(self.leaves.len() as u64)).unwrap_or(0);
        let one = u16::try_from(self.rng.below(u64::from(PARTITIONS))).unwrap_or(0);
        if self.rng.chance(250_000) {
            self.leave(part, 0..PARTITIONS);
        } else {
            self.leave(part, one..one + 1);
        }
    }

    pub(super) fn leave(&mut self, part: usize, partitions: Range<u16>) {
        let (shortest, longest) = match self.rng.below(3) {
            0 => (20 * MINUTE_MS, 60 * MINUTE_MS),
            1 => (2 * HOUR_MS, 6 * HOUR_MS),
            _ => (24 * HOUR_MS, 30 * HOUR_MS),
        };
        let until = self.now.plus_ms(self.rng.between(shortest, longest));
        self.tally.count("consumer gone");
        for partition in partitions {
            self.note(|| format!("part {part} partition {partition}: nobody reads it for a long while"));
            self.gone_until.insert((part, partition), until);
            let seat = self.seats[part][usize::from(partition)];
            if let Some((owner, epoch)) = seat.owner {
                self.tell_of_group(owner, epoch, part, Event::Lost { partition });
            }
            self.finish_move(part, partition, None);
        }
    }

    pub(super) fn released(&mut self, worker: usize, part: usize, partition: u16) {
        let seat = self.seats[part][usize::from(partition)];
        let epoch = self.workers[worker].epoch;
        if let Some((_, to)) = seat.moving
            && seat.owner == Some((worker, epoch))
        {
            self.finish_move(part, partition, to);
        }
    }

    pub(super) fn revoke_timeout(&mut self, part: usize, partition: u16, move_number: u64) {
        let seat = self.seats[part][usize::from(partition)];
        let Some((number, to)) = seat.moving else { return };
        if number != move_number {
            return;
        }
        if let Some((owner, epoch)) = seat.owner {
            self.tell_of_group(owner, epoch, part, Event::Lost { partition });
        }
        self.finish_move(part, partition, to);
    }

    pub(super) fn finish_move(&mut self, part: usize, partition: u16, to: Option<usize>) {
        self.seats[part][usize::from(partition)] = Seat::default();
        let is_gone = self.gone_until.get(&(part, partition)).is_some_and(|until| *until > self.now);
        match to.filter(|worker| self.workers[*worker].life == Life::Running && !is_gone) {
            Some(worker) => self.give(worker, part, partition),
            None => self.schedule(1, Happening::Reassign { part, partition }),
        }
    }

    /// Chance strikes after every step.
    pub(super) fn misfortune(&mut self) {
        if self.rng.chance(self.faults.rebalance) {
            self.start_move();
        }
        if self.rng.chance(self.faults.worker_crash) {
            self.crash();
        }
        if self.rng.chance(self.faults.worker_stop) {
            self.stop();
        }
        if self.rng.chance(self.faults.consumer_gone) {
            self.consumer_gone();
        }
        if self.rng.chance(self.faults.clock_jump) {
            self.tally.count("clock jump");
            self.clock_offset_ms += self.rng.between(-2_000, 20_000);
        }
    }

    pub(super) fn victim(&mut self) -> Option<usize> {
        let running = self.running();
        self.rng.pick(&running).copied()
    }

    pub(super) fn crash(&mut self) {
        let Some(worker) = self.victim() else { return };
        self.tally.count("crash");
        self.note(|| format!("worker {worker} crashes"));
        let epoch = self.workers[worker].epoch;
        self.workers[worker].die();
        self.schedule(SESSION_TIMEOUT_MS, Happening::SessionTimeout { worker, epoch });
        let restart_ms = self.rng.between(100, 20_000);
        self.schedule(restart_ms, Happening::Restart { worker });
    }

    pub(super) fn stop(&mut self) {
        let Some(worker) = self.victim() else { return };
        let inside = self.workers[worker].commits_under_way > 0;
        self.tally.count(if inside { "stopped in a commit" } else { "stopped" });
        self.note(|| format!("worker {worker} stops"));
        let epoch = self.workers[worker].epoch;
        self.workers[worker].life = Life::Stopped;
        self.schedule(SESSION_TIMEOUT_MS, Happening::SessionTimeout { worker, epoch });
        let resume_ms = self.rng.between(100, 3 * SESSION_TIMEOUT_MS);
        self.schedule(resume_ms, Happening::Resume { worker, epoch });
    }

    /// A member that was silent for too long loses its partitions, without being asked.
    pub(super) fn session_timeout(&mut self, worker: usize, epoch: u64) {
        let of_worker = &self.workers[worker];
        let silent = of_worker.epoch != epoch || of_worker.life == Life::Stopped;
        if !silent {
            return;
        }
        for part in 0..self.leaves.len() {
            for partition in 0..PARTITIONS {
                let seat = self.seats[part][usize::from(partition)];
                if seat.owner != Some((worker, epoch)) {
                    continue;
                }
                self.seats[part][usize::from(partition)] = Seat::default();
                self.schedule(1, Happening::Reassign { part, partition });
                if of_this_life(&self.workers[worker], epoch) {
                    let after_ms = 3 * SESSION_TIMEOUT_MS + self.rng.between(1, 500);
                    self.schedule(after_ms, Happening::TellLost { worker, epoch, part, partition });
                }
            }
        }
    }

    pub(super) fn resume(&mut self, worker: usize, epoch: u64) {
        if self.workers[worker].epoch != epoch || self.workers[worker].life != Life::Stopped {
            return;
        }
        self.note(|| format!("worker {worker} resumes"));
        self.workers[worker].life = Life::Running;
        for (part, event) in std::mem::take(&mut self.workers[worker].mailbox) {
            self.tell(worker, epoch, part, event);
        }
        for part in 0..self.leaves.len() {
            if self.is_alive(worker, epoch) {
                self.tell(worker, epoch, part, Event::Tick);
            }
            for partition in 0..PARTITIONS {
                for stream in [Stream::Data, Stream::Control] {
                    self.plan_fetch(worker, part, partition, stream);
                }
            }
        }
        self.adopt_orphans();
    }

    /// Whether every engine is idle and everything committed is published.
    pub fn is_settled(&self) -> bool {
        let idle = |worker: &Worker| worker.hosted.iter().all(|hosted| hosted.engine.is_idle());
        self.workers.iter().all(idle) && self.tables.iter().all(Tables::is_published)
    }

    pub fn leaves(&self) -> &[Arc<dyn Leaf>] {
        &self.leaves
    }
}

fn of_this_life(worker: &Worker, epoch: u64) -> bool {
    worker.epoch == epoch && worker.life == Life::Stopped
}
