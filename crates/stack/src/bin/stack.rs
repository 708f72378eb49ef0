//! `daybook-stack`: the servers that the platform stands on, without the platform. For tests and continuous integration.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use daybook_stack::{Layout, Ports, Purpose, Result, Server, Up, down, reset, status, up};

/// Starts and stops Postgres, Kafka, the schema registry, Redis and a mail sink on loopback.
#[derive(Parser)]
#[command(name = "daybook-stack", version)]
struct Arguments {
    /// The folder for data, logs and state.
    #[arg(long, global = true, default_value = ".daybook")]
    root: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start what does not run yet.
    Up {
        /// Only these servers, separated by commas.
        #[arg(long, value_delimiter = ',', default_value = "postgres,kafka,registry,redis,mail")]
        only: Vec<Server>,
        /// Return when all is ready and leave the servers running.
        #[arg(long)]
        detach: bool,
        /// Take free ports instead of the usual ones.
        #[arg(long)]
        free_ports: bool,
        /// Size the servers for measuring.
        #[arg(long)]
        for_measurement: bool,
    },
    /// Stop what was started here.
    Down,
    /// Show what runs.
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Stop everything and delete all data.
    Reset {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let layout = Layout::new(&arguments.root)?;
    match arguments.command {
        Command::Up { only, detach, free_ports, for_measurement } => up(Up {
            layout,
            servers: only,
            ports: if free_ports { Ports::Free } else { Ports::Usual },
            purpose: if for_measurement { Purpose::Measurement } else { Purpose::Development },
            detach,
            programs: None,
        })?,
        Command::Down => down(layout)?,
        Command::Status { json } => {
            if !status(layout, json)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Reset { yes } => reset(layout, yes)?,
    }
    Ok(ExitCode::SUCCESS)
}
