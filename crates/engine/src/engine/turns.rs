//! Whose turn it is: for which partitions the next batch is begun.
//!
//! *Decided 2026-11.* A batch is folded by the part's task and committed by the database, one after the other, so with one batch
//! under way each of the two waits for the other. Two batches at a time, for different partitions, keep both busy. They share
//! nothing: all that a batch reads and changes is of a partition. Rejected: folding the next batch on top of one that is not
//! committed yet (then a failure has to take back what was folded), and more members of the group in one process (then batches are
//! halved also where there is little to do, and a commit costs the more the fewer share it).

use std::collections::BTreeSet;

use super::*;
use crate::batch::waiting;

impl Engine {
    /// Batches that are under way or will be tried again.
    pub(super) fn batches(&self) -> usize {
        self.under_way.len() + self.again.len()
    }

    /// The next batch, without inputs yet: for all partitions that are free, as long as little waits. As soon as enough for two
    /// waits, for the half whose turn was longest ago; the next one is for the others. None while too little waits beside another.
    pub(super) fn next_batch(&mut self, now: Timestamp) -> Option<Batch> {
        if self.batches() == BATCHES_MAX {
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
        if self.batches() == 0 && inputs >= 2 * self.limits.beside_min {
            free.retain(|(.., waiting)| *waiting > 0);
            free.sort_unstable();
            free.truncate(free.len().div_ceil(2));
        }
        let turn = self.next_number();
        let partitions: BTreeSet<u16> = free.into_iter().map(|(_, number, _)| number).collect();
        for number in &partitions {
            self.partitions.get_mut(number).expect("it was just found").turn = turn;
        }
        Some(Batch::for_partitions(partitions))
    }
}
