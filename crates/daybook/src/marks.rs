//! Telling a record's repetitions from its first appearance, as every consumer of the book has to.

use std::collections::HashMap;

use daybook_events::ShardRef;

/// The highest number seen of each shard, per partition of one topic.
#[derive(Debug, Default)]
pub struct Marks {
    seen: HashMap<(u16, String, u16), (u32, u64)>,
}

impl Marks {
    /// Whether the record is there for the first time. Numbers of a shard rise within a partition of a topic; what is not
    /// above the highest was published again. What has no number, a command from outside, always counts as new.
    pub fn is_new(&mut self, partition: u16, shard: Option<&ShardRef<'_>>) -> bool {
        let Some(shard) = shard else { return true };
        let number = (shard.incarnation, shard.seq);
        let mark = self.seen.entry((partition, shard.instance.to_owned(), shard.partition)).or_default();
        let is_new = number > *mark;
        *mark = number.max(*mark);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(incarnation: u32, seq: u64) -> ShardRef<'static> {
        ShardRef { instance: "courses", partition: 1, incarnation, seq, prev: 0 }
    }

    #[test]
    fn a_number_that_is_not_above_the_mark_is_a_repetition() {
        let mut marks = Marks::default();
        assert!(marks.is_new(0, Some(&shard(5, 1))));
        assert!(marks.is_new(0, Some(&shard(5, 3))));
        assert!(!marks.is_new(0, Some(&shard(5, 3))));
        assert!(!marks.is_new(0, Some(&shard(5, 2))));
        assert!(marks.is_new(1, Some(&shard(5, 2))), "another partition has marks of its own");
        assert!(marks.is_new(0, Some(&shard(6, 1))), "a later incarnation numbers anew");
        assert!(marks.is_new(0, None));
    }
}
