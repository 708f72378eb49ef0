//! The store against a real Postgres: every promise that the engine builds on.

mod batch;
mod bench;
mod birth;
mod connections;
mod failures;
mod fence;
mod projection;
mod reading;
mod rings;
mod server;
mod vault;
