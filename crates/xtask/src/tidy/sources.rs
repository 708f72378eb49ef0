//! What the sources themselves must look like.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::bans::Bans;
use super::codes::Codes;
use crate::packages::Package;
use crate::schema::{files, folders};

/// Longest source file in lines, unless one of its first lines says why it is longer.
const MAX_LINES: usize = 500;
/// Begins the line that says why a file is longer.
const LONGER_BECAUSE: &str = "// Longer than 500 lines because ";

/// Folders at the top that have a README of their own.
const TOP: [&str; 8] = ["schemas", "crates", "consumers", "sagas", "producers", "tests", "deploy", "docs"];

/// Switches a rule off without a word; `expect` with a reason says why, and is told when it is needed no more.
const ALLOWANCE: &str = "[allow(";

/// Every breach in sources, READMEs and pages.
pub fn check(root: &Path, packages: &[Package]) -> Result<Vec<String>> {
    let mut breaches = missing_readmes(root, packages);
    let bans = Bans::read(root)?;
    let mut codes = Codes::default();
    let mut sources = Vec::new();
    for package in packages {
        rust_files(package.folder(), &mut sources)?;
    }
    // The rules themselves have to name what they are about.
    let rules = Path::new(file!()).parent().context("this file is in a folder")?;
    for path in &sources {
        let shown = path.strip_prefix(root).unwrap_or(path);
        let text = fs::read_to_string(path).with_context(|| shown.display().to_string())?;
        if !shown.starts_with(rules) {
            breaches.extend(allowances(shown, &text));
            breaches.extend(bans.check(shown, &text));
            codes.read(shown, &text);
        }
        breaches.extend(too_long(shown, &text));
    }
    breaches.extend(codes.check(root)?);
    breaches.extend(unformatted(root, &sources)?);
    Ok(breaches)
}

fn missing_readmes(root: &Path, packages: &[Package]) -> Vec<String> {
    let folders = packages.iter().map(|package| package.folder().to_path_buf());
    let top = TOP.iter().map(|name| root.join(name)).chain([root.to_path_buf()]);
    folders
        .chain(top)
        .filter(|folder| !folder.join("README.md").exists())
        .map(|folder| format!("{} has no README.md", relative(root, &folder)))
        .collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    found.extend(files(folder)?.iter().filter(|name| name.ends_with(".rs")).map(|name| folder.join(name)));
    // Generated code is formatted by its generator and as long as the contract is.
    for name in folders(folder)?.iter().filter(|name| !["generated", "target", "templates"].contains(&name.as_str())) {
        rust_files(&folder.join(name), found)?;
    }
    Ok(())
}

fn allowances(path: &Path, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let allowing = lines.filter(|(_, line)| line.split("//").next().is_some_and(|code| code.contains(ALLOWANCE)));
    allowing
        .map(|(index, _)| format!("{}:{}: use expect(lint, reason = \"…\") instead", path.display(), index + 1))
        .collect()
}

fn too_long(path: &Path, text: &str) -> Option<String> {
    let lines = text.lines().count();
    let is_excused = text.lines().any(|line| line.starts_with(LONGER_BECAUSE));
    (lines > MAX_LINES && !is_excused)
        .then(|| format!("{} has {lines} lines: split it, or say `{LONGER_BECAUSE}…`", path.display()))
}

fn unformatted(root: &Path, sources: &[PathBuf]) -> Result<Vec<String>> {
    let output = Command::new("rustfmt")
        .args(["--edition", "2024", "--check", "-l"])
        .args(sources)
        .output()
        .context("rustfmt does not start")?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(Vec::new());
    }
    let mut breaches: Vec<String> = listed
        .lines()
        .map(|path| format!("{} is not formatted: run `cargo fmt`", relative(root, Path::new(path))))
        .collect();
    if breaches.is_empty() {
        breaches.push(format!("rustfmt fails: {}", String::from_utf8_lossy(&output.stderr)));
    }
    breaches.sort();
    breaches.dedup();
    Ok(breaches)
}

/// The path from the top; the top itself is called so.
fn relative(root: &Path, path: &Path) -> String {
    match path.strip_prefix(root).unwrap_or(path) {
        top if top.as_os_str().is_empty() => "the top".to_owned(),
        below => below.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_told_with_its_line() {
        let text = "fn a() {}\n// #[allow(x)]\n#[allow(dead_code)]\nfn b() {}\n";
        let breaches = allowances(Path::new("a.rs"), text);
        assert_eq!(breaches, ["a.rs:3: use expect(lint, reason = \"…\") instead"]);
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "x\n".repeat(MAX_LINES + 1);
        assert!(too_long(Path::new("a.rs"), &long).is_some());
        let excused = format!("{LONGER_BECAUSE}it is one table.\n{long}");
        assert!(too_long(Path::new("a.rs"), &excused).is_none());
    }
}
