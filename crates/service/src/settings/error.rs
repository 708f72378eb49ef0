use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong, and what would be right. Never holds a setting's value: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `section.field`, or the variable of the environment; empty where it isn't known.
    pub setting: String,
    /// What is wrong, or what would be right.
    pub problem: String,
}

impl Finding {
    pub(super) fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Finding { setting: setting.into(), problem: problem.into() }
    }

    pub(super) fn unnamed(problem: String) -> Self {
        Finding::new("", problem)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.setting.is_empty() {
            formatter.write_str(&self.problem)
        } else {
            write!(formatter, "{}: {}", self.setting, self.problem)
        }
    }
}

/// Why a process must not start with these settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The settings file can't be read.
    #[error("the settings file {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: std::io::Error,
    },
    /// The settings file isn't TOML. Only the line is told: the text around it may hold a secret.
    #[error("the settings file {} is not TOML, line {line}: {problem}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser expected.
        problem: String,
    },
    /// Some settings are wrong.
    #[error("{}", list(.0))]
    Wrong(Vec<Finding>),
}

fn list(findings: &[Finding]) -> String {
    let head = match findings.len() {
        1 => "a setting is wrong:".to_owned(),
        many => format!("{many} settings are wrong:"),
    };
    findings.iter().fold(head, |text, finding| format!("{text}\n  {finding}"))
}
