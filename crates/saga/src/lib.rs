#![doc = include_str!("../README.md")]

mod book;
mod builder;
pub mod codes;
mod definition;
mod flaw;
mod flow;
mod ids;
mod instance;
mod leaf;
mod notes;
mod prove;
mod replies;
mod verbs;

pub use builder::{Answered, Begun, DefinitionError, Named, STEPS_MAX, SagaBuilder, Unanswered, Versioned};
pub use definition::{Failure, Refused, Saga, Start, StepContext, StepId};
pub use flaw::Flaw;
pub use flow::{CANCELS_MAX, RESEND_MAX_MS, RESEND_MIN_MS};
pub use leaf::{SagaData, Versions};
pub use prove::{Counterexample, FAULTS, Proof, Sample, prove, prove_given};

/// Lengths of time in ms, as deadlines are written.
pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

#[cfg(test)]
mod tests;
