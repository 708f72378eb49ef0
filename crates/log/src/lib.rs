#![doc = include_str!("../README.md")]

mod admin;
mod client;
mod error;
mod fetcher;
mod headers;
mod inputs;
mod lanes;
mod leaders;
mod log;
mod membership;
mod native;
mod producer;
mod publisher;
mod record;
mod registry;
mod requests;
mod settings;
mod subjects;
mod tail;
mod topics;
mod witness;

pub use admin::{Admin, Ends, TopicSeen};
pub use error::{Error, Refusal};
pub use fetcher::{Fetched, Fetcher};
pub use headers::{Envelope, source};
pub use log::Log;
pub use producer::read_answer;
pub use publisher::{Delivered, Publisher};
pub use registry::Registry;
pub use requests::{Position, PublishError, Request, Requests};
pub use settings::Settings;
pub use subjects::{Registered, Subject, subjects};
pub use tail::{Start, Tail};
pub use topics::{Difference, TopicPlan, plan};
pub use witness::{Committed, Witness};
