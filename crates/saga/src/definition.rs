//! A saga as a value: what the builder makes, and what the flow follows.

use daybook_engine::Fault;
use daybook_events::{Closing, Command, Message, Timestamp, Writer};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids;

/// What a step's functions may know besides the saga's data.
#[derive(Clone, Debug)]
pub struct StepContext {
    /// The batch's time, by the database's clock.
    pub now: Timestamp,
    /// Name of the saga.
    pub saga: &'static str,
    /// Name of the step.
    pub step: &'static str,
    /// The instance: key of the saga's inbox.
    pub instance_id: Uuid,
    /// Which run of this instance, from 1.
    pub round: i64,
}

impl StepContext {
    /// An id for whatever the step makes: the same at every attempt, another one in every round.
    pub fn stable_id(&self) -> Uuid {
        ids::step(self.saga, self.instance_id, self.round, self.step)
    }
}

/// What `begin` may know besides the command.
#[derive(Clone, Debug)]
pub struct Start {
    /// The batch's time, by the database's clock.
    pub now: Timestamp,
    /// Which run of this instance, from 1.
    pub round: i64,
}

/// Why a saga is undone, or ended without success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step at which it was decided.
    pub step: String,
    /// Kebab-case: code of the rejection, or one of [`crate::codes`].
    pub code: String,
    /// A sentence for people; nobody's personal data.
    pub detail: Option<String>,
}

/// A closing event that says that the step has not been done: it counts as a rejection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: String,
    pub detail: Option<String>,
}

impl Refused {
    pub fn new(code: impl Into<String>) -> Self {
        Self { code: code.into(), detail: None }
    }
}

/// A step of the saga at hand, to be named by later steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepId(pub(crate) usize);

/// What happens when a step is not answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The saga waits on, and shows that it does.
    Alarm { after_ms: i64 },
    /// The saga is undone, this step included.
    Undo { after_ms: i64 },
    /// The step is given up, and the saga goes on: best effort.
    GoOn { after_ms: i64 },
}

impl Silence {
    pub(crate) fn after_ms(self) -> i64 {
        match self {
            Self::Alarm { after_ms } | Self::Undo { after_ms } | Self::GoOn { after_ms } => after_ms,
        }
    }
}

/// A command ready to be sent.
pub(crate) struct Prepared {
    pub(crate) key: Uuid,
    pub(crate) body: Vec<u8>,
}

/// A closing event ready to be published.
#[derive(Debug)]
pub(crate) struct ClosingEvent {
    pub(crate) type_name: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) key: Uuid,
    pub(crate) body: Vec<u8>,
}

impl ClosingEvent {
    pub(crate) fn of<E: Message>(event: &E) -> Result<Self, Fault> {
        Ok(Self { type_name: E::FULL_NAME, topic: E::TOPIC, key: event.key(), body: encoded(event)? })
    }
}

type Build<D> = Box<dyn Fn(&D, &StepContext) -> Result<Prepared, Fault> + Send + Sync>;
pub(crate) type Take<D> = Box<dyn Fn(&mut D, &Writer, &[u8]) -> Result<Result<(), Refused>, Fault> + Send + Sync>;

/// A command that a saga sends, with what it makes of the answer.
pub(crate) struct Ask<D> {
    pub(crate) command: &'static str,
    pub(crate) full_name: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) closing: &'static [&'static str],
    pub(crate) build: Build<D>,
    /// Takes a closing event, or says that it is a refusal.
    pub(crate) take: Take<D>,
}

impl<D: 'static> Ask<D> {
    pub(crate) fn new<C: Command>(send: fn(&D, &StepContext) -> C, take: Take<D>) -> Self {
        Self {
            command: C::NAME,
            full_name: C::FULL_NAME,
            topic: C::TOPIC,
            closing: C::Closing::NAMES,
            build: Box::new(move |data, context| {
                let command = send(data, context);
                Ok(Prepared { key: command.key(), body: encoded(&command)? })
            }),
            take,
        }
    }

    /// Takes the closing event by `on`.
    pub(crate) fn taking<C: Command>(on: fn(&mut D, C::Closing) -> Result<(), Refused>) -> Take<D> {
        Box::new(move |data, writer, body| match C::Closing::decode(writer, body) {
            None => Err(unexpected_reply(writer)),
            Some(Err(error)) => Err(undecodable(&error)),
            Some(Ok(closing)) => Ok(on(data, closing)),
        })
    }

    /// Any closing event will do.
    pub(crate) fn acknowledging<C: Command>() -> Take<D> {
        Box::new(|_, writer, _| match C::Closing::NAMES.contains(&writer.full_name()) {
            true => Ok(Ok(())),
            false => Err(unexpected_reply(writer)),
        })
    }
}

/// How what a step has done is made not so.
pub(crate) enum Undoing<D> {
    /// Not at all: it is beyond the pivot, or best effort.
    Never,
    By(Ask<D>),
    /// The undo of that earlier step undoes this one too.
    CoveredBy(StepId),
}

pub(crate) struct Step<D> {
    pub(crate) name: &'static str,
    pub(crate) ask: Ask<D>,
    pub(crate) only_if: Option<fn(&D) -> bool>,
    pub(crate) undoing: Undoing<D>,
    pub(crate) pivot: bool,
    pub(crate) silence: Silence,
    /// Nothing later needs what the answer says, so an operator may go on without it.
    pub(crate) skippable: bool,
}

impl<D> Step<D> {
    pub(crate) fn is_best_effort(&self) -> bool {
        matches!(self.silence, Silence::GoOn { .. })
    }

    pub(crate) fn undo(&self) -> Option<&Ask<D>> {
        match &self.undoing {
            Undoing::By(ask) => Some(ask),
            Undoing::Never | Undoing::CoveredBy(_) => None,
        }
    }

    pub(crate) fn undone_with(&self, other: usize) -> bool {
        matches!(self.undoing, Undoing::CoveredBy(StepId(cover)) if cover == other)
    }

    pub(crate) fn can_be_undone(&self) -> bool {
        self.is_best_effort() || !matches!(self.undoing, Undoing::Never)
    }
}

pub(crate) type Begin<D> = Box<dyn Fn(&Writer, &[u8], Uuid, &Start) -> Result<D, Fault> + Send + Sync>;
pub(crate) type Finish<D> = Box<dyn Fn(&D) -> Result<ClosingEvent, Fault> + Send + Sync>;
pub(crate) type Fail<D> = Box<dyn Fn(&D, &Failure) -> Result<ClosingEvent, Fault> + Send + Sync>;
pub(crate) type Never = Box<dyn Fn(&Writer, &[u8], Uuid) -> Result<ClosingEvent, Fault> + Send + Sync>;

/// The command that makes a whole saga not so.
pub(crate) struct Cancel<D> {
    pub(crate) command: &'static str,
    pub(crate) full_name: &'static str,
    /// Reads the command; the event that closes it where the saga never started.
    pub(crate) never: Never,
    pub(crate) canceled: Finish<D>,
}

/// One version of a saga: see the [crate's documentation](crate).
pub struct Saga<D> {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) inbox: &'static str,
    pub(crate) events: &'static str,
    pub(crate) start: &'static str,
    pub(crate) start_full_name: &'static str,
    /// Names of the events that close the start: well, and otherwise.
    pub(crate) closing: [&'static str; 2],
    pub(crate) begin: Begin<D>,
    pub(crate) finish: Finish<D>,
    pub(crate) fail: Fail<D>,
    pub(crate) cancel: Option<Cancel<D>>,
    pub(crate) steps: Vec<Step<D>>,
}

impl<D> Saga<D> {
    /// Name of the saga's part.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Version that instances carry from their start to their end.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Index of the pivot, if the definition names one.
    pub(crate) fn pivot(&self) -> Option<usize> {
        self.steps.iter().position(|step| step.pivot)
    }

    /// Stable text of everything that running instances depend on: steps, commands, answers, undo and
    /// deadlines. A leaf's test compares it with what was released.
    pub fn describe(&self) -> String {
        let canceled = self.cancel.as_ref().map_or(String::new(), |cancel| format!(", canceled by {}", cancel.command));
        let [well, badly] = self.closing;
        let closing = format!("closed by {well} or {badly}");
        let mut text =
            format!("{} version {}: started by {}, {closing}{canceled}\n", self.name, self.version, self.start);
        for (step, number) in self.steps.iter().zip(1..) {
            text.push_str(&format!("{number}. {}\n", self.describe_step(step)));
        }
        text
    }

    fn describe_step(&self, step: &Step<D>) -> String {
        let short = |names: &[&'static str]| {
            names.iter().map(|name| name.rsplit('.').next().unwrap_or(name)).collect::<Vec<_>>().join(" | ")
        };
        let when = if step.only_if.is_some() { " (conditional)" } else { "" };
        let pivot = if step.pivot { " (pivot)" } else { "" };
        let undo = match &step.undoing {
            Undoing::Never => String::new(),
            Undoing::By(ask) => format!("; undo {} -> {}", ask.command, short(ask.closing)),
            Undoing::CoveredBy(StepId(index)) => format!("; undone with {}", self.steps[*index].name),
        };
        let silence = match step.silence {
            Silence::Alarm { after_ms } => format!("alarm after {after_ms} ms"),
            Silence::Undo { after_ms } => format!("undo after {after_ms} ms"),
            Silence::GoOn { after_ms } => format!("best effort, given up after {after_ms} ms"),
        };
        let skippable = if step.skippable { "; skippable" } else { "" };
        let (command, closing) = (step.ask.command, short(step.ask.closing));
        format!("{}{pivot}{when}: {command} -> {closing}{undo}; {silence}{skippable}", step.name)
    }
}

pub(crate) fn encoded<M: Message>(message: &M) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    daybook_events::encode(message, &mut body).map_err(|error| Fault::with("unencodable", error.to_string()))?;
    Ok(body)
}

pub(crate) fn decoded<M: Message>(writer: &Writer, body: &[u8], key: Uuid) -> Result<M, Fault> {
    let message: M = daybook_events::decode(writer, body).map_err(|error| undecodable(&error))?;
    match message.key() == key {
        true => Ok(message),
        false => Err(Fault::with("key-mismatch", format!("{} under the key of another", M::NAME))),
    }
}

pub(crate) fn undecodable(error: &daybook_events::DecodeError) -> Fault {
    Fault::with("undecodable", error.to_string())
}

fn unexpected_reply(writer: &Writer) -> Fault {
    Fault::with("unexpected-reply", format!("{} does not close the command that it answers", writer.full_name()))
}
