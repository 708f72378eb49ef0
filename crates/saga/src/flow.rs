//! The rules by which every saga goes: from one input to what is sent next. Pure.
//!
//! The instance is changed in place; what is to be published is collected and put out by [`Flow::conclude`].

use std::borrow::Cow;

use daybook_engine::{Context, Emit, Fault, Incoming, Output};
use daybook_events::{Discarded, Message, Rejected, ReplyTo};
use uuid::Uuid;

use crate::definition::{Ask, ClosingEvent, Silence, undecodable};
use crate::flaw::Flaw;
use crate::instance::{Awaited, Direction, Instance, Owed, Phase, StepStatus, Wake};
use crate::notes::{Note, What};
use crate::replies::{reject, reply_emit};
use crate::{Failure, Saga, StepContext, codes, ids};

/// First and longest pause before a rejected command is sent again, in ms.
pub const RESEND_MIN_MS: i64 = 1_000;
pub const RESEND_MAX_MS: i64 = 5 * 60 * 1_000;

/// Cancel commands that wait for one saga to be undone; more are rejected with `too-many-cancels`.
pub const CANCELS_MAX: usize = 16;

/// One input being applied to one instance.
pub(crate) struct Flow<'a, D> {
    pub(crate) saga: &'a Saga<D>,
    pub(crate) id: Uuid,
    pub(crate) it: &'a mut Instance<D>,
    pub(crate) cx: &'a Context,
    pub(crate) out: &'a mut Output,
    pub(crate) notes: Vec<Note>,
    pub(crate) ended: bool,
    pub(crate) flaw: Option<Flaw>,
}

impl<D> Flow<'_, D> {
    fn has(&self, flaw: Flaw) -> bool {
        cfg!(any(test, debug_assertions)) && self.flaw == Some(flaw)
    }

    fn data(&self) -> Result<&D, Fault> {
        self.it.data.as_ref().ok_or_else(|| Fault::with("saga-without-data", "it was canceled before it was started"))
    }

    fn ask(&self, step: usize, direction: Direction) -> Result<&Ask<D>, Fault> {
        let step = &self.saga.steps[step];
        match direction {
            Direction::Do => Ok(&step.ask),
            Direction::Undo => step.undo().ok_or_else(|| Fault::with("step-without-undo", step.name)),
        }
    }

    /// Goes on with the first step from `from` that applies.
    pub(crate) fn forward(&mut self, from: usize) -> Result<(), Fault> {
        self.it.awaited = None;
        for index in from..self.saga.steps.len() {
            let step = &self.saga.steps[index];
            if step.is_best_effort() {
                self.close_well()?;
            }
            let condition = step.only_if;
            if condition.is_none_or(|holds| self.it.data.as_ref().is_some_and(holds)) {
                return self.send(index, Direction::Do);
            }
            self.it.steps[index].status = StepStatus::Skipped;
            self.note(Note::new(What::Skipped, step.name, 0));
        }
        self.close_well()?;
        self.end(Phase::Done);
        Ok(())
    }

    /// Sends a step's command, or its undo: the first time, or as a new attempt.
    pub(crate) fn send(&mut self, index: usize, direction: Direction) -> Result<(), Fault> {
        let step = &self.saga.steps[index];
        let attempt = self.next_attempt(index, direction);
        let step_id = ids::step(self.saga.name, self.id, self.it.round, step.name);
        let command_id = ids::command(step_id, direction, attempt);
        let context = StepContext {
            now: self.cx.now,
            saga: self.saga.name,
            step: step.name,
            instance_id: self.id,
            round: self.it.round,
        };
        let ask = self.ask(index, direction)?;
        let prepared = (ask.build)(self.data()?, &context)?;
        let emit = Emit {
            topic: Cow::Borrowed(ask.topic),
            key: prepared.key,
            type_name: ask.full_name,
            body: prepared.body,
            id: Some(command_id),
            reply_to: Some(ReplyTo { topic: self.saga.inbox.into(), key: self.id }),
            reply_for: None,
            thread: Some(self.it.thread.clone()),
        };
        let state = &mut self.it.steps[index];
        if direction == Direction::Do {
            state.status = StepStatus::Sent;
        } else if state.key != Some(prepared.key) {
            return Err(Fault::with("undo-under-another-key", step.name));
        }
        state.key = Some(prepared.key);
        self.out.messages.push(emit);
        let rejected = self.it.awaited.take().and_then(|awaited| awaited.rejected);
        self.it.awaited = Some(Awaited {
            step: index,
            direction,
            command_id,
            attempt,
            sent_at: self.cx.now,
            wake: Wake::Deadline(self.cx.now.plus_ms(step.silence.after_ms())),
            rejected,
            retried: false,
        });
        Ok(())
    }

    fn next_attempt(&mut self, index: usize, direction: Direction) -> u32 {
        let same_again = self.has(Flaw::SameIdAgain);
        let state = &mut self.it.steps[index];
        let attempts = match direction {
            Direction::Do => &mut state.attempts,
            Direction::Undo => &mut state.undo_attempts,
        };
        *attempts += 1;
        if same_again { 1 } else { *attempts }
    }

    /// Takes a message that answers a command: if it is the one awaited.
    pub(crate) fn answer(&mut self, incoming: &Incoming<'_>, reply_for: Uuid) -> Result<(), Fault> {
        let full_name = incoming.writer.full_name();
        let Some(awaited) = self.awaiting(reply_for, full_name) else {
            let mut note = Note::new(What::Late, self.step_of(reply_for), 0);
            note.command_id = Some(reply_for);
            note.answer_type = Some(full_name.to_owned());
            self.note(note);
            return Ok(());
        };
        let name = self.saga.steps[awaited.step].name;
        let mut note = Note::new(What::Answered, name, awaited.attempt);
        note.command_id = Some(reply_for);
        note.answer_type = Some(full_name.to_owned());
        if full_name == Rejected::FULL_NAME {
            let rejected: Rejected = reply(incoming)?;
            let failure = Failure { step: name.into(), code: rejected.code, detail: rejected.detail };
            return self.refused(&awaited, failure, What::Rejected, note);
        }
        if full_name == Discarded::FULL_NAME {
            let discarded: Discarded = reply(incoming)?;
            let failure = Failure { step: name.into(), code: codes::DISCARDED.into(), detail: Some(discarded.reason) };
            return self.refused(&awaited, failure, What::Discarded, note);
        }
        match self.take(&awaited, incoming)? {
            Ok(()) => self.accepted(&awaited, note),
            Err(refused) => {
                let failure = Failure { step: name.into(), code: refused.code, detail: refused.detail };
                self.refused(&awaited, failure, What::Rejected, note)
            }
        }
    }

    fn awaiting(&self, reply_for: Uuid, full_name: &str) -> Option<Awaited> {
        let awaited = self.it.awaited.clone()?;
        let closing = self.ask(awaited.step, awaited.direction).ok()?.closing;
        let of_its_type = closing.contains(&full_name) || full_name == Rejected::FULL_NAME;
        let counts = awaited.expects(reply_for)
            || self.has(Flaw::LateReplyCounts)
            || (self.has(Flaw::ReplyMatchedByType) && of_its_type)
            || (self.has(Flaw::RejectionCountsWhilePaused) && awaited.command_id == reply_for);
        counts.then_some(awaited)
    }

    fn take(&mut self, awaited: &Awaited, incoming: &Incoming<'_>) -> Result<Result<(), crate::Refused>, Fault> {
        let step = &self.saga.steps[awaited.step];
        let ask = match awaited.direction {
            Direction::Do => &step.ask,
            Direction::Undo => step.undo().ok_or_else(|| Fault::with("step-without-undo", step.name))?,
        };
        let data = self.it.data.as_mut().ok_or_else(|| Fault::new("saga-without-data"))?;
        (ask.take)(data, incoming.writer, incoming.body)
    }

    fn accepted(&mut self, awaited: &Awaited, mut note: Note) -> Result<(), Fault> {
        match awaited.direction {
            Direction::Do => {
                self.it.steps[awaited.step].status = StepStatus::Done;
                self.note(note);
                self.forward(awaited.step + 1)
            }
            Direction::Undo => {
                self.it.steps[awaited.step].status = StepStatus::Undone;
                note.what = What::Undone;
                self.note(note);
                self.undo_next()
            }
        }
    }

    fn refused(&mut self, awaited: &Awaited, failure: Failure, what: What, mut note: Note) -> Result<(), Fault> {
        note.answer_code = Some(failure.code.clone());
        note.what = if awaited.direction == Direction::Undo { What::UndoRejected } else { what };
        self.note(note);
        match awaited.direction {
            Direction::Do => self.refused_forward(awaited.step, failure),
            Direction::Undo if self.has(Flaw::RejectedUndoDropped) => {
                self.it.steps[awaited.step].status = StepStatus::Undone;
                self.undo_next()
            }
            Direction::Undo => {
                self.resend_later(failure.code);
                Ok(())
            }
        }
    }

    fn refused_forward(&mut self, index: usize, failure: Failure) -> Result<(), Fault> {
        let best_effort = self.saga.steps[index].is_best_effort();
        let attempts = self.it.steps[index].attempts;
        self.it.steps[index].rejections = match self.it.steps[index].rejections + 1 {
            _ if self.has(Flaw::RejectedRetryNotUndone) => attempts,
            _ if self.has(Flaw::RejectedStepUndone) => 0,
            rejections => rejections,
        };
        if best_effort {
            self.it.steps[index].status = StepStatus::GivenUp;
            return self.forward(index + 1);
        }
        self.it.steps[index].status = StepStatus::Rejected;
        if self.is_beyond_pivot(index) {
            self.resend_later(failure.code);
            return Ok(());
        }
        self.compensate(failure)
    }

    /// Whether the way back was closed before this step was sent.
    pub(crate) fn is_beyond_pivot(&self, step: usize) -> bool {
        if self.has(Flaw::PivotForgotten) {
            return false;
        }
        self.saga.pivot().is_some_and(|pivot| pivot < step)
    }

    /// The rejected command is to be done all the same: it is sent again, without end.
    fn resend_later(&mut self, code: String) {
        let now = self.cx.now;
        if let Some(awaited) = &mut self.it.awaited {
            awaited.wake = Wake::Resend(now.plus_ms(resend_pause_ms(awaited.attempt)));
            awaited.rejected = Some(code);
            awaited.retried = false;
        }
    }

    /// Undoes whatever has been sent, for this reason.
    pub(crate) fn compensate(&mut self, failure: Failure) -> Result<(), Fault> {
        self.it.phase = Phase::Compensating;
        self.it.failure.get_or_insert(failure);
        self.undo_next()
    }

    /// Undoes the latest step that may stand; when there is none, it is over.
    pub(crate) fn undo_next(&mut self) -> Result<(), Fault> {
        self.it.awaited = None;
        match self.next_to_undo() {
            Some(index) => self.send(index, Direction::Undo),
            None => self.end_undone(),
        }
    }

    pub(crate) fn next_to_undo(&self) -> Option<usize> {
        let stands = |index: &usize| {
            if self.has(Flaw::UnansweredNotUndone) && self.it.steps[*index].status == StepStatus::Sent {
                return false;
            }
            self.saga.steps[*index].undo().is_some() && self.it.steps[*index].may_stand()
        };
        if self.has(Flaw::UndoInOrder) {
            return (0..self.saga.steps.len()).find(stands);
        }
        (0..self.saga.steps.len()).rev().find(stands)
    }

    fn end_undone(&mut self) -> Result<(), Fault> {
        let undone = self.it.steps.iter().any(|step| step.undo_attempts > 0);
        self.close_badly()?;
        let phase = match (self.it.canceled, undone) {
            (true, _) => Phase::Canceled,
            (false, true) => Phase::Compensated,
            (false, false) => Phase::Failed,
        };
        self.close_cancels()?;
        self.end(phase);
        Ok(())
    }

    pub(crate) fn end(&mut self, phase: Phase) {
        self.it.awaited = None;
        self.it.phase = phase;
        self.ended = true;
    }

    fn close_well(&mut self) -> Result<(), Fault> {
        if self.it.closed {
            return Ok(());
        }
        let event = (self.saga.finish)(self.data()?)?;
        self.close_start(&event);
        Ok(())
    }

    pub(crate) fn close_badly(&mut self) -> Result<(), Fault> {
        if self.it.closed {
            return Ok(());
        }
        let failure = self.it.failure.clone().ok_or_else(|| Fault::new("saga-without-failure"))?;
        let event = match self.has(Flaw::ClosesWellAnyhow) {
            true => (self.saga.finish)(self.data()?)?,
            false => (self.saga.fail)(self.data()?, &failure)?,
        };
        self.close_start(&event);
        Ok(())
    }

    fn close_start(&mut self, event: &ClosingEvent) {
        self.it.closed = true;
        if self.has(Flaw::AnswersTwice) {
            self.it.closed = false;
            if let Some(owed) = self.it.start.clone() {
                self.reply(&owed, event);
            }
        }
        self.publish(event);
        if let Some(owed) = self.it.start.take() {
            self.reply(&owed, event);
        }
    }

    fn close_cancels(&mut self) -> Result<(), Fault> {
        let Some(cancel) = self.saga.cancel.as_ref().filter(|_| self.it.canceled) else { return Ok(()) };
        let event = (cancel.canceled)(self.data()?)?;
        self.close_cancels_with(&event);
        Ok(())
    }

    pub(crate) fn close_cancels_with(&mut self, event: &ClosingEvent) {
        if !self.it.cancel_closed {
            self.it.cancel_closed = true;
            self.publish(event);
        }
        if self.has(Flaw::CancelForgotten) {
            return self.it.cancels.clear();
        }
        for owed in std::mem::take(&mut self.it.cancels) {
            self.reply(&owed, event);
        }
    }

    /// The cancel command, on a saga that was started: valid in every state.
    pub(crate) fn cancel(&mut self, owed: Option<Owed>) -> Result<(), Fault> {
        if self.it.cancels.len() >= CANCELS_MAX {
            return owed.map_or(Ok(()), |owed| reject(self.out, &owed, codes::TOO_MANY_CANCELS));
        }
        let step = self.current_step();
        self.note(Note::new(What::Canceled, step.clone(), 0));
        self.it.cancels.extend(owed);
        self.it.canceled = true;
        let nothing_stands = self.next_to_undo().is_none();
        match self.it.phase {
            Phase::Compensating => Ok(()),
            phase if phase.has_ended() && nothing_stands => self.close_cancels(),
            _ => {
                self.it.thread = self.cx.thread.clone();
                self.compensate(Failure { step, code: codes::CANCELED.into(), detail: None })
            }
        }
    }

    /// The time has come: or not, when the row changed meanwhile.
    pub(crate) fn wake(&mut self) -> Result<(), Fault> {
        let Some(awaited) = self.it.awaited.clone() else { return Ok(()) };
        let holds = self.has(Flaw::StaleTimerFires) || awaited.due().is_some_and(|due| due <= self.cx.now);
        if !holds {
            return Ok(());
        }
        match awaited.wake {
            Wake::Resend(_) => self.send(awaited.step, awaited.direction),
            Wake::Deadline(_) => self.silence(&awaited),
            Wake::Overdue => Ok(()),
        }
    }

    fn silence(&mut self, awaited: &Awaited) -> Result<(), Fault> {
        let step = &self.saga.steps[awaited.step];
        let mut note = Note::new(What::TimedOut, step.name, awaited.attempt);
        note.command_id = Some(awaited.command_id);
        match (awaited.direction, step.silence) {
            (Direction::Do, Silence::GoOn { .. }) => {
                self.it.steps[awaited.step].status = StepStatus::GivenUp;
                self.note(note);
                self.forward(awaited.step + 1)
            }
            (Direction::Do, Silence::Undo { .. }) => {
                self.note(note);
                self.compensate(Failure { step: step.name.into(), code: codes::TIMED_OUT.into(), detail: None })
            }
            (Direction::Do, Silence::Alarm { .. }) | (Direction::Undo, _) => {
                note.what = What::Alarmed;
                self.note(note);
                if let Some(awaited) = &mut self.it.awaited {
                    awaited.wake = Wake::Overdue;
                }
                Ok(())
            }
        }
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// The step at which the saga stands, or stood when it ended.
    pub(crate) fn current_step(&self) -> String {
        let index = match &self.it.awaited {
            Some(awaited) => awaited.step,
            None => self.it.steps.iter().rposition(|step| step.attempts > 0).unwrap_or(0),
        };
        self.saga.steps[index].name.to_owned()
    }

    /// The step that a command of this round belongs to, as far as it is one of the latest attempts.
    fn step_of(&self, command_id: Uuid) -> String {
        let belongs = |index: &usize| {
            let state = &self.it.steps[*index];
            let step_id = ids::step(self.saga.name, self.id, self.it.round, &state.name);
            let latest = [(Direction::Do, state.attempts), (Direction::Undo, state.undo_attempts)];
            latest.iter().any(|(direction, attempts)| {
                let first = attempts.saturating_sub(LATE_ATTEMPTS_KNOWN) + 1;
                (first..=*attempts).any(|attempt| ids::command(step_id, *direction, attempt) == command_id)
            })
        };
        match (0..self.it.steps.len()).find(belongs) {
            Some(index) => self.it.steps[index].name.clone(),
            None => self.current_step(),
        }
    }

    pub(crate) fn publish(&mut self, event: &ClosingEvent) {
        self.out.messages.push(Emit {
            topic: Cow::Borrowed(event.topic),
            key: event.key,
            type_name: event.type_name,
            body: event.body.clone(),
            id: None,
            reply_to: None,
            reply_for: None,
            thread: Some(self.it.thread.clone()),
        });
    }

    fn reply(&mut self, owed: &Owed, event: &ClosingEvent) {
        self.out.messages.push(reply_emit(owed, event.type_name, event.body.clone()));
    }
}

/// How far back a late answer is looked for among a step's attempts, to name its step in the history.
const LATE_ATTEMPTS_KNOWN: u32 = 8;

/// The pause after the rejection of this attempt: doubling, up to the longest.
pub(crate) fn resend_pause_ms(attempt: u32) -> i64 {
    let doublings = attempt.saturating_sub(1).min(20);
    (RESEND_MIN_MS << doublings).min(RESEND_MAX_MS)
}

fn reply<M: Message>(incoming: &Incoming<'_>) -> Result<M, Fault> {
    daybook_events::decode(incoming.writer, incoming.body).map_err(|error| undecodable(&error))
}
