use daybook_engine::{Fault, Incoming};
use daybook_events::{DecodeError, Family};

use crate::faults::{KEY_MISMATCH, UNDECODABLE, UNKNOWN_MESSAGE, fault};

/// What a part reads from its topic. Every topic's family of messages is it; a part that takes any record
/// (the replies of all commands, say) implements it for a type of its own.
pub trait Readable: Sized + Send + Sync + 'static {
    /// The topic.
    const INPUT: &'static str;

    /// # Errors
    /// The fault under which the record is parked.
    fn read(incoming: &Incoming<'_>) -> Result<Self, Fault>;
}

impl<F: Family> Readable for F {
    const INPUT: &'static str = F::TOPIC;

    fn read(incoming: &Incoming<'_>) -> Result<Self, Fault> {
        let message: F = decode(incoming)?;
        if message.key() != incoming.key {
            return Err(fault(KEY_MISMATCH, message.full_name()));
        }
        Ok(message)
    }
}

fn decode<F: Family>(incoming: &Incoming<'_>) -> Result<F, Fault> {
    F::decode(incoming.writer, incoming.body).map_err(|error| match error {
        DecodeError::Unexpected { found } => fault(UNKNOWN_MESSAGE, found),
        other => fault(UNDECODABLE, other.to_string()),
    })
}
