//! A part against real servers.

mod counter;
mod effects;
mod lagging;
mod parts;
mod recover;
mod support;
