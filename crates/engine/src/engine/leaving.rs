//! How partitions are let go.

use super::*;

impl Engine {
    /// Somebody else writes the partition.
    pub(super) fn stand_down(&mut self, number: u16, actions: &mut Vec<Action>) {
        self.counters.fenced += 1;
        if let Some(mut partition) = self.partitions.remove(&number) {
            self.lose_cache(&mut partition);
            actions.push(Action::Alarm(Alarm::Fenced { partition: number }));
            actions.push(Action::Forget { partition: number });
            actions.push(match partition.phase {
                Phase::Leaving => Action::Released { partition: number },
                _ => Action::StoodDown { partition: number },
            });
        }
    }

    /// Nobody knows whether the commit happened: what is remembered counts for nothing.
    pub(super) fn claim_anew(&mut self, number: u16, actions: &mut Vec<Action>) {
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        actions.push(Action::Forget { partition: number });
        if partition.phase == Phase::Leaving {
            self.partitions.remove(&number);
            actions.push(Action::Released { partition: number });
        } else {
            *partition = Partition::claiming(number);
            actions.push(Action::Claim { partition: number });
        }
    }

    /// Lets go of leaving partitions with nothing in flight.
    pub(super) fn release(&mut self, actions: &mut Vec<Action>) {
        let is_busy = |number: u16| {
            self.under_way.iter().any(|under_way| match &under_way.stage {
                Doing::Committing { works, .. } => works.iter().any(|work| work.number == number),
                Doing::Gathering(_) | Doing::Loading(_) => {
                    under_way.batch.items.iter().any(|item| item.partition == number)
                }
            })
        };
        let leaving = self.partitions.values().filter(|partition| {
            let memory = &partition.memory;
            partition.phase == Phase::Leaving
                && memory.answers.is_empty()
                && !memory.calling()
                && !is_busy(partition.number)
        });
        let leaving: Vec<u16> = leaving.map(|partition| partition.number).collect();
        for number in leaving {
            if let Some(mut partition) = self.partitions.remove(&number) {
                self.lose_cache(&mut partition);
            }
            actions.push(Action::Released { partition: number });
        }
    }

    /// The cache dies with the claim.
    pub(super) fn lose_cache(&mut self, partition: &mut Partition) {
        if self.left_out.has(Mutation::CacheSurvives) {
            self.kept_caches.insert(partition.number, std::mem::take(&mut partition.memory.cache));
        }
    }
}
