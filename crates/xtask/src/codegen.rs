//! `cargo x codegen`: from `schemas/` to `crates/events/src/generated/`.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    compatibility, golden,
    render::render,
    schema::{Contract, files, folders},
};

const GENERATED: &str = "crates/events/src/generated";
const GOLDEN: &str = "schemas/golden";

/// Generates everything, or, with `check`, fails when what is there is not what would be.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let contract = Contract::read(root)?;
    compatibility::check(root, &contract)?;
    let code = formatted(root, render(&contract)?)?;
    let samples = golden::samples(&contract)?;
    if check {
        ensure_equal(&root.join(GENERATED), &code)?;
        ensure_equal(&root.join(GOLDEN), &samples)
    } else {
        replace(&root.join(GENERATED), &code)?;
        replace(&root.join(GOLDEN), &samples)
    }
}

fn formatted(root: &Path, files: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    files
        .into_iter()
        .map(|(path, text)| {
            let text = if path.ends_with(".rs") { rustfmt(root, &text).with_context(|| path.clone())? } else { text };
            Ok((path, text))
        })
        .collect()
}

/// Formats with the settings of the workspace, wherever it is called from.
fn rustfmt(root: &Path, text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .current_dir(root)
        .args(["--edition", "2024", "--emit", "stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt does not start")?;
    let mut stdin = child.stdin.take().context("rustfmt has no input")?;
    // Rustfmt reads all of its input before it writes.
    stdin.write_all(text.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "rustfmt fails");
    Ok(String::from_utf8(output.stdout)?)
}

/// Paths of all files at and below `folder`, relative to it. READMEs are written by people.
fn existing(folder: &Path, prefix: &str) -> Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut paths: Vec<String> =
        files(folder)?.into_iter().filter(|name| name != "README.md").map(|name| format!("{prefix}{name}")).collect();
    for name in folders(folder)? {
        paths.extend(existing(&folder.join(&name), &format!("{prefix}{name}/"))?);
    }
    Ok(paths)
}

fn ensure_equal(folder: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    for (path, text) in files {
        let committed = fs::read_to_string(folder.join(path)).unwrap_or_default();
        if committed != *text {
            bail!("{}/{path} is not what the schemas say: run `cargo x codegen`", folder.display());
        }
    }
    for path in existing(folder, "")? {
        ensure!(files.contains_key(&path), "{}/{path} has no schema any more: run `cargo x codegen`", folder.display());
    }
    Ok(())
}

fn replace(folder: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    for (path, text) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // An unchanged file keeps its time, so that cargo need not build it again.
        if fs::read_to_string(&path).ok().as_ref() != Some(text) {
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
    }
    for path in existing(folder, "")? {
        if !files.contains_key(&path) {
            fs::remove_file(folder.join(path))?;
        }
    }
    Ok(())
}
