//! The saga as the engine sees it: an aggregate on its inbox, one row for each instance.

use daybook_engine::{
    Context, Emit, Fault, Incoming, Input, Leaf, Output, PartKind, Participant, Row, RowKey, Rows, Spec,
};
use daybook_events::{Message, OperatorActed};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::definition::{ClosingEvent, Silence, encoded};
use crate::flaw::Flaw;
use crate::flow::Flow;
use crate::instance::{Direction, Instance, Phase, Wake};
use crate::notes::HistoryRow;
use crate::replies::{owed, reject, reply_emit};
use crate::verbs::Order;
use crate::{Saga, Start, codes};

/// The typed data of an instance: what its steps have to know of each other.
pub trait SagaData: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}
impl<D: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> SagaData for D {}

/// The versions of one saga, side by side: starts take the newest, instances stay with their own.
pub struct Versions<D> {
    newest: Saga<D>,
    older: Vec<Saga<D>>,
    spec: Spec,
    flaw: Option<Flaw>,
}

impl<D: SagaData> Versions<D> {
    pub fn of(newest: Saga<D>) -> Self {
        let spec = spec_of(&newest, &[]);
        Self { newest, older: Vec::new(), spec, flaw: None }
    }

    /// Keeps an older version for the instances that still follow it. All versions share the type of
    /// their data, read by serde: a newer field has a default.
    ///
    /// # Panics
    /// When it is not an older version of the same saga.
    #[must_use]
    pub fn and(mut self, older: Saga<D>) -> Self {
        assert_eq!(older.name, self.newest.name, "versions of one saga have one name");
        assert!(older.version < self.newest.version, "version {} is not older", older.version);
        self.older.push(older);
        self.spec = spec_of(&self.newest, &self.older);
        self
    }

    /// For the tests of the prover and of the simulator: takes one rule away. In a release build nothing is taken.
    #[must_use]
    pub fn flawed(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self
    }

    /// The version that new instances follow.
    pub fn newest(&self) -> &Saga<D> {
        &self.newest
    }

    pub(crate) fn definition(&self, instance: &Instance<D>) -> Result<&Saga<D>, Fault> {
        let known = std::iter::once(&self.newest)
            .chain(&self.older)
            .find(|saga| saga.version == instance.version && saga.steps.len() == instance.steps.len());
        known.ok_or_else(|| Fault::with("unknown-saga-version", format!("version {}", instance.version)))
    }

    fn message(&self, incoming: &Incoming<'_>, mut at: At<'_, '_>) -> Result<(), Fault> {
        if let Some(reply_for) = incoming.header.reply_for {
            return self.reply(incoming, reply_for, at);
        }
        let full_name = incoming.writer.full_name();
        if full_name == self.newest.start_full_name {
            return self.start(incoming, &mut at);
        }
        if let Some(cancel) = self.newest.cancel.as_ref().filter(|cancel| cancel.full_name == full_name) {
            let never = (cancel.never)(incoming.writer, incoming.body, incoming.key)?;
            return self.cancel(incoming, &never, &mut at);
        }
        Err(Fault::with("unknown-message", format!("{full_name} is nothing for this saga")))
    }

    fn start(&self, incoming: &Incoming<'_>, at: &mut At<'_, '_>) -> Result<(), Fault> {
        let saga = &self.newest;
        let before = at.load::<D>()?;
        let round = before.as_ref().map_or(1, |(instance, _)| instance.round + 1);
        let start = Start { now: at.cx.now, round };
        let data = (saga.begin)(incoming.writer, incoming.body, incoming.key, &start)?;
        let owed = owed(incoming, at.cx);
        if let Some(code) = before.as_ref().and_then(|(instance, _)| self.refusal(instance)) {
            at.out.rejected = true;
            return owed.map_or(Ok(()), |owed| reject(at.out, &owed, code));
        }
        let names: Vec<&str> = saga.steps.iter().map(|step| step.name).collect();
        let mut instance = Instance::new(saga.version, round, Some(data), &names, at.cx.thread.clone());
        instance.start = owed;
        let number = before.map_or(0, |(_, number)| number);
        self.run(saga, instance, number, at, |flow| {
            flow.note_start(incoming.writer.full_name())?;
            flow.forward(0)
        })
    }

    /// Why this instance cannot be started (again) now.
    fn refusal(&self, instance: &Instance<D>) -> Option<&'static str> {
        match instance.phase {
            Phase::Running | Phase::Compensating => Some(codes::ALREADY_RUNNING),
            _ if self.newest.cancel.is_none() => None,
            Phase::Canceled => Some(codes::CANCELED),
            Phase::Done | Phase::Compensated | Phase::Failed => Some(codes::ALREADY_ENDED),
        }
    }

    fn cancel(&self, incoming: &Incoming<'_>, never: &ClosingEvent, at: &mut At<'_, '_>) -> Result<(), Fault> {
        let owed = owed(incoming, at.cx);
        if let Some((instance, number)) = at.load::<D>()?.filter(|(instance, _)| instance.data.is_some()) {
            let saga = self.definition(&instance)?;
            return self.run(saga, instance, number, at, |flow| flow.cancel(owed));
        }
        // Never started: a tombstone, so that a start that comes after it is rejected.
        let first = at.load::<D>()?.is_none();
        if first {
            let mut tombstone = Instance::<D>::new(self.newest.version, 1, None, &[], at.cx.thread.clone());
            tombstone.phase = Phase::Canceled;
            tombstone.cancel_closed = true;
            at.rows.put(RowKey::entity(at.key), tombstone.write(1)?);
            at.out.messages.push(Emit {
                topic: never.topic.into(),
                key: never.key,
                type_name: never.type_name,
                body: never.body.clone(),
                id: None,
                reply_to: None,
                reply_for: None,
                thread: None,
            });
        }
        if let Some(owed) = owed {
            at.out.messages.push(reply_emit(&owed, never.type_name, never.body.clone()));
        }
        Ok(())
    }

    fn reply(&self, incoming: &Incoming<'_>, reply_for: Uuid, mut at: At<'_, '_>) -> Result<(), Fault> {
        match at.load::<D>()?.filter(|(instance, _)| instance.data.is_some()) {
            Some((instance, number)) => {
                let saga = self.definition(&instance)?;
                self.run(saga, instance, number, &mut at, |flow| flow.answer(incoming, reply_for))
            }
            None => at.note_stray(incoming, reply_for),
        }
    }

    fn control(&self, incoming: &Incoming<'_>, mut at: At<'_, '_>) -> Result<(), Fault> {
        let order = Order::read(incoming)?;
        let Some((instance, number)) = at.load::<D>()?.filter(|(instance, _)| instance.data.is_some()) else {
            let acted = order.acted(self.newest.name, at.key, codes::UNKNOWN_SAGA);
            at.out.messages.push(Emit {
                topic: OperatorActed::TOPIC.into(),
                key: at.key,
                type_name: OperatorActed::FULL_NAME,
                body: encoded(&acted)?,
                id: None,
                reply_to: None,
                reply_for: None,
                thread: None,
            });
            return Ok(());
        };
        let saga = self.definition(&instance)?;
        self.run(saga, instance, number, &mut at, |flow| {
            let outcome = flow.order(&order)?;
            flow.note_order(&order, outcome)
        })
    }

    fn due(&self, mut at: At<'_, '_>) -> Result<(), Fault> {
        let Some((instance, number)) = at.load::<D>()? else { return Ok(()) };
        if instance.data.is_none() {
            at.rows.put(RowKey::entity(at.key), instance.write(number)?);
            return Ok(());
        }
        let saga = self.definition(&instance)?;
        self.run(saga, instance, number, &mut at, |flow| flow.wake())
    }

    fn run(
        &self,
        saga: &Saga<D>,
        mut instance: Instance<D>,
        number: u64,
        at: &mut At<'_, '_>,
        act: impl FnOnce(&mut Flow<'_, D>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut flow = Flow {
            saga,
            id: at.key,
            it: &mut instance,
            cx: at.cx,
            out: at.out,
            notes: Vec::new(),
            ended: false,
            flaw: self.flaw,
        };
        act(&mut flow)?;
        let events = flow.conclude()?;
        at.rows.put(RowKey::entity(at.key), instance.write(number + events)?);
        Ok(())
    }
}

/// One input's surroundings.
struct At<'a, 'r> {
    key: Uuid,
    rows: &'a mut Rows<'r>,
    cx: &'a Context,
    out: &'a mut Output,
}

impl At<'_, '_> {
    fn load<D: SagaData>(&self) -> Result<Option<(Instance<D>, u64)>, Fault> {
        let row: Option<Row> = self.rows.get(RowKey::entity(self.key))?;
        row.map(|row| Ok((Instance::read(&row)?, row.number))).transpose()
    }

    /// An answer to something that this saga never asked.
    fn note_stray(&mut self, incoming: &Incoming<'_>, reply_for: Uuid) -> Result<(), Fault> {
        let row = HistoryRow {
            at: self.cx.now,
            what: "late",
            command_id: Some(reply_for),
            answer_type: Some(incoming.writer.full_name()),
            state: "unknown",
            cause: self.cx.message_id,
            ..HistoryRow::default()
        };
        self.out.history.push(serde_json::to_string(&row).map_err(|_| Fault::new("history-unwritable"))?);
        Ok(())
    }
}

impl<D: SagaData> Leaf for Versions<D> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn parts(&self, _input: &Input<'_>, _parts: &mut Vec<Uuid>) {}

    fn handle(&self, input: &Input<'_>, rows: &mut Rows<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault> {
        let at = At { key: input.key(), rows, cx, out };
        match input {
            Input::Message(incoming) => self.message(incoming, at),
            Input::Control(incoming) => self.control(incoming, at),
            Input::Due { .. } => self.due(at),
            Input::Concluded { .. } => Err(Fault::with("effect-in-saga", "a saga has no effects")),
        }
    }

    /// Where silence changes the course of the saga. An alarm changes nothing, and a participant that lags is worth one.
    fn awaits(&self, row: &Row) -> Option<Participant> {
        let instance = Instance::<D>::read(row).ok()?;
        let awaited = instance.awaited.as_ref().filter(|awaited| matches!(awaited.wake, Wake::Deadline(_)))?;
        let step = self.definition(&instance).ok()?.steps.get(awaited.step)?;
        match (awaited.direction, step.silence) {
            (Direction::Do, Silence::Undo { .. } | Silence::GoOn { .. }) => {
                Some(Participant { topic: step.ask.topic, key: instance.steps.get(awaited.step)?.key? })
            }
            (Direction::Do, Silence::Alarm { .. }) | (Direction::Undo, _) => None,
        }
    }
}

fn spec_of<D>(newest: &Saga<D>, older: &[Saga<D>]) -> Spec {
    let mut outputs = vec![newest.events, OperatorActed::TOPIC];
    for step in std::iter::once(newest).chain(older).flat_map(|saga| &saga.steps) {
        outputs.push(step.ask.topic);
    }
    outputs.sort_unstable();
    outputs.dedup();
    Spec {
        name: newest.name,
        kind: PartKind::Saga,
        input: newest.inbox,
        control: Spec::control_topic(PartKind::Saga, newest.name, newest.inbox),
        outputs,
        tables: Vec::new(),
        effects: None,
    }
}
