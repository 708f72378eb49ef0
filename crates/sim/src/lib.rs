#![doc = include_str!("../README.md")]

mod auditor;
mod book;
mod database;
mod faults;
mod outside;
mod provider;
mod rng;
mod worker;
mod world;

pub use auditor::{Auditor, Paid, Violation};
pub use book::{Book, BookRecord};
pub use database::{Tables, partition_of};
pub use faults::{Faults, Tally};
pub use outside::{Answering, Outside};
pub use rng::Rng;
mod flows;
mod operator;
mod run;
pub use flows::leaves;
pub use run::{Outcome, Settings, run};
pub use world::World;
