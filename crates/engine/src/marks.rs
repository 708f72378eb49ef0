//! High-water marks: what keeps a receiver from applying a message twice, and from passing over a lost one.

use bytes::{BufMut, Bytes, BytesMut};
use daybook_events::Shard;
use hashbrown::HashMap;

use crate::PARTITIONS;
use crate::codec::{Corrupt, Reader, put_text};

/// Senders that one part may hear from: bounds the memory of its marks.
const INSTANCES_MAX: usize = 256;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    /// 0: nothing seen yet; senders begin at 1.
    incarnation: u32,
    seq: u64,
}

/// The last number applied of every shard that sends to this partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    by_instance: HashMap<String, [Mark; PARTITIONS as usize]>,
}

/// What the number of a message says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Apply,
    Duplicate,
    /// The message before it has not come: the sender will go back.
    Gap {
        mark: u64,
    },
    /// A shard that cannot be.
    Invalid,
}

impl Marks {
    /// Judges a number without moving the mark.
    pub fn judge(&self, shard: &Shard, accepts_first: bool) -> Verdict {
        if shard.partition >= PARTITIONS || shard.incarnation == 0 || shard.prev >= shard.seq {
            return Verdict::Invalid;
        }
        let mark = self.mark(shard);
        let seen = Mark { incarnation: shard.incarnation, seq: shard.seq };
        if mark.incarnation == 0 {
            let known = self.by_instance.contains_key(&*shard.instance);
            if !known && self.by_instance.len() >= INSTANCES_MAX {
                return Verdict::Invalid;
            }
            return if shard.prev == 0 || accepts_first { Verdict::Apply } else { Verdict::Gap { mark: 0 } };
        }
        if seen <= mark {
            return Verdict::Duplicate;
        }
        // A risen incarnation begins its chain anew, so its first number has no predecessor.
        let reached = if shard.incarnation == mark.incarnation { mark.seq } else { 0 };
        if shard.prev <= reached { Verdict::Apply } else { Verdict::Gap { mark: mark.seq } }
    }

    pub fn advance(&mut self, shard: &Shard) {
        let mark = Mark { incarnation: shard.incarnation, seq: shard.seq };
        let marks = self.by_instance.entry_ref(&*shard.instance).or_default();
        marks[usize::from(shard.partition)] = mark;
    }

    fn mark(&self, shard: &Shard) -> Mark {
        self.by_instance.get(&*shard.instance).map_or_else(Mark::default, |marks| marks[usize::from(shard.partition)])
    }

    pub fn encode(&self) -> Bytes {
        let mut names: Vec<_> = self.by_instance.iter().collect();
        names.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let mut out = BytesMut::with_capacity(names.len() * 128);
        out.put_u16(u16::try_from(names.len()).unwrap_or(u16::MAX));
        for (name, marks) in names {
            put_text(&mut out, name);
            for mark in marks {
                out.put_u32(mark.incarnation);
                out.put_u64(mark.seq);
            }
        }
        out.freeze()
    }

    /// # Errors
    /// When the bytes are not what [`Marks::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut marks = Self::default();
        if bytes.is_empty() {
            return Ok(marks);
        }
        let mut reader = Reader::new(bytes);
        for _ in 0..reader.u16()? {
            let name = reader.text()?.into();
            let mut of_instance = [Mark::default(); PARTITIONS as usize];
            for mark in &mut of_instance {
                *mark = Mark { incarnation: reader.u32()?, seq: reader.u64()? };
            }
            marks.by_instance.insert(name, of_instance);
        }
        Ok(marks)
    }
}

/// The last number that a shard gave to a message for each output partition: the next one's `prev`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LastNumbers {
    by_topic: HashMap<String, [u64; PARTITIONS as usize]>,
}

impl LastNumbers {
    /// Notes `seq` and answers the one before it.
    pub fn replace(&mut self, topic: &str, partition: u16, seq: u64) -> u64 {
        let numbers = self.by_topic.entry_ref(topic).or_default();
        std::mem::replace(&mut numbers[usize::from(partition % PARTITIONS)], seq)
    }

    /// The last number given to a message for this output partition; 0 before the first.
    pub fn get(&self, topic: &str, partition: u16) -> u64 {
        self.by_topic.get(topic).map_or(0, |numbers| numbers[usize::from(partition % PARTITIONS)])
    }

    pub fn encode(&self) -> Bytes {
        let mut topics: Vec<_> = self.by_topic.iter().collect();
        topics.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let mut out = BytesMut::with_capacity(topics.len() * 128);
        out.put_u16(u16::try_from(topics.len()).unwrap_or(u16::MAX));
        for (topic, numbers) in topics {
            put_text(&mut out, topic);
            for number in numbers {
                out.put_u64(*number);
            }
        }
        out.freeze()
    }

    /// # Errors
    /// When the bytes are not what [`LastNumbers::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut last = Self::default();
        if bytes.is_empty() {
            return Ok(last);
        }
        let mut reader = Reader::new(bytes);
        for _ in 0..reader.u16()? {
            let topic = reader.text()?.into();
            let mut numbers = [0; PARTITIONS as usize];
            for number in &mut numbers {
                *number = reader.u64()?;
            }
            last.by_topic.insert(topic, numbers);
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(incarnation: u32, prev: u64, seq: u64) -> Shard {
        Shard { instance: "courses".into(), partition: 3, incarnation, seq, prev }
    }

    fn after(seen: &[(u32, u64, u64)]) -> Marks {
        let mut marks = Marks::default();
        for &(incarnation, prev, seq) in seen {
            marks.advance(&shard(incarnation, prev, seq));
        }
        marks
    }

    #[test]
    fn a_number_is_applied_once_and_in_its_chain() {
        let marks = after(&[(1, 0, 4), (1, 4, 9)]);
        assert_eq!(marks.judge(&shard(1, 4, 9), false), Verdict::Duplicate);
        assert_eq!(marks.judge(&shard(1, 0, 4), false), Verdict::Duplicate);
        assert_eq!(marks.judge(&shard(1, 9, 12), false), Verdict::Apply);
        assert_eq!(marks.judge(&shard(1, 12, 13), false), Verdict::Gap { mark: 9 });
    }

    #[test]
    fn the_first_number_needs_no_predecessor_unless_the_part_came_late() {
        let marks = Marks::default();
        assert_eq!(marks.judge(&shard(1, 0, 7), false), Verdict::Apply);
        assert_eq!(marks.judge(&shard(1, 5, 7), false), Verdict::Gap { mark: 0 });
        assert_eq!(marks.judge(&shard(1, 5, 7), true), Verdict::Apply);
    }

    #[test]
    fn a_risen_incarnation_begins_anew_and_the_old_one_is_over() {
        let marks = after(&[(2, 0, 5)]);
        assert_eq!(marks.judge(&shard(1, 5, 900), false), Verdict::Duplicate);
        assert_eq!(marks.judge(&shard(3, 0, 1), false), Verdict::Apply);
        assert_eq!(marks.judge(&shard(3, 1, 2), false), Verdict::Gap { mark: 5 });
    }

    #[test]
    fn a_shard_that_cannot_be_is_invalid() {
        let mut impossible = shard(1, 0, 1);
        impossible.partition = PARTITIONS;
        assert_eq!(Marks::default().judge(&impossible, true), Verdict::Invalid);
        assert_eq!(Marks::default().judge(&shard(1, 5, 5), true), Verdict::Invalid);
    }

    #[test]
    fn marks_and_numbers_survive_their_encoding() {
        let marks = after(&[(1, 0, 4), (2, 0, 9)]);
        assert_eq!(Marks::decode(&marks.encode()), Ok(marks.clone()));
        assert!(Marks::decode(&marks.encode()[..20]).is_err());
        let mut last = LastNumbers::default();
        assert_eq!(last.replace("learning.course.events.v1", 2, 7), 0);
        assert_eq!(last.replace("learning.course.events.v1", 2, 9), 7);
        assert_eq!(LastNumbers::decode(&last.encode()), Ok(last));
    }
}
