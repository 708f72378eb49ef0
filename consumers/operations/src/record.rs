//! What the inbox of operations brings: acceptances, and replies of whatever type.

use daybook_consumer::{Fault, Incoming, Readable};
use daybook_events::{
    CaptureFailed, DecodeError, Descriptor, Discarded, Family, Kind, LearnerNotEnrolled, LearnerNotWithdrawn, Message,
    NotificationFailed, OperationAccepted, OperationInbox, PaymentDeclined, PaymentNotCollected, RefundFailed,
    Rejected, descriptor,
};
use serde_json::{Map, Value};

/// The closing events that say no; each has a `code`, or a `reason` for one.
const FAILURES: [&str; 9] = [
    Rejected::FULL_NAME,
    Discarded::FULL_NAME,
    LearnerNotEnrolled::FULL_NAME,
    LearnerNotWithdrawn::FULL_NAME,
    PaymentDeclined::FULL_NAME,
    PaymentNotCollected::FULL_NAME,
    CaptureFailed::FULL_NAME,
    RefundFailed::FULL_NAME,
    NotificationFailed::FULL_NAME,
];

/// A record of the inbox.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationRecord {
    /// The façade has answered for a command.
    Accepted(OperationAccepted),
    /// The command is closed.
    Closed(Closing),
}

/// A closing event, whatever its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    /// Full name of its type.
    pub type_name: &'static str,
    /// Its fields but those that are sealed.
    pub fields: Map<String, Value>,
}

impl Readable for OperationRecord {
    const INPUT: &'static str = OperationInbox::TOPIC;

    fn read(incoming: &Incoming<'_>) -> Result<Self, Fault> {
        let full_name = incoming.writer.full_name();
        if full_name == OperationAccepted::FULL_NAME {
            let OperationInbox::OperationAccepted(accepted) = OperationInbox::read(incoming)?;
            return Ok(Self::Accepted(accepted));
        }
        // A reply travels under the key that was asked for, not under one of its fields: there is nothing to compare.
        match descriptor(full_name).filter(|descriptor| descriptor.kind == Kind::Event) {
            Some(descriptor) => Closing::read(descriptor, incoming).map(Self::Closed),
            None => Err(Fault::with("unknown-message", full_name)),
        }
    }
}

impl Closing {
    fn read(descriptor: &'static Descriptor, incoming: &Incoming<'_>) -> Result<Self, Fault> {
        let undecodable = |error: DecodeError| Fault::with("undecodable", error.to_string());
        let mut fields = match (descriptor.to_json)(incoming.writer, incoming.body).map_err(undecodable)? {
            Value::Object(fields) => fields,
            _ => return Err(Fault::with("undecodable", format!("{} is no record", descriptor.full_name))),
        };
        for sealed in descriptor.sealed {
            fields.remove(sealed.field);
        }
        Ok(Self { type_name: descriptor.full_name, fields })
    }

    /// Whether what was asked for was done.
    pub fn succeeded(&self) -> bool {
        !FAILURES.contains(&self.type_name)
    }

    /// Why not.
    pub fn code(&self) -> Option<String> {
        let is_discarded = self.type_name == Discarded::FULL_NAME;
        let field = if is_discarded { "reason" } else { "code" };
        if self.succeeded() { None } else { self.text(field) }
    }

    /// A sentence on why not.
    pub fn detail(&self) -> Option<String> {
        if self.type_name == Rejected::FULL_NAME { self.text("detail") } else { None }
    }

    /// Full name of the command that is closed, where the closing event tells it.
    pub fn command(&self) -> Option<String> {
        let tells = [Rejected::FULL_NAME, Discarded::FULL_NAME].contains(&self.type_name);
        if tells { self.text("command") } else { None }
    }

    fn text(&self, field: &str) -> Option<String> {
        let text = self.fields.get(field)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    }
}
