//! What is told of a transition: a record on the saga's events topic and a row of its history, from one source.

use daybook_events::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// What happened to a step. The words are those of `SagaAdvanced.what`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    Answered,
    Rejected,
    Discarded,
    Late,
    Skipped,
    TimedOut,
    Alarmed,
    Retried,
    Compensated,
    Canceled,
    Undone,
    UndoRejected,
    UndoSkipped,
}

impl What {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Rejected => "rejected",
            Self::Discarded => "discarded",
            Self::Late => "late",
            Self::Skipped => "skipped",
            Self::TimedOut => "timed-out",
            Self::Alarmed => "alarmed",
            Self::Retried => "retried",
            Self::Compensated => "compensated",
            Self::Canceled => "canceled",
            Self::Undone => "undone",
            Self::UndoRejected => "undo-rejected",
            Self::UndoSkipped => "undo-skipped",
        }
    }
}

/// One transition.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) what: What,
    pub(crate) step: String,
    pub(crate) attempt: u32,
    pub(crate) command_id: Option<Uuid>,
    pub(crate) answer_type: Option<String>,
    pub(crate) answer_code: Option<String>,
}

impl Note {
    pub(crate) fn new(what: What, step: impl Into<String>, attempt: u32) -> Self {
        Self { what, step: step.into(), attempt, command_id: None, answer_type: None, answer_code: None }
    }
}

/// A row of the history, as the console reads it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct HistoryRow<'a> {
    pub(crate) at: Timestamp,
    pub(crate) round: i64,
    /// `started`, `ended`, `operator`, or a word of `SagaAdvanced.what`.
    pub(crate) what: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) step: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'a str>,
    /// The step whose command was sent by this, with its direction: `do` or `undo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_command_id: Option<Uuid>,
    /// The operator, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    /// The row's status afterwards.
    pub(crate) state: &'static str,
    /// The message that brought it about.
    pub(crate) cause: Uuid,
}
