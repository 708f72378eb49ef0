//! The closing replies that a saga owes.

use std::borrow::Cow;

use daybook_engine::{Context, Emit, Fault, Incoming, Output, PendingReply};
use daybook_events::{Message, Rejected};

use crate::definition::encoded;
use crate::instance::Owed;

pub(crate) fn reply_emit(owed: &Owed, type_name: &'static str, body: Vec<u8>) -> Emit {
    Emit {
        topic: Cow::Owned(owed.reply.to.topic.to_string()),
        key: owed.reply.to.key,
        type_name,
        body,
        id: None,
        reply_to: None,
        reply_for: Some(owed.reply.command_id),
        thread: Some(owed.thread.clone()),
    }
}

/// The reply that a message asked for, if it did.
pub(crate) fn owed(incoming: &Incoming<'_>, cx: &Context) -> Option<Owed> {
    let to = incoming.header.reply_to.clone()?;
    let command = incoming.writer.full_name().to_owned();
    let reply = PendingReply { to, command_id: incoming.header.message_id, command };
    Some(Owed { reply, thread: cx.thread.clone() })
}

/// Refuses a command.
pub(crate) fn reject(out: &mut Output, owed: &Owed, code: &str) -> Result<(), Fault> {
    let rejected = Rejected {
        key_text: owed.reply.to.key.to_string(),
        command: owed.reply.command.clone(),
        code: code.to_owned(),
        detail: None,
    };
    let body = encoded(&rejected)?;
    out.rejected = true;
    out.messages.push(reply_emit(owed, Rejected::FULL_NAME, body));
    Ok(())
}
