#![doc = include_str!("../README.md")]

mod codegen;
mod compatibility;
mod golden;
mod packages;
mod render;
mod scaffold;
mod schema;
mod test;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Chores of the workspace.
#[derive(Parser)]
#[command(name = "cargo x")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Generates the Rust types and golden samples from schemas/.
    Codegen {
        /// Changes nothing; fails when something would change.
        #[arg(long)]
        check: bool,
    },
    /// Writes the folder of a new leaf.
    New {
        /// What it is.
        kind: scaffold::Kind,
        /// Lower-case words joined by hyphens.
        name: String,
    },
    /// Writes down the present schemas as released: from then on they must stay compatible.
    Release,
    /// Runs the tests of some packages out of one build of the whole workspace.
    Test {
        /// Only of this package; may be given several times.
        #[arg(long = "package", short)]
        packages: Vec<String>,
        /// Not of this package; may be given several times.
        #[arg(long = "exclude")]
        excluded: Vec<String>,
        /// What the tests are told, as after `cargo test --`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Checks layers, READMEs, formatting, lengths, bans and generated files.
    Tidy,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let root = root()?;
    match Arguments::parse().chore {
        Chore::Codegen { check } => codegen::run(&root, check),
        Chore::New { kind, name } => scaffold::run(&root, kind, &name),
        Chore::Tidy => tidy::run(&root),
        Chore::Test { packages, excluded, arguments } => {
            let selection =
                test::Selection { packages: packages.into_iter().collect(), excluded: excluded.into_iter().collect() };
            test::run(&root, &selection, &arguments)
        }
        Chore::Release => {
            let contract = schema::Contract::read(&root)?;
            for line in compatibility::release(&root, &contract)? {
                println!("released {line}");
            }
            Ok(())
        }
    }
}

/// The workspace's folder.
fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    Ok(root.context("this crate is two folders below the workspace")?.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Freshness of all that is generated, and compatibility with all that is released.
    #[test]
    fn generated_files_are_what_the_schemas_say() {
        codegen::run(&root().unwrap(), true).unwrap();
    }
}
