//! What a part last published, kept with its group offset: the check that the database is not behind the book.

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
    fn a_witness_survives_as_text_and_compares_by_incarnation_first() {
        let witness = Witness { incarnation: 2, out_seq: 17 };
        assert_eq!(witness.to_string().parse(), Ok(witness));
        assert_eq!("".parse::<Witness>(), Err(()));
        assert!(witness > Witness { incarnation: 1, out_seq: 900 });
    }
}
