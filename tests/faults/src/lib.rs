#![doc = include_str!("../README.md")]

pub mod chance;
pub mod cluster;
pub mod figures;
pub mod inject;
pub mod load;
pub mod plan;
pub mod proxy;
pub mod report;
pub mod run;
pub mod secrets;

pub use report::Report;
pub use run::{Options, run};
