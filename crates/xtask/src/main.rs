#![doc = include_str!("../README.md")]

mod codegen;
mod compatibility;
mod golden;
mod render;
mod schema;

use std::path::{Path, PathBuf};

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
    /// Writes down the present schemas as released: from then on they must stay compatible.
    Release,
}

fn main() -> Result<()> {
    let root = root()?;
    match Arguments::parse().chore {
        Chore::Codegen { check } => codegen::run(&root, check),
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
    Ok(root
        .context("this crate is two folders below the workspace")?
        .to_path_buf())
}
