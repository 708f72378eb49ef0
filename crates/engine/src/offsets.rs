//! The group offset: it is behind whatever was applied until all that came of it is in the log, so that whoever sees the offset
//! finds the answers.

use std::collections::VecDeque;

/// How far a shard has come with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Its last number.
    pub(crate) out_seq: u64,
    /// All before this is applied, and has led to numbers up to `out_seq`.
    pub(crate) next_data: i64,
    /// Something of it is put off, because a participant lags.
    pub(crate) waits: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// As of commits that are not published yet. Numbers differ, so there are never more entries than unacknowledged messages, and one.
    unpublished: VecDeque<Reached>,
    waits: bool,
}

impl Offsets {
    pub(crate) fn note(&mut self, reached: Reached) {
        self.waits = reached.waits;
        match self.unpublished.back_mut() {
            Some(last) if last.out_seq == reached.out_seq => *last = reached,
            _ => self.unpublished.push_back(reached),
        }
    }

    /// As it was noted last.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    /// The last of it that is published, if that is further than was answered before.
    pub(crate) fn published(&mut self, published: u64) -> Option<Reached> {
        let mut reached = None;
        while self.unpublished.front().is_some_and(|first| first.out_seq <= published) {
            reached = self.unpublished.pop_front();
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(out_seq: u64, next_data: i64) -> Reached {
        Reached { out_seq, next_data, waits: false }
    }

    #[test]
    fn an_offset_waits_for_what_came_of_the_records_before_it() {
        let mut offsets = Offsets::default();
        offsets.note(reached(3, 10));
        offsets.note(reached(3, 12));
        offsets.note(reached(5, 20));
        assert_eq!(offsets.published(2), None);
        assert_eq!(offsets.published(4), Some(reached(3, 12)));
        assert_eq!(offsets.published(4), None, "it was answered");
        offsets.note(reached(5, 21));
        assert_eq!(offsets.published(5), Some(reached(5, 21)));
    }

    #[test]
    fn a_wait_is_over_when_its_end_is_published() {
        let mut offsets = Offsets::default();
        let waiting = Reached { waits: true, ..reached(3, 10) };
        offsets.note(waiting);
        assert_eq!(offsets.published(3), Some(waiting));
        offsets.note(reached(4, 10));
        assert!(!offsets.waits());
        assert_eq!(offsets.published(3), None);
        assert_eq!(offsets.published(4), Some(reached(4, 10)));
    }
}
