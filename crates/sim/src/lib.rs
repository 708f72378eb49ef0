#![doc = include_str!("../README.md")]

mod auditor;
mod book;
mod database;
mod faults;
mod flows;
mod operator;
mod outside;
mod provider;
mod restore;
mod rng;
mod run;
mod shrink;
mod teeth;
mod worker;
mod world;

pub use auditor::Violation;
pub use database::Lapse;
pub use faults::{Faults, Tally, UnknownFault};
pub use restore::{Restoration, restore};
pub use run::{Outcome, Settings, TROUBLE_AFTER_MS, run, run_many};
pub use shrink::shrink;
pub use teeth::{LeftOut, TEETH, Tooth};
