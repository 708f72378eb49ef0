//! How a saga is written: `Saga::named(..).version(..).started_by(..).closes(..)`, then its steps.
//!
//! What can be told by types is told by types: a closing event or an undo of the wrong type, an undo in
//! another topic, a step without a deadline don't compile. The rest is checked by [`SagaBuilder::build`].

use std::marker::PhantomData;

use daybook_events::{Command, Message, Undoes};

use crate::definition::{Ask, Begin, Cancel, ClosingEvent, Silence, Step, Undoing, decoded};
use crate::{Failure, Refused, Saga, Start, StepContext, StepId};

/// Steps in one saga: a row keeps a state for each.
pub const STEPS_MAX: usize = 32;

/// A definition contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    #[error("a saga has from 1 to {STEPS_MAX} steps, not {0}")]
    Length(usize),
    #[error("two steps are called `{0}`")]
    NamedTwice(&'static str),
    #[error("step `{0}` is a second pivot")]
    SecondPivot(&'static str),
    #[error("step `{0}` comes after a best-effort one: nobody would wait for it")]
    AfterBestEffort(&'static str),
    #[error("step `{0}` can be followed by an undo, but says neither how it is undone nor what covers it")]
    NotUndoable(&'static str),
    #[error("step `{0}` undoes when it is not answered, but it is the pivot or beyond it: silence waits there")]
    UndoBeyondPivot(&'static str),
    #[error("step `{0}` is covered by one that does not come before it with an undo of its own in the same topic")]
    BadCover(&'static str),
    #[error("step `{0}` does not look at its answer, which may say that nothing was done")]
    AnswerIgnored(&'static str),
    #[error("a deadline of step `{0}` is not above zero")]
    NoTime(&'static str),
}

pub struct Named {
    name: &'static str,
}

pub struct Versioned {
    name: &'static str,
    version: u32,
}

/// A saga that knows how it begins, but not yet how it closes.
pub struct Begun<S, D> {
    versioned: Versioned,
    begin: Begin<D>,
    start: PhantomData<S>,
}

/// Takes the steps, in their order.
pub struct SagaBuilder<S, D> {
    saga: Saga<D>,
    start: PhantomData<S>,
}

impl Saga<()> {
    /// Begins a definition. The name is that of the part, for ever: `enrollment-saga`.
    pub fn named(name: &'static str) -> Named {
        Named { name }
    }
}

impl Named {
    /// Instances carry the version that they were started with to their end.
    pub fn version(self, version: u32) -> Versioned {
        Versioned { name: self.name, version }
    }
}

impl Versioned {
    /// What the saga knows when the command starts it.
    pub fn started_by<S: Command, D: 'static>(self, begin: fn(S, &Start) -> D) -> Begun<S, D> {
        let begin: Begin<D> =
            Box::new(move |writer, body, key, start| Ok(begin(decoded::<S>(writer, body, key)?, start)));
        Begun { versioned: self, begin, start: PhantomData }
    }
}

impl<S: Command, D: 'static> Begun<S, D> {
    /// The events that close the start: well, and otherwise. The first is published as soon as every
    /// step but the best-effort ones is done.
    pub fn closes<G, B>(self, finish: fn(&D) -> G, fail: fn(&D, &Failure) -> B) -> SagaBuilder<S, D>
    where
        G: Message,
        B: Message,
        S::Closing: From<G> + From<B>,
    {
        const { assert!(same_text(G::TOPIC, B::TOPIC), "both closing events belong to the saga's events topic") };
        let saga = Saga {
            name: self.versioned.name,
            version: self.versioned.version,
            inbox: S::TOPIC,
            events: G::TOPIC,
            start: S::NAME,
            start_full_name: S::FULL_NAME,
            closing: [G::NAME, B::NAME],
            begin: self.begin,
            finish: Box::new(move |data| ClosingEvent::of(&finish(data))),
            fail: Box::new(move |data, failure| ClosingEvent::of(&fail(data, failure))),
            cancel: None,
            steps: Vec::new(),
        };
        SagaBuilder { saga, start: PhantomData }
    }
}

impl<S: Command, D: 'static> SagaBuilder<S, D> {
    /// Names the command that makes the saga not so, whatever its state: `never` closes it where the saga
    /// was never started, `canceled` where everything sent has been undone. Such a saga runs once: a start
    /// after its end is rejected, so that the canceler can be sure.
    #[must_use]
    pub fn canceled_by<X, E>(mut self, never: fn(X) -> E, canceled: fn(&D) -> E) -> Self
    where
        X: Undoes<S>,
        E: Message,
        X::Closing: From<E>,
    {
        const { assert!(same_text(X::TOPIC, S::TOPIC), "a cancel must not overtake the start") };
        self.saga.cancel = Some(Cancel {
            command: X::NAME,
            full_name: X::FULL_NAME,
            never: Box::new(move |writer, body, key| ClosingEvent::of(&never(decoded::<X>(writer, body, key)?))),
            canceled: Box::new(move |data| ClosingEvent::of(&canceled(data))),
        });
        self
    }

    /// Adds a step: what it asks for. Then say what is made of the answer.
    pub fn step<C: Command>(&mut self, name: &'static str, send: fn(&D, &StepContext) -> C) -> Unanswered<'_, D, C> {
        Unanswered { steps: &mut self.saga.steps, name, send, only_if: None }
    }

    /// Checks the whole.
    ///
    /// # Errors
    /// When the definition contradicts itself: see [`DefinitionError`].
    pub fn build(self) -> Result<Saga<D>, DefinitionError> {
        let saga = self.saga;
        if saga.steps.is_empty() || saga.steps.len() > STEPS_MAX {
            return Err(DefinitionError::Length(saga.steps.len()));
        }
        let pivot = saga.pivot().unwrap_or(saga.steps.len());
        for index in 0..saga.steps.len() {
            check_alone(&saga.steps, index)?;
            check_undo(&saga, index, pivot)?;
        }
        Ok(saga)
    }
}

fn check_alone<D>(steps: &[Step<D>], index: usize) -> Result<(), DefinitionError> {
    let (earlier, step) = (&steps[..index], &steps[index]);
    if earlier.iter().any(|other| other.name == step.name) {
        return Err(DefinitionError::NamedTwice(step.name));
    }
    if step.pivot && earlier.iter().any(|other| other.pivot) {
        return Err(DefinitionError::SecondPivot(step.name));
    }
    if !step.is_best_effort() && earlier.iter().any(Step::is_best_effort) {
        return Err(DefinitionError::AfterBestEffort(step.name));
    }
    if step.silence.after_ms() <= 0 {
        return Err(DefinitionError::NoTime(step.name));
    }
    if step.skippable && !step.is_best_effort() && step.ask.closing.len() > 1 {
        return Err(DefinitionError::AnswerIgnored(step.name));
    }
    Ok(())
}

fn check_undo<D>(saga: &Saga<D>, index: usize, pivot: usize) -> Result<(), DefinitionError> {
    let step = &saga.steps[index];
    let must_be_undoable = index < pivot || saga.cancel.is_some();
    if must_be_undoable && !step.can_be_undone() {
        return Err(DefinitionError::NotUndoable(step.name));
    }
    if index >= pivot && matches!(step.silence, Silence::Undo { .. }) {
        return Err(DefinitionError::UndoBeyondPivot(step.name));
    }
    if let Undoing::CoveredBy(StepId(cover)) = step.undoing {
        let covers = |other: &Step<D>| other.undo().is_some_and(|undo| undo.topic == step.ask.topic);
        if cover >= index || !covers(&saga.steps[cover]) {
            return Err(DefinitionError::BadCover(step.name));
        }
    }
    Ok(())
}

/// A step that does not say yet what it makes of its answer.
#[must_use = "a step is added by its deadline"]
pub struct Unanswered<'s, D, C: Command> {
    steps: &'s mut Vec<Step<D>>,
    name: &'static str,
    send: fn(&D, &StepContext) -> C,
    only_if: Option<fn(&D) -> bool>,
}

impl<'s, D: 'static, C: Command> Unanswered<'s, D, C> {
    /// Leaves the step out where the condition does not hold when its turn comes.
    pub fn only_if(mut self, condition: fn(&D) -> bool) -> Self {
        self.only_if = Some(condition);
        self
    }

    /// Takes the closing event, or says that it means a refusal.
    pub fn on(self, on: fn(&mut D, C::Closing) -> Result<(), Refused>) -> Answered<'s, D, C> {
        let take = Ask::<D>::taking::<C>(on);
        self.answered(take, false)
    }

    /// It is enough that it was done: nothing later needs what the answer says, so that an operator may skip it.
    pub fn acknowledged(self) -> Answered<'s, D, C> {
        self.answered(Ask::<D>::acknowledging::<C>(), true)
    }

    /// The saga's success doesn't depend on it: it never undoes, is never undone, and is given up after
    /// `within_ms`. Best-effort steps come last, and the start is answered before them.
    pub fn best_effort(self, within_ms: i64) -> StepId {
        let answered = self.answered(Ask::<D>::acknowledging::<C>(), true);
        answered.add(Silence::GoOn { after_ms: within_ms })
    }

    fn answered(self, take: crate::definition::Take<D>, skippable: bool) -> Answered<'s, D, C> {
        let step = Step {
            name: self.name,
            ask: Ask::new(self.send, take),
            only_if: self.only_if,
            undoing: Undoing::Never,
            pivot: false,
            silence: Silence::Alarm { after_ms: 0 },
            skippable,
        };
        Answered { steps: self.steps, step, command: PhantomData }
    }
}

/// A step that lacks its deadline, which adds it to the saga.
#[must_use = "a step is added by its deadline"]
pub struct Answered<'s, D, C> {
    steps: &'s mut Vec<Step<D>>,
    step: Step<D>,
    command: PhantomData<C>,
}

impl<D: 'static, C: Command> Answered<'_, D, C> {
    /// How it is made not so, in the topic and under the key of the command itself.
    pub fn undo<U: Undoes<C>>(self, send: fn(&D, &StepContext) -> U) -> Self {
        self.undone_by::<U>(Ask::new(send, Ask::<D>::acknowledging::<U>()))
    }

    /// The same, where the saga has to know what the undo came to.
    pub fn undo_taking<U: Undoes<C>>(
        self,
        send: fn(&D, &StepContext) -> U,
        on: fn(&mut D, U::Closing) -> Result<(), Refused>,
    ) -> Self {
        self.undone_by::<U>(Ask::new(send, Ask::<D>::taking::<U>(on)))
    }

    fn undone_by<U>(mut self, ask: Ask<D>) -> Self
    where
        U: Undoes<C>,
    {
        const { assert!(same_text(U::TOPIC, C::TOPIC), "an undo must not overtake what it undoes") };
        self.step.undoing = Undoing::By(ask);
        self
    }

    /// The undo of that earlier step undoes this one too.
    pub fn covered_by(mut self, step: StepId) -> Self {
        self.step.undoing = Undoing::CoveredBy(step);
        self
    }

    /// Once this is done there is no way but forward. A rejection still undoes; silence waits.
    pub fn pivot(mut self) -> Self {
        self.step.pivot = true;
        self
    }

    /// Without an answer by then the saga waits on, and shows it.
    pub fn alarm_after(self, after_ms: i64) -> StepId {
        self.add(Silence::Alarm { after_ms })
    }

    /// Without an answer by then the saga is undone, this step included.
    pub fn undo_after(self, after_ms: i64) -> StepId {
        self.add(Silence::Undo { after_ms })
    }

    fn add(mut self, silence: Silence) -> StepId {
        self.step.silence = silence;
        self.steps.push(self.step);
        StepId(self.steps.len() - 1)
    }
}

const fn same_text(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}
