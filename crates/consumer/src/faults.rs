//! Why the kit cannot apply a record: it is parked under one of these codes.

use daybook_engine::Fault;

use crate::Code;

crate::codes! {
    /// The record's key is not the one that its body names. The sender is wrong; discard it, or correct it and redrive.
    KEY_MISMATCH = "key-mismatch";
    /// The record's type does not belong into this topic. The sender is wrong or newer: deploy, then redrive; or discard.
    UNKNOWN_MESSAGE = "unknown-message";
    /// The record's bytes are not one record of its type. Discard it, or correct it and redrive.
    UNDECODABLE = "undecodable";
    /// A command was decided to events of which none closes it, and no effect is under way that could. A mistake in the leaf: correct, deploy, redrive.
    NO_CLOSING_EVENT = "no-closing-event";
    /// One command asked for two effects. A mistake in the leaf: correct, deploy, redrive.
    SECOND_EFFECT = "second-effect";
    /// The entity would become larger than a row may be. What grows without bound belongs into parts.
    STATE_TOO_LARGE = "state-too-large";
    /// A stored row was written by something newer, or by another consumer. Deploy the release that wrote it, then redrive.
    STATE_UNREADABLE = "state-unreadable";
    /// A message could not be written under its schema; most often it is too long.
    UNENCODABLE = "unencodable";
    /// A part was touched that was not declared. A mistake in the leaf: correct, deploy, redrive.
    PART_NOT_DECLARED = "part-not-declared";
    /// A timer came due, but its command was refused or changed nothing, so that it would come due for ever. A mistake in the leaf.
    TIMER_STUCK = "timer-stuck";
    /// A row of a projection does not begin with the record's key, or names a column that its table does not have. A mistake in the leaf.
    ROW_REFUSED = "row-refused";
    /// A policy's command was refused by whom it was for. See the detail for the code, correct the cause, and redrive the event that led to it.
    COMMAND_REJECTED = "command-rejected";
    /// A policy's command was thrown away where it was parked.
    COMMAND_DISCARDED = "command-discarded";
}

/// The fault of this code.
pub(crate) fn fault(code: Code, detail: impl Into<String>) -> Fault {
    Fault::with(code.name, detail)
}
