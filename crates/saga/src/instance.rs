//! What is kept of one instance of a saga: one row, JSON.

use daybook_engine::{Fault, PendingReply, ROW_BODY_MAX, Row, Thread};
use daybook_events::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::borrow::Cow;
use uuid::Uuid;

use crate::Failure;

/// Nothing is written of a field that is as it was at first: the row is written anew at every transition.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where an instance stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    Running,
    Compensating,
    Done,
    /// Ended after something was undone.
    Compensated,
    /// Ended without anything to undo.
    Failed,
    Canceled,
}

impl Phase {
    pub(crate) fn has_ended(self) -> bool {
        !matches!(self, Self::Running | Self::Compensating)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    Do,
    Undo,
}

impl Direction {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Do => "do",
            Self::Undo => "undo",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepStatus {
    Pending,
    /// Left out: its condition did not hold, or an operator went on without its answer.
    Skipped,
    Sent,
    Done,
    Rejected,
    /// Best effort that came to nothing.
    GivenUp,
    Undone,
    /// An operator went on without its undo.
    UndoSkipped,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepState {
    pub(crate) name: String,
    pub(crate) status: StepStatus,
    /// Commands sent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) attempts: u32,
    /// How many of them are known not to have been carried out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) rejections: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) undo_attempts: u32,
    /// Key that the command was sent to; its undo must go there too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) key: Option<Uuid>,
}

impl StepState {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            status: StepStatus::Pending,
            attempts: 0,
            rejections: 0,
            undo_attempts: 0,
            key: None,
        }
    }

    /// Sent, not known to be rejected, and not undone: also when it was not answered.
    pub(crate) fn may_stand(&self) -> bool {
        self.attempts > self.rejections && !matches!(self.status, StepStatus::Undone | StepStatus::UndoSkipped)
    }
}

/// When the saga acts by itself if nothing comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wake {
    /// No answer by then: what the step's definition says.
    Deadline(Timestamp),
    /// The alarm has been raised; it waits on.
    Overdue,
    /// The command was rejected and is sent again then; no answer is awaited until that.
    Resend(Timestamp),
}

/// The command that the saga waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Awaited {
    pub(crate) step: usize,
    pub(crate) direction: Direction,
    pub(crate) command_id: Uuid,
    pub(crate) attempt: u32,
    pub(crate) sent_at: Timestamp,
    pub(crate) wake: Wake,
    /// Code of the latest rejection, while it is tried again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) rejected: Option<String>,
    /// An operator asked again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) retried: bool,
}

impl Awaited {
    pub(crate) fn expects(&self, reply_for: Uuid) -> bool {
        self.command_id == reply_for && !matches!(self.wake, Wake::Resend(_))
    }

    pub(crate) fn due(&self) -> Option<Timestamp> {
        match self.wake {
            Wake::Deadline(at) | Wake::Resend(at) => Some(at),
            Wake::Overdue => None,
        }
    }
}

/// A closing reply that is still owed, and on whose thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Owed {
    pub(crate) reply: PendingReply,
    pub(crate) thread: Thread,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance<D> {
    /// Version of the definition that it follows to its end. The row's bytes need no other mark.
    pub(crate) version: u32,
    pub(crate) round: i64,
    pub(crate) phase: Phase,
    /// None where it was canceled before it was started.
    pub(crate) data: Option<D>,
    pub(crate) steps: Vec<StepState>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) awaited: Option<Awaited>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) failure: Option<Failure>,
    /// The start's closing event has been published.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) closed: bool,
    /// The reply that the start is owed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) start: Option<Owed>,
    /// The cancel command has been taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) canceled: bool,
    /// The cancel's closing event has been published.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) cancel_closed: bool,
    /// The replies that cancel commands are owed, at most [`crate::CANCELS_MAX`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) cancels: Vec<Owed>,
    /// Who drives it: the thread of the start, or of the cancel.
    pub(crate) thread: Thread,
}

impl<D> Instance<D> {
    pub(crate) fn new(version: u32, round: i64, data: Option<D>, step_names: &[&str], thread: Thread) -> Self {
        Self {
            version,
            round,
            phase: Phase::Running,
            data,
            steps: step_names.iter().map(|name| StepState::new(name)).collect(),
            awaited: None,
            failure: None,
            closed: false,
            start: None,
            canceled: false,
            cancel_closed: false,
            cancels: Vec::new(),
            thread,
        }
    }

    /// The word in the row's `status` column.
    pub(crate) fn status(&self) -> &'static str {
        match self.phase {
            Phase::Done => "done",
            Phase::Compensated => "compensated",
            Phase::Failed => "failed",
            Phase::Canceled => "canceled",
            Phase::Running | Phase::Compensating => self.open_status(),
        }
    }

    fn open_status(&self) -> &'static str {
        match &self.awaited {
            Some(awaited) if awaited.rejected.is_some() => "stuck",
            Some(Awaited { wake: Wake::Overdue, .. }) => "waiting",
            Some(Awaited { retried: true, .. }) => "retrying",
            _ if self.phase == Phase::Compensating => "compensating",
            _ => "running",
        }
    }
}

impl<D: Serialize + DeserializeOwned> Instance<D> {
    pub(crate) fn read(row: &Row) -> Result<Self, Fault> {
        serde_json::from_slice(&row.body).map_err(|error| {
            // The error's text may quote values, so only the place is told.
            Fault::with("state-unreadable", format!("saga state at line {} column {}", error.line(), error.column()))
        })
    }

    /// The row, after `number` events.
    pub(crate) fn write(&self, number: u64) -> Result<Row, Fault> {
        let body = serde_json::to_vec(self).map_err(|_| Fault::new("state-unwritable"))?;
        if body.len() > ROW_BODY_MAX {
            return Err(Fault::with("state-too-large", format!("{} bytes", body.len())));
        }
        Ok(Row {
            number,
            due: self.awaited.as_ref().and_then(Awaited::due),
            status: Some(Cow::Borrowed(self.status())),
            body: body.into(),
        })
    }
}
