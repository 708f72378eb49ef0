//! Whose turn it is: for which partitions the next batch is begun.
//!
//! *Decided 2026-11.* A batch is folded by the part's task and committed by the database, one after the other, so with one batch
//! under way each of the two waits for the other. Several at a time, for different partitions, keep both busy: with two the task
//! still waits whenever a commit takes longer than a fold, with three hardly ever. They share nothing: all that a batch reads and
//! changes is of a partition. Rejected: folding the next batch on top of one that is not committed yet (then a failure has to take
//! back what was folded), and more members of the group in one process (then batches are halved also where there is little to do,
//! and a commit costs the more the fewer share it).

use std::collections::BTreeSet;

use super::*;
use crate::batch::waiting;

impl Engine {
    /// Batches that are under way or will be tried again.
    pub(super) fn batches(&self) -> usize {
        self.under_way.len() + self.again.len()
    }

    /// The next batch, without inputs yet: for all partitions that are free, as long as little waits. As soon as enough waits for all
    /// batches that there may still be, of those with inputs only for its share of them, beginning with those whose turn was longest
    /// ago. None while too little waits beside another. A partition without inputs may have timers or held records, so it never waits
    /// for one that has many.
    pub(super) fn next_batch(&mut self, now: Timestamp) -> Option<Batch> {
        let left = BATCHES_MAX - self.batches();
        if left == 0 {
            return None;
        }
        let batches = self.under_way.iter().map(|under_way| &under_way.batch);
        let batches = batches.chain(self.again.iter().map(|again| &again.batch));
        let taken: BTreeSet<u16> = batches.flat_map(|batch| batch.partitions.iter().copied()).collect();
        let free = self.partitions.values().filter(|partition| !taken.contains(&partition.number));
        let mut free: Vec<(u64, u16, usize)> =
            free.map(|partition| (partition.turn, partition.number, waiting(partition, &self.limits, now))).collect();
        let inputs: usize = free.iter().map(|(.., waiting)| waiting).sum();
        if self.batches() > 0 && inputs < self.limits.beside_min {
            return None;
        }
        if inputs >= left * self.limits.beside_min {
            let (mut busy, idle): (Vec<_>, Vec<_>) = free.into_iter().partition(|(.., waiting)| *waiting > 0);
            busy.sort_unstable();
            busy.truncate(busy.len().div_ceil(left));
            free = [busy, idle].concat();
        }
        let turn = self.next_number();
        let partitions: BTreeSet<u16> = free.into_iter().map(|(_, number, _)| number).collect();
        for number in &partitions {
            self.partitions.get_mut(number).expect("it was just found").turn = turn;
        }
        Some(Batch::for_partitions(partitions))
    }
}

#[cfg(test)]
mod tests {
    use daybook_events::StaticSchemas;

    use super::*;
    use crate::{Context, Fault, Input, Output, PartKind, Record, Rows, SchemaLookup, Spec, Stream};

    struct Nothing(Spec);

    impl Leaf for Nothing {
        fn spec(&self) -> &Spec {
            &self.0
        }

        fn parts(&self, _: &Input<'_>, _: &mut Vec<uuid::Uuid>) {}

        fn handle(&self, _: &Input<'_>, _: &mut Rows<'_>, _: &Context, _: &mut Output) -> Result<(), Fault> {
            Ok(())
        }
    }

    const ENOUGH: usize = 10;
    const NOW: Timestamp = Timestamp(0);

    /// An engine with four live partitions.
    fn engine() -> Engine {
        let spec = Spec {
            name: "nothing",
            kind: PartKind::Aggregate,
            input: "test.nothing.commands.v1",
            control: "test.nothing.control.v1".to_owned(),
            outputs: Vec::new(),
            tables: Vec::new(),
            effects: None,
        };
        let limits = Limits { beside_min: ENOUGH, ..Limits::default() };
        let mut engine = Engine::new(Arc::new(Nothing(spec)), Arc::new(StaticSchemas), limits);
        for number in 0..4 {
            engine.partitions.insert(number, Partition { phase: Phase::Live, ..Partition::claiming(number) });
        }
        engine
    }

    /// So many more wait in a partition.
    fn wait(engine: &mut Engine, partition: u16, count: usize) {
        let queue = &mut engine.partitions.get_mut(&partition).expect("it is there").memory.data;
        for _ in 0..count {
            let record = Record {
                stream: Stream::Data,
                partition,
                offset: queue.next,
                time: NOW,
                key: None,
                header: None,
                value: None,
                schema: SchemaLookup::Unframed,
            };
            queue.push(record).expect("it is the next one");
        }
    }

    /// Begins the next batch and answers its partitions.
    fn begin(engine: &mut Engine) -> Option<Vec<u16>> {
        let batch = engine.next_batch(NOW)?;
        let partitions = batch.partitions.iter().copied().collect();
        let ticket = engine.next_number();
        engine.under_way.push(UnderWay { ticket, batch, stage: Doing::Loading(Load::default()) });
        Some(partitions)
    }

    #[test]
    fn little_is_done_in_one_batch_and_nothing_beside_it() {
        let mut engine = engine();
        wait(&mut engine, 1, BATCHES_MAX * ENOUGH - 1);
        assert_eq!(begin(&mut engine), Some(vec![0, 1, 2, 3]));
        wait(&mut engine, 0, ENOUGH);
        assert_eq!(begin(&mut engine), None, "its partitions have a batch");
    }

    #[test]
    fn much_is_done_in_three_and_no_more() {
        let mut engine = engine();
        (0..4).for_each(|number| wait(&mut engine, number, ENOUGH));
        assert_eq!(begin(&mut engine), Some(vec![0, 1]));
        assert_eq!(begin(&mut engine), Some(vec![2]));
        assert_eq!(begin(&mut engine), Some(vec![3]));
        engine.partitions.insert(4, Partition { phase: Phase::Live, ..Partition::claiming(4) });
        wait(&mut engine, 4, ENOUGH);
        assert_eq!(begin(&mut engine), None, "three are under way");
        engine.under_way.remove(0);
        assert_eq!(begin(&mut engine), Some(vec![0, 1, 4]));
    }

    #[test]
    fn too_little_waits_for_the_other_batch_to_end() {
        let mut engine = engine();
        wait(&mut engine, 0, 3 * ENOUGH);
        wait(&mut engine, 1, ENOUGH - 1);
        assert_eq!(begin(&mut engine), Some(vec![0, 2, 3]), "those without inputs have their timers looked after");
        assert_eq!(begin(&mut engine), None);
    }

    #[test]
    fn a_partition_with_little_has_its_turn_beside_one_with_much() {
        let mut engine = engine();
        wait(&mut engine, 0, 100 * ENOUGH);
        wait(&mut engine, 1, 1);
        assert_eq!(begin(&mut engine), Some(vec![0, 2, 3]));
        engine.under_way.clear();
        assert_eq!(begin(&mut engine), Some(vec![1, 2, 3]));
        assert_eq!(begin(&mut engine), Some(vec![0]), "much waits beside it");
    }
}
