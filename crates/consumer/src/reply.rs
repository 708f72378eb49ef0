//! Messages that go out: events, replies, and which event closes which command.

use daybook_engine::{Emit, Fault, PendingReply};
use daybook_events::{Family, Message, Rejected, ReplyTo, descriptor};
use uuid::Uuid;

use crate::Rejection;
use crate::faults::{UNENCODABLE, fault};

/// A command that has to be closed, and who is waiting for that.
pub(crate) struct Obligation {
    /// Full name of the command's type.
    pub(crate) command: String,
    pub(crate) reply: Option<PendingReply>,
}

impl Obligation {
    pub(crate) fn new(command: &'static str, id: Uuid, reply_to: Option<&ReplyTo>) -> Self {
        let reply = reply_to.map(|to| PendingReply { to: to.clone(), command_id: id, command: command.to_owned() });
        Self { command: command.to_owned(), reply }
    }

    /// The rest of an obligation that an effect took over.
    pub(crate) fn carried(reply: Option<&PendingReply>) -> Option<Self> {
        reply.map(|reply| Self { command: reply.command.clone(), reply: Some(reply.clone()) })
    }

    pub(crate) fn closed_by<'e, E: Family>(&self, events: &'e [E]) -> Option<&'e E> {
        let closing = descriptor(&self.command).map_or(&[][..], |command| command.closing);
        events.iter().find(|event| closing.contains(&event.full_name()))
    }
}

/// An event for the book.
pub(crate) fn event<E: Family>(event: &E) -> Result<Emit, Fault> {
    Ok(emit(E::TOPIC.into(), event.key(), event.full_name(), encode(event)?))
}

/// The closing event as the reply.
pub(crate) fn closing<E: Family>(event: &E, owed: &PendingReply) -> Result<Emit, Fault> {
    let message = emit(owed.to.topic.to_string().into(), owed.to.key, event.full_name(), encode(event)?);
    Ok(Emit { reply_for: Some(owed.command_id), ..message })
}

/// A rejection as the reply.
pub(crate) fn rejected(key: Uuid, rejection: &Rejection, owed: &PendingReply) -> Result<Emit, Fault> {
    let reply = Rejected {
        key_text: key.to_string(),
        command: owed.command.clone(),
        code: rejection.code.name.to_owned(),
        detail: rejection.detail.clone(),
    };
    let body = encode_message(&reply)?;
    let message = emit(owed.to.topic.to_string().into(), owed.to.key, Rejected::FULL_NAME, body);
    Ok(Emit { reply_for: Some(owed.command_id), ..message })
}

/// A message with nothing but what every message has.
pub(crate) fn emit(topic: std::borrow::Cow<'static, str>, key: Uuid, type_name: &'static str, body: Vec<u8>) -> Emit {
    Emit { topic, key, type_name, body, id: None, reply_to: None, reply_for: None, thread: None }
}

pub(crate) fn encode_message<M: Message>(message: &M) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    daybook_events::encode(message, &mut body).map_err(|error| fault(UNENCODABLE, error.to_string()))?;
    Ok(body)
}

fn encode<E: Family>(event: &E) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    event.encode(&mut body).map_err(|error| fault(UNENCODABLE, error.to_string()))?;
    Ok(body)
}
