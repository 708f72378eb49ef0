//! What an operator may do to a saga, and what may not be done.

use daybook_engine::{Fault, Incoming};
use daybook_events::{CancelSaga, CompensateSaga, Message, OperatorActed, PersonId, RetryStep, SkipStep};
use uuid::Uuid;

use crate::definition::{Undoing, decoded};
use crate::flow::Flow;
use crate::instance::{Direction, Phase, StepStatus};
use crate::notes::{Note, What};
use crate::replies::reject;
use crate::{Failure, codes};

/// `OperatorActed.outcome` where it was done.
pub(crate) const DONE: &str = "done";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Sends the awaited command again, as a new attempt.
    Retry { step: String },
    /// Goes on without the awaited answer.
    Skip { step: String },
    /// Undoes what was sent.
    Compensate,
    /// Ends it where it stands: nothing is undone.
    Cancel,
}

/// A verb as it came in by the control topic.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) verb: Verb,
    pub(crate) action: &'static str,
    pub(crate) round: i64,
    pub(crate) actor_id: PersonId,
    pub(crate) reason: String,
}

impl Order {
    pub(crate) fn read(incoming: &Incoming<'_>) -> Result<Self, Fault> {
        let (writer, body, key) = (incoming.writer, incoming.body, incoming.key);
        let (action, verb, round, actor_id, reason) = match writer.full_name() {
            RetryStep::FULL_NAME => {
                let order: RetryStep = decoded(writer, body, key)?;
                (RetryStep::NAME, Verb::Retry { step: order.step }, order.round, order.actor_id, order.reason)
            }
            SkipStep::FULL_NAME => {
                let order: SkipStep = decoded(writer, body, key)?;
                (SkipStep::NAME, Verb::Skip { step: order.step }, order.round, order.actor_id, order.reason)
            }
            CompensateSaga::FULL_NAME => {
                let order: CompensateSaga = decoded(writer, body, key)?;
                (CompensateSaga::NAME, Verb::Compensate, order.round, order.actor_id, order.reason)
            }
            CancelSaga::FULL_NAME => {
                let order: CancelSaga = decoded(writer, body, key)?;
                (CancelSaga::NAME, Verb::Cancel, order.round, order.actor_id, order.reason)
            }
            other => return Err(Fault::with("unknown-message", format!("{other} is no verb for a saga"))),
        };
        Ok(Self { verb, action, round, actor_id, reason })
    }

    /// What is published of it, whether it was done or not.
    pub(crate) fn acted(&self, saga: &str, instance_id: Uuid, outcome: &str) -> OperatorActed {
        OperatorActed {
            key_text: instance_id.to_string(),
            consumer: saga.to_owned(),
            action: self.action.to_owned(),
            target: self.target().to_owned(),
            actor_id: self.actor_id,
            reason: self.reason.clone(),
            outcome: outcome.to_owned(),
        }
    }

    /// The step that it names; empty when it is for the whole saga.
    pub(crate) fn target(&self) -> &str {
        match &self.verb {
            Verb::Retry { step } | Verb::Skip { step } => step,
            Verb::Compensate | Verb::Cancel => "",
        }
    }
}

impl<D> Flow<'_, D> {
    /// Carries the verb out. Answers [`DONE`], or the code of why not; then nothing has changed.
    pub(crate) fn order(&mut self, order: &Order) -> Result<&'static str, Fault> {
        if order.round != self.it.round {
            return Ok(codes::ROUND_OVER);
        }
        if self.it.phase.has_ended() {
            return Ok(codes::NOT_RUNNING);
        }
        match &order.verb {
            Verb::Retry { step } => self.retry(step),
            Verb::Skip { step } => self.skip(step),
            Verb::Compensate => self.compensate_by_order(),
            Verb::Cancel => self.cancel_by_order(),
        }
    }

    fn awaited_as(&self, step: &str) -> Option<(usize, Direction, u32)> {
        let awaited = self.it.awaited.as_ref()?;
        (self.saga.steps[awaited.step].name == step).then_some((awaited.step, awaited.direction, awaited.attempt))
    }

    fn retry(&mut self, step: &str) -> Result<&'static str, Fault> {
        let Some((index, direction, attempt)) = self.awaited_as(step) else { return Ok(codes::STEP_NOT_AWAITED) };
        if direction == Direction::Do && !self.is_safe_to_repeat(index) {
            return Ok(codes::RETRY_UNSAFE);
        }
        self.note(Note::new(What::Retried, step, attempt));
        self.send(index, direction)?;
        if let Some(awaited) = &mut self.it.awaited {
            awaited.retried = true;
            awaited.rejected = None;
        }
        Ok(DONE)
    }

    /// A rejected repetition must not end the saga while the first attempt may have been carried out and
    /// can't be undone. Beyond the pivot a rejection ends nothing.
    fn is_safe_to_repeat(&self, index: usize) -> bool {
        self.is_beyond_pivot(index) || self.saga.steps[index].can_be_undone()
    }

    fn skip(&mut self, step: &str) -> Result<&'static str, Fault> {
        let Some((index, direction, attempt)) = self.awaited_as(step) else { return Ok(codes::STEP_NOT_AWAITED) };
        match direction {
            Direction::Do if !self.saga.steps[index].skippable => return Ok(codes::ANSWER_NEEDED),
            Direction::Do => {
                self.it.steps[index].status = StepStatus::Skipped;
                self.note(Note::new(What::Skipped, step, attempt));
                self.forward(index + 1)?;
            }
            Direction::Undo => {
                self.it.steps[index].status = StepStatus::UndoSkipped;
                self.note(Note::new(What::UndoSkipped, step, attempt));
                self.undo_next()?;
            }
        }
        Ok(DONE)
    }

    fn compensate_by_order(&mut self) -> Result<&'static str, Fault> {
        if self.it.phase != Phase::Running {
            return Ok(codes::NOT_RUNNING);
        }
        if !self.can_turn_back() {
            return Ok(codes::PAST_PIVOT);
        }
        let step = self.current_step();
        self.note(Note::new(What::Compensated, step.clone(), 0));
        self.compensate(Failure { step, code: codes::COMPENSATED_BY_OPERATOR.into(), detail: None })?;
        Ok(DONE)
    }

    /// Whether the start is not closed yet, and what was sent can be undone: the pivot may have been
    /// carried out as soon as it is sent.
    fn can_turn_back(&self) -> bool {
        let at = self.it.awaited.as_ref().map_or(0, |awaited| awaited.step);
        let pivot = self.saga.pivot().unwrap_or(usize::MAX);
        let undoable = |index: usize| !matches!(self.saga.steps[index].undoing, Undoing::Never);
        !self.it.closed && (at < pivot || (at == pivot && undoable(at)))
    }

    fn cancel_by_order(&mut self) -> Result<&'static str, Fault> {
        let step = self.current_step();
        self.note(Note::new(What::Canceled, step.clone(), 0));
        let failure = Failure { step, code: codes::CANCELED_BY_OPERATOR.into(), detail: None };
        self.it.failure.get_or_insert(failure);
        self.close_badly()?;
        self.it.canceled = false;
        for owed in std::mem::take(&mut self.it.cancels) {
            reject(self.out, &owed, codes::CANCELED_BY_OPERATOR)?;
        }
        self.end(Phase::Canceled);
        Ok(DONE)
    }
}
