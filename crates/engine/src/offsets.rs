//! The group offset: it is behind whatever was applied until all that came of it is in the log, so that whoever sees the offset
//! finds the answers.

use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// The shard's last number, and the offset that comes next, as of commits that are not published yet. Numbers differ,
    /// so there are never more entries than unacknowledged messages, and one.
    waiting: VecDeque<(u64, i64)>,
}

impl Offsets {
    /// All before `next_data` is applied; what it led to has numbers up to `out_seq`.
    pub(crate) fn note(&mut self, out_seq: u64, next_data: i64) {
        match self.waiting.back_mut() {
            Some(last) if last.0 == out_seq => last.1 = next_data,
            _ => self.waiting.push_back((out_seq, next_data)),
        }
    }

    /// The last number and the offset up to which everything is published, if that is further than was answered before.
    pub(crate) fn published(&mut self, published: u64) -> Option<(u64, i64)> {
        let mut reached = None;
        while self.waiting.front().is_some_and(|(out_seq, _)| *out_seq <= published) {
            reached = self.waiting.pop_front();
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_waits_for_what_came_of_the_records_before_it() {
        let mut offsets = Offsets::default();
        offsets.note(3, 10);
        offsets.note(3, 12);
        offsets.note(5, 20);
        assert_eq!(offsets.published(2), None);
        assert_eq!(offsets.published(4), Some((3, 12)));
        assert_eq!(offsets.published(4), None, "it was answered");
        offsets.note(5, 21);
        assert_eq!(offsets.published(5), Some((5, 21)));
    }
}
