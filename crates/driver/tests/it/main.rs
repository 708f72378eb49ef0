//! A part against real servers.

mod counter;
mod effects;
mod parts;
mod recover;
mod support;
