//! Ids that anybody derives equally, so that a repeated step is the same step.

use daybook_events::derive_id;
use uuid::Uuid;

use crate::instance::Direction;

/// What is common to every attempt at a step.
pub(crate) fn step(saga: &str, instance_id: Uuid, round: i64, step: &str) -> Uuid {
    derive_id("saga-step", &[saga.as_bytes(), instance_id.as_bytes(), &round.to_be_bytes(), step.as_bytes()])
}

/// Id of one attempt at a step, or at its undo.
pub(crate) fn command(step_id: Uuid, direction: Direction, attempt: u32) -> Uuid {
    derive_id("saga-command", &[step_id.as_bytes(), direction.name().as_bytes(), &attempt.to_be_bytes()])
}
