#![doc = include_str!("../README.md")]

mod action;
mod api;
mod cli;
mod connect;
mod contacts;
mod dependencies;
mod leaves;
mod marks;
mod output;
mod wakes;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
