//! Every code that somebody may be shown has a page of advice in `docs/problems`, and every page has a code.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Result;

use crate::schema::files;

/// Folder of the pages.
const PAGES: &str = "docs/problems";
/// How a record that cannot be applied is refused: the code follows.
const FAULTS: [&str; 2] = ["Fault::new(", "Fault::with("];

/// The codes of the workspace, each with a file that declares it, and all texts that could be one.
#[derive(Default)]
pub struct Codes {
    declared: BTreeMap<String, String>,
    mentioned: BTreeSet<String>,
}

impl Codes {
    /// Takes in one source file. What tests make up needs no page.
    pub fn read(&mut self, path: &Path, text: &str) {
        if path.components().any(|folder| folder.as_os_str() == "tests") {
            return;
        }
        let code_lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code_lines.collect::<Vec<_>>().join("\n");
        self.mentioned.extend(code.split('"').skip(1).step_by(2).filter(|text| is_code(text)).map(str::to_owned));
        let is_list = path.file_name().is_some_and(|name| name == "codes.rs") || code.contains("codes! {");
        let listed = code.lines().filter(|_| is_list).filter_map(listed);
        let faults = FAULTS.iter().flat_map(|start| code.split(start).skip(1)).filter_map(first_text);
        for code in listed.chain(faults).filter(|code| is_code(code)) {
            self.declared.entry(code.to_owned()).or_insert_with(|| path.display().to_string());
        }
    }

    /// Codes without page and pages without code.
    pub fn check(&self, root: &Path) -> Result<Vec<String>> {
        let pages: BTreeSet<String> = files(&root.join(PAGES))?
            .iter()
            .filter_map(|name| name.strip_suffix(".md"))
            .filter(|name| *name != "README")
            .map(str::to_owned)
            .collect();
        Ok(self.compare(&pages))
    }

    fn compare(&self, pages: &BTreeSet<String>) -> Vec<String> {
        let without_page = self.declared.iter().filter(|(code, _)| !pages.contains(*code));
        let without_page = without_page.map(|(code, file)| format!("{file}: {code} has no page {PAGES}/{code}.md"));
        let without_code = pages.iter().filter(|page| !self.mentioned.contains(*page));
        let without_code = without_code.map(|page| format!("{PAGES}/{page}.md is of no code: delete it"));
        without_page.chain(without_code).collect()
    }
}

/// The code in a line such as `COURSE_FULL = "course-full";`, with or without more words before the text.
fn listed(line: &str) -> Option<&str> {
    let (name, value) = line.split_once(" = ")?;
    let name = name.trim().trim_start_matches("pub const ").split(':').next()?;
    let is_constant =
        name.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_');
    value.split('"').nth(1).filter(|_| is_constant)
}

/// The text that an argument list begins with.
fn first_text(arguments: &str) -> Option<&str> {
    arguments.trim_start().strip_prefix('"')?.split('"').next()
}

fn is_code(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    text.starts_with(|letter: char| letter.is_ascii_lowercase()) && text.chars().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes() -> Codes {
        let mut codes = Codes::default();
        let leaf = "codes! {\n    /// WRONG = \"not-this\"\n    COURSE_FULL = \"course-full\";\n}";
        codes.read(Path::new("consumers/courses/src/codes.rs"), leaf);
        let api = "codes! {\n    TOKEN_MISSING = UNAUTHORIZED \"token-missing\" \"A token\";\n}";
        codes.read(Path::new("crates/facade/src/codes.rs"), api);
        let engine = "Err(Fault::new(\"panic\"))\nFault::with(\n    \"not-storable\", text)\nreason: \"discarded\"";
        codes.read(Path::new("crates/engine/src/fold.rs"), engine);
        codes.read(Path::new("crates/engine/tests/it/main.rs"), "Fault::new(\"made-up\")");
        codes
    }

    #[test]
    fn codes_are_found_wherever_they_are_declared() {
        let declared: Vec<_> = codes().declared.into_keys().collect();
        assert_eq!(declared, ["course-full", "not-storable", "panic", "token-missing"]);
    }

    #[test]
    fn a_code_without_page_and_a_page_without_code_are_told() {
        let pages = ["course-full", "token-missing", "panic", "discarded", "old"].map(str::to_owned).into();
        let breaches = codes().compare(&pages);
        assert_eq!(breaches.len(), 2, "{breaches:?}");
        assert!(breaches[0].contains("not-storable has no page"));
        assert!(breaches[1].contains("old.md is of no code"));
    }
}
