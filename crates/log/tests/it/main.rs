//! The log against a real Kafka and a real registry.

mod admin;
mod fetching;
mod membership;
mod publishing;
mod registry;
mod requests;
mod support;
mod tail;
