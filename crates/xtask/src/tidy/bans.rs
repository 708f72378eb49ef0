//! What has one home: `clippy.toml` lists it. Clippy judges by types, but is not part of every test run; here the
//! text is judged, which is coarser and takes no time.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

/// A file that has a reason names this lint.
const EXCUSE: &str = "clippy::disallowed_methods";

/// Where the tests of a file begin.
const TESTS: &str = "\nmod tests {";

/// A method that is called only where a reason stands.
#[derive(Deserialize)]
struct Method {
    path: String,
    reason: String,
}

/// The list.
#[derive(Deserialize)]
pub struct Bans {
    #[serde(rename = "disallowed-methods")]
    methods: Vec<Method>,
}

impl Bans {
    /// Reads `clippy.toml`.
    ///
    /// # Errors
    /// When it is not there or is not such a list.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("clippy.toml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).context("clippy.toml")
    }

    /// Calls without a reason in one source file.
    pub fn check(&self, path: &Path, text: &str) -> Vec<String> {
        if text.contains(EXCUSE) || path.components().any(|folder| folder.as_os_str() == "tests") {
            return Vec::new();
        }
        // Inline tests stand at the end.
        let code = text.split(TESTS).next().unwrap_or_default();
        let lines = code.lines().enumerate();
        lines
            .flat_map(|(index, line)| {
                let code = line.split("//").next().unwrap_or_default();
                let called = self.methods.iter().filter(move |method| calls(code, &method.path));
                called.map(move |method| {
                    format!("{}:{}: {}; or expect({EXCUSE}) with a reason", path.display(), index + 1, method.reason)
                })
            })
            .collect()
    }
}

/// Whether the line names the method by its last two words, as it is written wherever its module is imported.
fn calls(code: &str, path: &str) -> bool {
    let words: Vec<&str> = path.rsplitn(3, "::").take(2).collect();
    let name = words.into_iter().rev().collect::<Vec<_>>().join("::");
    let is_in_word = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    code.match_indices(&name).any(|(at, _)| {
        !is_in_word(code[..at].chars().next_back()) && !is_in_word(code[at + name.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bans() -> Bans {
        let method = |path: &str| Method { path: path.to_owned(), reason: format!("no {path}") };
        Bans { methods: vec![method("std::env::var"), method("tokio::spawn")] }
    }

    #[test]
    fn a_call_is_told_with_its_line_and_a_comment_is_not() {
        let text = "fn a() {}\n// env::var\nlet x = std::env::var(\"X\");\nlet y = env::vars();\n";
        let breaches = bans().check(Path::new("crates/engine/src/a.rs"), text);
        assert_eq!(breaches.len(), 1, "{breaches:?}");
        assert!(breaches[0].starts_with("crates/engine/src/a.rs:3: no std::env::var"));
    }

    #[test]
    fn a_reason_excuses_and_tests_are_free() {
        let spawning = "tokio::spawn(work);\n";
        let excused = format!("#[expect({EXCUSE}, reason = \"…\")]\n{spawning}");
        assert_eq!(bans().check(Path::new("crates/a/src/a.rs"), spawning).len(), 1);
        assert!(bans().check(Path::new("crates/a/src/a.rs"), &excused).is_empty());
        assert!(bans().check(Path::new("crates/a/tests/it/a.rs"), spawning).is_empty());
        let inline = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{spawning}}}\n");
        assert!(bans().check(Path::new("crates/a/src/a.rs"), &inline).is_empty());
    }
}
