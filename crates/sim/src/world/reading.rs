//! How workers read the log.

use super::*;

/// What the group of a part has committed of a partition: what comes next, and whether something before it waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupOffset {
    pub next: i64,
    pub waits: bool,
}

impl World {
    pub(super) fn set_paused(&mut self, worker: usize, part: usize, partition: u16, stream: Stream, paused: bool) {
        if let Some(reading) = &mut self.workers[worker].hosted[part].reading[usize::from(partition)] {
            reading.paused[index(stream)] = paused;
        }
        self.plan_fetch(worker, part, partition, stream);
    }

    fn topic(&self, part: usize, stream: Stream) -> &str {
        let spec = self.leaves[part].spec();
        match stream {
            Stream::Data => spec.input,
            Stream::Control => &spec.control,
        }
    }

    /// Where a partition ends, and what comes next for whoever carries out the commands in it.
    pub(super) fn progress(&self, topic: &str, of: u16) -> (i64, GroupOffset) {
        let end = self.book.end(topic, of);
        let mut readers = self.readers.get(topic).into_iter().flatten();
        let reader = readers.find(|(_, stream)| *stream == Stream::Data);
        let nobody = GroupOffset { next: end, waits: false };
        let committed =
            reader.map_or(nobody, |(part, _)| self.group_offsets.get(&(*part, of)).copied().unwrap_or_default());
        (end, committed)
    }

    /// A fetch is sent when there is something to read and none is under way.
    pub(super) fn plan_fetch(&mut self, worker: usize, part: usize, partition: u16, stream: Stream) {
        let end = self.book.end(self.topic(part, stream), partition);
        let of_worker = &mut self.workers[worker];
        let epoch = of_worker.epoch;
        let Some(hosted) = of_worker.hosted.get_mut(part) else { return };
        let Some(reading) = &mut hosted.reading[usize::from(partition)] else { return };
        let at = index(stream);
        if reading.fetching[at] || reading.paused[at] || reading.next[at] >= end {
            return;
        }
        reading.fetching[at] = true;
        let after_ms = self.rng.between(0, 4);
        self.schedule(after_ms, Happening::Fetch { worker, epoch, part, partition, stream });
    }

    pub(super) fn fetch(&mut self, worker: usize, epoch: u64, part: usize, partition: u16, stream: Stream) {
        if !self.is_alive(worker, epoch) {
            return;
        }
        if self.rng.chance(self.faults.registry_away) {
            self.tally.count("registry away");
            let after_ms = self.rng.between(100, 5_000);
            self.schedule(after_ms, Happening::Fetch { worker, epoch, part, partition, stream });
            return;
        }
        let at = index(stream);
        let Some(reading) = self.workers[worker].hosted[part].reading[usize::from(partition)] else { return };
        let mut from = reading.next[at];
        if self.rng.chance(self.faults.fetch_repeated) {
            self.tally.count("fetched again");
            from = from.saturating_sub(self.rng.between(1, 5)).max(0);
        }
        if self.rng.chance(self.faults.offset_stale) {
            self.tally.count("stale offset");
            from = self.rng.between(0, from);
        }
        let limit = usize::try_from(self.rng.between(1, RECORDS_PER_FETCH as i64)).unwrap_or(1);
        let records = self.book.read(self.topic(part, stream), stream, partition, from, limit);
        let next = from + i64::try_from(records.len()).unwrap_or(0);
        if let Some(reading) = &mut self.workers[worker].hosted[part].reading[usize::from(partition)] {
            reading.next[at] = next.max(reading.next[at]);
            reading.fetching[at] = false;
        }
        self.note(|| format!("worker {worker} {part}: fetched {partition}"));
        let at_hand = &mut self.workers[worker].hosted[part].at_hand;
        at_hand.push(Event::Fetched { partition, token: reading.token, records });
        if at_hand.len() == 1 {
            let after_ms = self.rng.between(0, 1);
            self.schedule(after_ms, Happening::TellFetched { worker, epoch, part });
        }
        self.plan_fetch(worker, part, partition, stream);
    }
}
