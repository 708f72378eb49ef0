//! Writes down what a flow has done: records for the saga's events topic, rows for its history.

use std::borrow::Cow;

use daybook_engine::{Emit, Fault};
use daybook_events::{Message, SagaAdvanced, SagaEnded, SagaStarted};

use crate::definition::encoded;
use crate::flow::Flow;
use crate::instance::{Awaited, Phase};
use crate::notes::{HistoryRow, Note};
use crate::verbs::Order;

impl<D> Flow<'_, D> {
    /// The start, as the first record of its round.
    pub(crate) fn note_start(&mut self, command: &str) -> Result<(), Fault> {
        let started = SagaStarted {
            saga: self.saga.name.to_owned(),
            instance_id: self.id,
            version: i64::from(self.it.version),
            round: self.it.round,
            command: command.to_owned(),
            command_id: self.cx.message_id,
            // The record is kept forever; the command may hold a payment token.
            input: None,
        };
        self.emit_event(&started, self.saga.events)?;
        self.history(HistoryRow { what: "started", command_id: Some(self.cx.message_id), ..self.history_row() })
    }

    /// What an operator did, or was refused.
    pub(crate) fn note_order(&mut self, order: &Order, outcome: &'static str) -> Result<(), Fault> {
        let acted = order.acted(self.saga.name, self.id, outcome);
        self.emit_event(&acted, daybook_events::OperatorActed::TOPIC)?;
        let row = HistoryRow {
            what: "operator",
            step: order.target(),
            answer_type: Some(order.action),
            code: Some(outcome),
            actor_id: Some(order.actor_id.uuid()),
            reason: Some(&order.reason),
            ..self.history_row()
        };
        self.history(row)
    }

    /// Puts out all transitions. Answers how many records went to the saga's events topic.
    pub(crate) fn conclude(mut self) -> Result<u64, Fault> {
        let notes = std::mem::take(&mut self.notes);
        let has_sent = self.out.messages.iter().any(|emit| emit.reply_to.is_some());
        let sent_now = self.it.awaited.clone().filter(|_| has_sent);
        for (note, is_last) in notes.iter().zip((1..).map(|number| number == notes.len())) {
            self.advanced(note, sent_now.as_ref().filter(|_| is_last))?;
        }
        if self.ended {
            self.saga_ended()?;
        }
        let events = self.out.messages.iter().filter(|emit| emit.topic == self.saga.events).count();
        Ok(events as u64)
    }

    fn advanced(&mut self, note: &Note, sent: Option<&Awaited>) -> Result<(), Fault> {
        let next_step = sent.map(|awaited| self.saga.steps[awaited.step].name);
        let next_command_id = sent.map(|awaited| awaited.command_id);
        let advanced = SagaAdvanced {
            saga: self.saga.name.to_owned(),
            instance_id: self.id,
            round: self.it.round,
            step: note.step.clone(),
            what: note.what.word().to_owned(),
            answer_type: note.answer_type.clone(),
            answer_code: note.answer_code.clone(),
            next_step: next_step.map(str::to_owned),
            command_id: next_command_id.or(note.command_id),
            attempt: i64::from(note.attempt),
            state: self.it.status().to_owned(),
        };
        self.emit_event(&advanced, self.saga.events)?;
        let row = HistoryRow {
            what: note.what.word(),
            step: &note.step,
            attempt: Some(note.attempt),
            command_id: note.command_id,
            answer_type: note.answer_type.as_deref(),
            code: note.answer_code.as_deref(),
            next_step,
            next: sent.map(|awaited| awaited.direction.name()),
            next_command_id,
            ..self.history_row()
        };
        self.history(row)
    }

    fn saga_ended(&mut self) -> Result<(), Fault> {
        let outcome = match self.it.phase {
            Phase::Done => "completed",
            Phase::Running | Phase::Compensating | Phase::Compensated | Phase::Failed | Phase::Canceled => {
                self.it.status()
            }
        };
        let failure = self.it.failure.clone().filter(|_| self.it.phase != Phase::Done);
        let ended = SagaEnded {
            saga: self.saga.name.to_owned(),
            instance_id: self.id,
            round: self.it.round,
            outcome: outcome.to_owned(),
            code: failure.as_ref().map(|failure| failure.code.clone()),
            step: failure.as_ref().map(|failure| failure.step.clone()),
        };
        self.emit_event(&ended, self.saga.events)?;
        let (step, code) = match &failure {
            Some(failure) => (failure.step.as_str(), Some(failure.code.as_str())),
            None => ("", None),
        };
        self.history(HistoryRow { what: "ended", step, code, ..self.history_row() })
    }

    fn history_row<'a>(&self) -> HistoryRow<'a> {
        HistoryRow {
            at: self.cx.now,
            round: self.it.round,
            state: self.it.status(),
            cause: self.cx.message_id,
            ..HistoryRow::default()
        }
    }

    fn history(&mut self, row: HistoryRow<'_>) -> Result<(), Fault> {
        let text = serde_json::to_string(&row).map_err(|_| Fault::new("history-unwritable"))?;
        self.out.history.push(text);
        Ok(())
    }

    fn emit_event<E: Message>(&mut self, event: &E, topic: &'static str) -> Result<(), Fault> {
        self.out.messages.push(Emit {
            topic: Cow::Borrowed(topic),
            key: self.id,
            type_name: E::FULL_NAME,
            body: encoded(event)?,
            id: None,
            reply_to: None,
            reply_for: None,
            thread: Some(self.it.thread.clone()),
        });
        Ok(())
    }
}
