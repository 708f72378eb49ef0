//! The command line: one file per verb.

mod bench;
mod demo;
mod dev;
mod doctor;
mod effects;
mod lag;
mod ledger;
mod local;
mod parked;
mod recover;
mod run;
mod saga;
mod sandbox;
mod schema;
mod send;
mod sim;
mod tail;
mod token;
mod topics;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use daybook_service::settings::Settings;
use daybook_service::{Section, install_tls};

use crate::connect;

/// Runs any part of the platform, and is its operator's command line.
///
/// Settings come from --config, else DAYBOOK_CONFIG, else daybook.toml in the
/// working folder, else .daybook/daybook.toml, that of the local stack; and from
/// the environment: DAYBOOK_<SECTION>__<FIELD>.
#[derive(Parser)]
#[command(name = "daybook", version, verbatim_doc_comment)]
struct Arguments {
    /// The file with the settings.
    #[arg(long, global = true, env = "DAYBOOK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run leaves, or the public API, until SIGTERM or Ctrl-C.
    Run(run::Arguments),
    /// Start, stop, look at or delete the local stack.
    Dev(dev::Arguments),
    /// Run the sandbox payment provider.
    Sandbox(sandbox::Arguments),
    /// Sign a token for the API. Development only.
    Token(token::Arguments),
    /// Create the topics of the contract, or tell what differs.
    #[command(subcommand)]
    Topics(topics::Arguments),
    /// Check or register the schemas of the contract.
    #[command(subcommand)]
    Schema(schema::Arguments),
    /// Show what is in a topic, decoded.
    Tail(tail::Arguments),
    /// Publish a command, and wait for what became of it.
    Send(send::Arguments),
    /// Look at parked records; take them up again, or give them up.
    #[command(subcommand)]
    Parked(parked::Arguments),
    /// Look at effects without an outcome; tell what became of one.
    #[command(subcommand)]
    Effects(effects::Arguments),
    /// Look at sagas, or act on them.
    #[command(subcommand)]
    Saga(saga::Arguments),
    /// Bring a part up to the book after its database was restored to an earlier time.
    Recover(recover::Arguments),
    /// Tell how many records each part has before it.
    Lag(lag::Arguments),
    /// Check all that the platform stands on; failures name their cure.
    Doctor(doctor::Arguments),
    /// Verify the ledger in the book itself.
    #[command(subcommand)]
    Ledger(ledger::Arguments),
    /// Run engine and leaves in a simulated world full of faults.
    Sim(sim::Arguments),
    /// Let a few hundred learners enroll, and check the rules.
    Demo(demo::Arguments),
    /// Measure the platform on real servers.
    Bench(bench::Arguments),
    /// The handler that `bench http` compares the API with.
    #[command(hide = true)]
    Bare,
    /// Print completions for a shell, for example: daybook completion bash.
    Completion { shell: Shell },
}

/// How a command ended that could be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    /// Something of it failed, and was told.
    Bad,
}

impl Outcome {
    pub(crate) fn good_if(is_good: bool) -> Self {
        if is_good { Self::Good } else { Self::Bad }
    }
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    install_tls();
    match carry_out(arguments) {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn carry_out(arguments: Arguments) -> Result<Outcome> {
    let place = Place { config: arguments.config };
    match arguments.verb {
        Verb::Run(arguments) => run::carry_out(&place, &arguments),
        Verb::Dev(arguments) => dev::carry_out(arguments),
        Verb::Sandbox(arguments) => sandbox::carry_out(&place, arguments),
        Verb::Token(arguments) => token::carry_out(&place, &arguments),
        Verb::Topics(arguments) => waited(topics::carry_out(&place, &arguments)),
        Verb::Schema(arguments) => waited(schema::carry_out(&place, &arguments)),
        Verb::Tail(arguments) => waited(tail::carry_out(&place, &arguments)),
        Verb::Send(arguments) => waited(send::carry_out(&place, &arguments)),
        Verb::Parked(arguments) => waited(parked::carry_out(&place, &arguments)),
        Verb::Effects(arguments) => waited(effects::carry_out(&place, &arguments)),
        Verb::Saga(arguments) => waited(saga::carry_out(&place, &arguments)),
        Verb::Recover(arguments) => waited(recover::carry_out(&place, &arguments)),
        Verb::Lag(arguments) => waited(lag::carry_out(&place, &arguments)),
        Verb::Doctor(arguments) => waited(doctor::carry_out(&place, &arguments)),
        Verb::Ledger(arguments) => waited(ledger::carry_out(&place, &arguments)),
        Verb::Sim(arguments) => sim::carry_out(&arguments),
        Verb::Demo(arguments) => waited(demo::carry_out(&place, &arguments)),
        Verb::Bench(arguments) => waited(bench::carry_out(&place, arguments)),
        Verb::Bare => waited(bench::serve_bare(&place)),
        Verb::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "daybook", &mut io::stdout());
            Ok(Outcome::Good)
        }
    }
}

/// Where the settings of a command come from.
pub(crate) struct Place {
    config: Option<PathBuf>,
}

impl Place {
    /// The settings; only these sections have to be complete.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(crate) fn settings(&self, needed: &[Section]) -> Result<Settings> {
        connect::settings(self.config.as_deref(), needed)
    }
}

/// Runs a future to its end on a runtime of its own.
pub(crate) fn waited<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("the asynchronous runtime does not start")?;
    let result = runtime.block_on(work);
    // Threads that still ask a broker need not be waited for.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
