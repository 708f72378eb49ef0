//! An aggregate as the engine sees it.

use std::marker::PhantomData;

use daybook_engine::{
    Conclusion as Ended, Context, Fault, Incoming, Input, Intent, Leaf, NewIntent, Output, PartKind, RowKey, Rows, Spec,
};
use daybook_events::{Family, Message, ProviderNotice, Timestamp};
use uuid::Uuid;

use crate::faults::{NO_CLOSING_EVENT, SECOND_EFFECT, TIMER_STUCK, UNDECODABLE, UNENCODABLE, UNKNOWN_MESSAGE, fault};
use crate::reply::Obligation;
use crate::{Acts, Aggregate, Code, Conclusion, Decision, Entity, Noticed, Readable, Rejection, performer, reply};

pub(crate) struct AggregateLeaf<A, E> {
    spec: Spec,
    kinds: PhantomData<(A, E)>,
}

/// What differs between an aggregate that acts on the outside world and one that doesn't.
pub(crate) trait Effects<A: Aggregate>: Send + Sync + 'static {
    fn policy() -> Option<daybook_engine::EffectPolicy>;
    fn request(event: &A::Event) -> Result<Option<Vec<u8>>, Fault>;
    fn refusal(event: &A::Event) -> Option<Code>;
    fn parts(intent: &Intent) -> Vec<Uuid>;
    fn conclude(entity: &Entity<A>, intent: &Intent, ended: &Ended, cx: &Context) -> Result<Vec<A::Event>, Fault>;
    fn notice(entity: &Entity<A>, incoming: &Incoming<'_>, cx: &Context) -> Result<Noticed<A::Event>, Fault>;
}

/// Acts on nothing.
pub(crate) struct Still;

/// Acts on the outside world.
pub(crate) struct Acting;

impl<A: Aggregate, E: Effects<A>> AggregateLeaf<A, E> {
    pub(crate) fn new() -> Self {
        let spec = Spec {
            name: A::NAME,
            kind: PartKind::Aggregate,
            input: A::Command::TOPIC,
            control: Spec::control_topic(PartKind::Aggregate, A::NAME, A::Command::TOPIC),
            outputs: vec![A::Event::TOPIC],
            tables: Vec::new(),
            effects: E::policy(),
        };
        Self { spec, kinds: PhantomData }
    }

    fn command(
        &self,
        incoming: &Incoming<'_>,
        rows: &mut Rows<'_>,
        cx: &Context,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let command = A::Command::read(incoming)?;
        let header = incoming.header;
        let owed = Obligation::new(command.full_name(), header.message_id, header.reply_to.as_ref());
        let mut entity = Entity::<A>::load(incoming.key, A::command_parts(&command), rows)?;
        match A::decide(&entity, command, cx) {
            Err(rejection) => refuse(incoming.key, &rejection, &owed, out),
            Ok(Decision::Already(event)) => repeat(&event, &owed, out),
            Ok(Decision::Happened(events)) => {
                Self::happen(&mut entity, &events, Some(owed), out)?;
                entity.store(rows)
            }
        }
    }

    fn timer(&self, row: RowKey, rows: &mut Rows<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault> {
        let part = (!row.is_entity()).then_some(row.part);
        let mut entity = Entity::<A>::load(row.key, part, rows)?;
        if let Some(command) = due_command(&entity, part, cx.now()) {
            let name = command.full_name();
            let stuck = |why: &str| fault(TIMER_STUCK, format!("{name}: {why}"));
            let Decision::Happened(events) =
                A::decide(&entity, command, cx).map_err(|rejection| stuck(rejection.code.name))?
            else {
                return Err(stuck("it is so already"));
            };
            Self::happen(&mut entity, &events, None, out)?;
            if due_command(&entity, part, cx.now()).is_some_and(|again| again.full_name() == name) {
                return Err(stuck("it is asked for again"));
            }
        }
        // Put anew even if nothing has changed: the column may tell an older due time.
        if let Some(id) = part {
            entity.store_part(id, rows)?;
        }
        entity.store(rows)
    }

    fn concluded(
        &self,
        intent: &Intent,
        ended: &Ended,
        rows: &mut Rows<'_>,
        cx: &Context,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let mut entity = Entity::<A>::load(intent.key, E::parts(intent), rows)?;
        let events = E::conclude(&entity, intent, ended, cx)?;
        Self::happen(&mut entity, &events, Obligation::carried(intent.reply.as_ref()), out)?;
        entity.store(rows)
    }

    fn control(
        &self,
        incoming: &Incoming<'_>,
        rows: &mut Rows<'_>,
        cx: &Context,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let parts = incoming.intent.map(E::parts).unwrap_or_default();
        let mut entity = Entity::<A>::load(incoming.key, parts, rows)?;
        let noticed = E::notice(&entity, incoming, cx)?;
        let concluded = incoming.intent.filter(|_| noticed.concludes);
        let owed = concluded.and_then(|intent| Obligation::carried(intent.reply.as_ref()));
        if noticed.events.is_empty() && concluded.is_none() {
            return Ok(());
        }
        Self::happen(&mut entity, &noticed.events, owed, out)?;
        out.concludes = concluded.map(|intent| intent.id);
        entity.store(rows)
    }

    /// Folds the events in, publishes them, and closes the command that led to them, or leaves that to
    /// the effect that they ask for.
    fn happen(
        entity: &mut Entity<A>,
        events: &[A::Event],
        owed: Option<Obligation>,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let mut request = None;
        for event in events {
            entity.apply(event)?;
            out.messages.push(reply::event(event)?);
            if let Some(bytes) = E::request(event)?
                && request.replace(bytes).is_some()
            {
                return Err(fault(SECOND_EFFECT, event.full_name()));
            }
        }
        let closing = owed.as_ref().and_then(|owed| owed.closed_by(events));
        match (owed, closing, request) {
            (Some(owed), Some(event), request) => {
                if let Some(to) = &owed.reply {
                    out.messages.push(reply::closing(event, to)?);
                }
                out.intents.extend(request.map(|request| NewIntent { request, reply: None }));
            }
            (owed, None, Some(request)) => {
                let reply = owed.and_then(|owed| owed.reply);
                out.intents.push(NewIntent { request, reply });
            }
            (Some(owed), None, None) => match events.iter().find_map(E::refusal) {
                Some(code) => refuse(entity.key(), &code.into(), &owed, out)?,
                None => return Err(fault(NO_CLOSING_EVENT, owed.command)),
            },
            (None, _, None) => {}
            (None, Some(_), Some(_)) => unreachable!("only what is owed can be closed"),
        }
        Ok(())
    }
}

/// What the entity or its part asks of itself by now.
fn due_command<A: Aggregate>(entity: &Entity<A>, part: Option<Uuid>, now: Timestamp) -> Option<A::Command> {
    let due = match part {
        Some(id) => A::part_due(entity.key(), id, entity.part(id)),
        None => A::due(entity.key(), entity),
    };
    due.filter(|(at, _)| *at <= now).map(|(_, command)| command)
}

fn refuse(key: Uuid, rejection: &Rejection, owed: &Obligation, out: &mut Output) -> Result<(), Fault> {
    out.rejected = true;
    if let Some(to) = &owed.reply {
        out.messages.push(reply::rejected(key, rejection, to)?);
    }
    Ok(())
}

fn repeat<E: Family>(event: &E, owed: &Obligation, out: &mut Output) -> Result<(), Fault> {
    if owed.closed_by(std::slice::from_ref(event)).is_none() {
        return Err(fault(NO_CLOSING_EVENT, owed.command.clone()));
    }
    if let Some(to) = &owed.reply {
        out.messages.push(reply::closing(event, to)?);
    }
    Ok(())
}

impl<A: Aggregate, E: Effects<A>> Leaf for AggregateLeaf<A, E> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn parts(&self, input: &Input<'_>, parts: &mut Vec<Uuid>) {
        // Without parts there is nothing to decode the message for.
        if size_of::<A::Part>() == 0 {
            return;
        }
        match input {
            Input::Message(incoming) => {
                if let Ok(command) = A::Command::read(incoming) {
                    parts.extend(A::command_parts(&command));
                }
            }
            Input::Control(incoming) => {
                parts.extend(incoming.intent.map(E::parts).unwrap_or_default());
            }
            Input::Due { row } => parts.extend((!row.is_entity()).then_some(row.part)),
            Input::Concluded { intent, .. } => parts.extend(E::parts(intent)),
        }
    }

    fn handle(&self, input: &Input<'_>, rows: &mut Rows<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault> {
        match input {
            Input::Message(incoming) => self.command(incoming, rows, cx, out),
            Input::Control(incoming) => self.control(incoming, rows, cx, out),
            Input::Due { row } => self.timer(*row, rows, cx, out),
            Input::Concluded { intent, conclusion } => self.concluded(intent, conclusion, rows, cx, out),
        }
    }
}

impl<A: Aggregate> Effects<A> for Still {
    fn policy() -> Option<daybook_engine::EffectPolicy> {
        None
    }

    fn request(_: &A::Event) -> Result<Option<Vec<u8>>, Fault> {
        Ok(None)
    }

    fn refusal(_: &A::Event) -> Option<Code> {
        None
    }

    fn parts(_: &Intent) -> Vec<Uuid> {
        Vec::new()
    }

    fn conclude(_: &Entity<A>, _: &Intent, _: &Ended, _: &Context) -> Result<Vec<A::Event>, Fault> {
        Err(fault(UNKNOWN_MESSAGE, "the outcome of an effect, where there are none"))
    }

    fn notice(_: &Entity<A>, incoming: &Incoming<'_>, _: &Context) -> Result<Noticed<A::Event>, Fault> {
        Err(fault(UNKNOWN_MESSAGE, incoming.writer.full_name()))
    }
}

impl<A: Acts> Effects<A> for Acting {
    fn policy() -> Option<daybook_engine::EffectPolicy> {
        Some(A::EFFECTS)
    }

    fn request(event: &A::Event) -> Result<Option<Vec<u8>>, Fault> {
        let Some(request) = A::request(event) else {
            return Ok(None);
        };
        performer::encode(&request).map(Some).ok_or_else(|| fault(UNENCODABLE, "the request"))
    }

    fn refusal(event: &A::Event) -> Option<Code> {
        A::refusal(event)
    }

    fn parts(intent: &Intent) -> Vec<Uuid> {
        performer::decode::<A::Request>(&intent.request).map(|request| A::request_parts(&request)).unwrap_or_default()
    }

    fn conclude(entity: &Entity<A>, intent: &Intent, ended: &Ended, cx: &Context) -> Result<Vec<A::Event>, Fault> {
        let request = pending::<A>(intent)?;
        let conclusion = match ended {
            Ended::Answered(bytes) => {
                Conclusion::Answered(performer::decode(bytes).ok_or_else(|| fault(UNDECODABLE, "the answer"))?)
            }
            Ended::GaveUp { code } => Conclusion::GaveUp { code: code.clone() },
            Ended::Recorded(events) => return events.iter().map(|event| A::Event::read(&event.incoming())).collect(),
        };
        Ok(A::conclude(entity, request, conclusion, cx))
    }

    fn notice(entity: &Entity<A>, incoming: &Incoming<'_>, cx: &Context) -> Result<Noticed<A::Event>, Fault> {
        if incoming.writer.full_name() != ProviderNotice::FULL_NAME {
            return Err(fault(UNKNOWN_MESSAGE, incoming.writer.full_name()));
        }
        let notice: ProviderNotice = daybook_events::decode(incoming.writer, incoming.body)
            .map_err(|error| fault(UNDECODABLE, error.to_string()))?;
        let pending = incoming.intent.map(pending::<A>).transpose()?;
        Ok(A::notice(entity, pending, &notice, cx))
    }
}

fn pending<A: Acts>(intent: &Intent) -> Result<A::Request, Fault> {
    performer::decode(&intent.request).ok_or_else(|| fault(UNDECODABLE, "the request"))
}
