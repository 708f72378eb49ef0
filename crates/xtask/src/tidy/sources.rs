//! What the sources themselves must look like.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::layers::Package;
use crate::schema::{files, folders};

/// Longest source file in lines, unless one of its first lines says why it is longer.
const MAX_LINES: usize = 500;
/// Begins the line that says why a file is longer.
const LONGER_BECAUSE: &str = "// Longer than 500 lines because ";

/// Folders at the top that have a README of their own.
const TOP: [&str; 8] = ["schemas", "crates", "consumers", "sagas", "producers", "tests", "deploy", "docs"];

/// Text that may not stand in a source file, unless in one of the folders named.
struct Ban {
    text: &'static str,
    except: &'static [&'static str],
    reason: &'static str,
}

const BANS: [Ban; 2] = [
    Ban { text: "[allow(", except: &[], reason: "use expect(lint, reason = \"…\") instead" },
    Ban {
        text: "env::var",
        except: &["crates/service", "crates/stack", "tests"],
        reason: "only daybook-service reads the environment",
    },
];

/// Every breach in sources and READMEs.
pub fn check(root: &Path, packages: &[Package]) -> Result<Vec<String>> {
    let mut breaches = missing_readmes(root, packages);
    let mut sources = Vec::new();
    for package in packages {
        rust_files(package.folder(), &mut sources)?;
    }
    let own = Path::new(file!()).file_name();
    for path in &sources {
        let shown = path.strip_prefix(root).unwrap_or(path);
        let text = fs::read_to_string(path).with_context(|| shown.display().to_string())?;
        // This file has to name what it bans.
        if path.file_name() != own {
            breaches.extend(banned(shown, &text));
        }
        breaches.extend(too_long(shown, &text));
    }
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

fn banned(path: &Path, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(index, line)| {
            let code = line.split("//").next().unwrap_or_default();
            BANS.iter()
                .filter(move |ban| code.contains(ban.text))
                .filter(|ban| !ban.except.iter().any(|folder| path.starts_with(folder)))
                .map(move |ban| format!("{}:{}: {}", path.display(), index + 1, ban.reason))
        })
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

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_banned_is_told_with_its_line_and_comments_are_not() {
        let text = "fn a() {}\n// env::var\nlet x = std::env::var(\"X\");\n";
        let breaches = banned(Path::new("crates/engine/src/a.rs"), text);
        assert_eq!(breaches, ["crates/engine/src/a.rs:3: only daybook-service reads the environment"]);
        assert!(banned(Path::new("crates/service/src/a.rs"), text).is_empty());
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "x\n".repeat(MAX_LINES + 1);
        assert!(too_long(Path::new("a.rs"), &long).is_some());
        let excused = format!("{LONGER_BECAUSE}it is one table.\n{long}");
        assert!(too_long(Path::new("a.rs"), &excused).is_none());
    }
}
