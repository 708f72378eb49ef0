#![doc = include_str!("../README.md")]

mod commands;
mod downloads;
mod error;
mod health;
mod layout;
mod ports;
mod process;
mod progress;
mod secrets;
mod server;
mod servers;
mod shared;
mod stack;
mod state;
mod watchdog;

pub use commands::{Programs, Up, down, reset, status, up};
pub use error::{Error, Result};
pub use layout::Layout;
pub use ports::Ports;
pub use process::Launch;
pub use progress::{Lines, Progress, Silent, progress_for_terminal};
pub use secrets::Secrets;
pub use server::Server;
pub use stack::{Lifetime, Plan, Purpose, Stack, Urls};
