//! What can happen next.

use uuid::Uuid;

use crate::instance::Direction;

/// A reply on its way to the saga, or one that has been there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reply {
    pub(crate) step: usize,
    pub(crate) direction: Direction,
    pub(crate) reply_for: Uuid,
    pub(crate) full_name: &'static str,
    pub(crate) body: Vec<u8>,
    /// It says that the command was carried out.
    pub(crate) well: bool,
}

/// How a participant answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With this one of the command's closing events.
    Closing(usize),
    Rejected,
    /// An operator of the participant threw the command away.
    Discarded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Retry,
    Skip,
    Compensate,
    Cancel,
}

/// One thing that can happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Start,
    Cancel,
    /// The participant at this place takes its next command.
    Work {
        place: (String, Uuid),
        answer: Answer,
    },
    /// The reply with this number arrives.
    Deliver(usize),
    /// A reply that arrived before arrives once more.
    Repeat(usize),
    /// The due time of the row comes.
    Due,
    Order(Verb),
}
