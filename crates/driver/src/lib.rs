#![doc = include_str!("../README.md")]

mod alarm;
mod behind;
mod carry;
mod clock;
mod error;
mod metrics;
mod observer;
mod part;
mod prepare;
mod recover;
mod runner;
mod traces;

pub use error::Error;
pub use observer::Observer;
pub use part::{Options, Part, Readers, Surroundings, run_part};
pub use recover::{Task as RecoveryTask, recover_part};
