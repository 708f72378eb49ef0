//! `cargo x tidy`: the rules of the workspace that a machine can check. It tells every breach
//! that it finds, each with what to do about it.

mod bans;
mod codes;
mod layers;
mod sources;

use std::path::Path;

use anyhow::{Result, ensure};

use crate::{codegen, packages::packages};

/// Checks everything; fails after having printed all breaches.
pub fn run(root: &Path) -> Result<()> {
    let packages = packages(root)?;
    let mut breaches = layers::check(&packages);
    breaches.extend(sources::check(root, &packages)?);
    if let Err(error) = codegen::run(root, true) {
        breaches.push(format!("{error:#}"));
    }
    for breach in &breaches {
        println!("{breach}");
    }
    ensure!(breaches.is_empty(), "{} breaches of the rules of the workspace", breaches.len());
    Ok(())
}
