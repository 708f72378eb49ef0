//! What a part tells with its group offset: what it last published, for the check that the database is not behind the book, and
//! whether it waits for somebody itself.

use std::fmt;
use std::str::FromStr;

/// The last number that a shard had given when the offset was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Witness {
    pub incarnation: u32,
    pub out_seq: u64,
}

/// A group's offset of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub partition: u16,
    pub next: i64,
    /// `None` where somebody else committed it.
    pub witness: Option<Witness>,
    /// Something of what was read before `next` is put off, because whom it asked lags.
    pub waits: bool,
}

/// After the witness in an offset's metadata.
const WAITS: &str = ":waits";

impl Committed {
    pub(crate) fn read(partition: u16, next: i64, metadata: &str) -> Self {
        let before = metadata.strip_suffix(WAITS);
        Self { partition, next, witness: before.unwrap_or(metadata).parse().ok(), waits: before.is_some() }
    }

    pub(crate) fn metadata(&self) -> String {
        let witness = self.witness.map(|witness| witness.to_string()).unwrap_or_default();
        if self.waits { witness + WAITS } else { witness }
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.incarnation, self.out_seq)
    }
}

impl FromStr for Witness {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (incarnation, out_seq) = text.split_once(':').ok_or(())?;
        Ok(Self { incarnation: incarnation.parse().map_err(|_| ())?, out_seq: out_seq.parse().map_err(|_| ())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_as_it_was_written_and_that_of_others_says_nothing() {
        let witness = Some(Witness { incarnation: 1, out_seq: 77 });
        for waits in [false, true] {
            let committed = Committed { partition: 5, next: 12, witness, waits };
            assert_eq!(Committed::read(5, 12, &committed.metadata()), committed);
        }
        let of_others = Committed { partition: 5, next: 12, witness: None, waits: false };
        assert_eq!(Committed::read(5, 12, "by hand"), of_others);
    }

    #[test]
    fn a_witness_survives_as_text_and_compares_by_incarnation_first() {
        let witness = Witness { incarnation: 2, out_seq: 17 };
        assert_eq!(witness.to_string().parse(), Ok(witness));
        assert_eq!("".parse::<Witness>(), Err(()));
        assert!(witness > Witness { incarnation: 1, out_seq: 900 });
    }
}
