#![doc = include_str!("../README.md")]

mod batch;
mod breaker;
mod cache;
mod codec;
mod commit;
mod context;
mod counters;
mod effects;
mod engine;
mod fold;
mod io;
mod leaf;
mod marks;
mod mutation;
mod outbox;
mod partition;
mod performing;
mod record;
mod recover;
mod spec;
mod tables;
mod understood;

pub use codec::Corrupt;
pub use commit::*;
pub use context::{Context, Thread};
pub use counters::Counters;
pub use effects::*;
pub use engine::{Engine, Gauges};
pub use io::*;
pub use leaf::*;
pub use mutation::Mutation;
pub use outbox::{pack, unpack};
pub use record::*;
pub use recover::{BookMessage, Evidence, Recovered, Recovery, RecoveryError, RecoveryStep};
pub use spec::*;
