//! The sandbox over real HTTP, with its real log.

mod faults;
mod keys;
mod kill;
mod life;
mod support;
