//! `cargo x new`: the folder of a new leaf, small and compiling.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

/// The kinds of leaf that have a template.
#[derive(Clone, Copy, ValueEnum)]
pub enum Kind {
    /// Aggregates, policies, projections and sinks.
    Consumer,
    /// A flow over several aggregates.
    Saga,
}

/// Replaced by the leaf's name in the templates.
const NAME: &str = "{{name}}";

struct Template {
    /// The folder that the leaf's folder is in.
    shelf: &'static str,
    /// Comes after the name in the package's name.
    suffix: &'static str,
    /// Path in the leaf's folder, and text.
    files: [(&'static str, &'static str); 3],
}

impl Kind {
    fn template(self) -> Template {
        match self {
            Self::Consumer => Template {
                shelf: "consumers",
                suffix: "",
                files: [
                    ("Cargo.toml", include_str!("../templates/consumer/Cargo.toml.txt")),
                    ("README.md", include_str!("../templates/consumer/README.md.txt")),
                    ("src/lib.rs", include_str!("../templates/consumer/lib.rs.txt")),
                ],
            },
            Self::Saga => Template {
                shelf: "sagas",
                suffix: "-saga",
                files: [
                    ("Cargo.toml", include_str!("../templates/saga/Cargo.toml.txt")),
                    ("README.md", include_str!("../templates/saga/README.md.txt")),
                    ("src/lib.rs", include_str!("../templates/saga/lib.rs.txt")),
                ],
            },
        }
    }
}

/// Writes the leaf called `name`.
pub fn run(root: &Path, kind: Kind, name: &str) -> Result<()> {
    ensure!(is_name(name), "a name is lower-case words joined by hyphens, not {name}");
    let template = kind.template();
    let folder = root.join(template.shelf).join(name);
    ensure!(!folder.exists(), "{}/{name} is there already", template.shelf);
    for (path, text) in template.files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text.replace(NAME, name)).with_context(|| path.display().to_string())?;
    }
    let (shelf, package) = (template.shelf, format!("{name}{}", template.suffix));
    println!("{shelf}/{name} is there. Three things are left to you:");
    println!("  Cargo.toml: {package} = {{ path = \"{shelf}/{name}\" }} under [workspace.dependencies]");
    println!("  crates/daybook/Cargo.toml: {package}.workspace = true");
    println!("  crates/daybook: its line in the list of leaves");
    Ok(())
}

fn is_name(name: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    };
    name.split('-').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_words() {
        assert!(is_name("progress") && is_name("lab-results2"));
        for name in ["", "Progress", "a--b", "-a", "a_b", "../x", "2a"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
