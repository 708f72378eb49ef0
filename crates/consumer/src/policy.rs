use std::collections::BTreeMap;
use std::marker::PhantomData;

use daybook_engine::{Context, Emit, Fault, Incoming, Input, Leaf, Output, PartKind, Rows, Spec};
use daybook_events::{Command, Discarded, Message, Rejected, ReplyTo, derive_id};
use uuid::Uuid;

use crate::faults::{COMMAND_DISCARDED, COMMAND_REJECTED, UNDECODABLE, UNKNOWN_MESSAGE, fault};
use crate::{Meta, Readable, reply};

/// When this happened, ask for that.
pub trait Policy: Sized + Send + Sync + 'static {
    /// Consumer group, schema, metric label and span name, for ever.
    const NAME: &'static str;
    /// The events of one topic.
    type Event: Readable;
    /// The topics that its commands go to.
    const OUTPUTS: &'static [&'static str];

    /// What to ask for; a few commands at most.
    fn react(event: &Self::Event, meta: &Meta<'_>) -> Vec<Ask>;
}

/// A command that a policy sends. Its id follows from the event that led to it, so that the same event never
/// asks twice.
#[derive(Debug)]
pub struct Ask {
    topic: &'static str,
    key: Uuid,
    type_name: &'static str,
    body: Result<Vec<u8>, Fault>,
}

impl Ask {
    pub fn of<C: Command>(command: &C) -> Self {
        Self { topic: C::TOPIC, key: command.key(), type_name: C::FULL_NAME, body: reply::encode_message(command) }
    }
}

pub(crate) struct PolicyLeaf<P> {
    spec: Spec,
    policy: PhantomData<P>,
}

impl<P: Policy> PolicyLeaf<P> {
    pub(crate) fn new() -> Self {
        let spec = Spec {
            name: P::NAME,
            kind: PartKind::Policy,
            input: P::Event::INPUT,
            control: Spec::control_topic(PartKind::Policy, P::NAME, P::Event::INPUT),
            outputs: P::OUTPUTS.to_vec(),
            tables: Vec::new(),
            effects: None,
        };
        Self { spec, policy: PhantomData }
    }

    fn react(&self, incoming: &Incoming<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault> {
        let event = P::Event::read(incoming)?;
        let meta = Meta::of(incoming, cx);
        let mut places = BTreeMap::<&str, u32>::new();
        for ask in P::react(&event, &meta) {
            let place = places.entry(ask.type_name).or_default();
            let id = command_id(P::NAME, meta.message_id, ask.type_name, *place);
            *place += 1;
            let reply_to = ReplyTo { topic: self.spec.control.as_str().into(), key: meta.key };
            let message = reply::emit(ask.topic.into(), ask.key, ask.type_name, ask.body?);
            out.messages.push(Emit { id: Some(id), reply_to: Some(reply_to), ..message });
        }
        Ok(())
    }
}

/// The place tells commands of one type apart that one event leads to.
fn command_id(policy: &str, cause: Uuid, type_name: &str, place: u32) -> Uuid {
    let parts: [&[u8]; 4] = [policy.as_bytes(), cause.as_bytes(), type_name.as_bytes(), &place.to_be_bytes()];
    derive_id("policy-command", &parts)
}

/// Nobody waits for the replies to a policy's commands, so a refusal is parked for an operator to see.
fn answered(incoming: &Incoming<'_>, out: &mut Output) -> Result<(), Fault> {
    if incoming.header.reply_for.is_none() {
        return Err(fault(UNKNOWN_MESSAGE, incoming.writer.full_name()));
    }
    let unreadable = |error: daybook_events::DecodeError| fault(UNDECODABLE, error.to_string());
    out.park_beside = match incoming.writer.full_name() {
        Rejected::FULL_NAME => {
            let reply: Rejected = daybook_events::decode(incoming.writer, incoming.body).map_err(unreadable)?;
            Some(fault(COMMAND_REJECTED, format!("{}: {}", reply.command, reply.code)))
        }
        Discarded::FULL_NAME => {
            let reply: Discarded = daybook_events::decode(incoming.writer, incoming.body).map_err(unreadable)?;
            Some(fault(COMMAND_DISCARDED, format!("{}: {}", reply.command, reply.reason)))
        }
        _ => None,
    };
    Ok(())
}

impl<P: Policy> Leaf for PolicyLeaf<P> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn parts(&self, _input: &Input<'_>, _parts: &mut Vec<Uuid>) {}

    fn handle(&self, input: &Input<'_>, _rows: &mut Rows<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault> {
        match input {
            Input::Message(incoming) => self.react(incoming, cx, out),
            Input::Control(incoming) => answered(incoming, out),
            Input::Due { .. } | Input::Concluded { .. } => {
                Err(fault(UNKNOWN_MESSAGE, "a policy has neither timers nor effects"))
            }
        }
    }
}
