//! Where settings come from: defaults, then a file, then the environment. This is the only place that reads the
//! environment. Everything wrong is collected, so that it is told at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{DEFAULTS, Finding, SettingsError};

const FILE: &str = "daybook.toml";
const FILE_VARIABLE: &str = "DAYBOOK_CONFIG";
const VARIABLE_PREFIX: &str = "DAYBOOK_";
const FIELD_SEPARATOR: &str = "__";
const FILE_SUFFIX: &str = "_file";

/// Settings files and secret files are small; anything larger is a mistake.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// A file and variables to read settings from.
#[derive(Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Sources {
    /// Those of this process: `config` (the argument of `--config`), else `DAYBOOK_CONFIG`, else `daybook.toml` if it is
    /// there; and the environment.
    ///
    /// # Errors
    /// When one of our variables is not Unicode.
    pub fn of_process(config: Option<PathBuf>) -> Result<Sources, SettingsError> {
        let mut environment = Vec::new();
        let mut findings = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            if !name.starts_with(VARIABLE_PREFIX) {
                continue;
            }
            match value.into_string() {
                Ok(value) => environment.push((name, value)),
                Err(_) => findings.push(Finding::new(name, "must be UTF-8")),
            }
        }
        if !findings.is_empty() {
            return Err(SettingsError::Wrong(findings));
        }
        let named = environment
            .iter()
            .find(|(name, value)| name == FILE_VARIABLE && !value.is_empty())
            .map(|(_, path)| PathBuf::from(path));
        let usual = || Some(PathBuf::from(FILE)).filter(|path| path.exists());
        let file = config.or(named).or_else(usual);
        Ok(Sources { file, environment })
    }

    /// Exactly these: for tests, and for tools that write a settings file and read it again.
    pub fn of(file: Option<PathBuf>, environment: Vec<(String, String)>) -> Sources {
        Sources { file, environment }
    }
}

/// The merged settings, with every field of the defaults present, of the default's type, and secret files read.
pub(super) fn merge(sources: &Sources, findings: &mut Vec<Finding>) -> Result<Table, SettingsError> {
    let mut merged = Merged::defaults(findings);
    if let Some(path) = &sources.file {
        merged.add_file(parse_file(path)?);
    }
    for (name, value) in &sources.environment {
        merged.add_variable(name, value);
    }
    merged.read_secret_files();
    Ok(merged.into_table())
}

struct Merged<'a> {
    /// By `section.field`.
    values: BTreeMap<String, Value>,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Merged<'a> {
    fn defaults(findings: &'a mut Vec<Finding>) -> Self {
        let defaults: Table = DEFAULTS.parse().expect("the embedded defaults are TOML: a test reads them");
        let mut values = BTreeMap::new();
        for (section, fields) in defaults {
            for (field, value) in fields.as_table().into_iter().flatten() {
                values.insert(format!("{section}.{field}"), value.clone());
            }
        }
        Merged { values, findings }
    }

    fn add_file(&mut self, file: Table) {
        for (section, fields) in file {
            match fields {
                Value::Table(fields) => {
                    for (field, value) in fields {
                        self.set(&format!("{section}.{field}"), value);
                    }
                }
                _ => self.refuse_unknown(&section),
            }
        }
    }

    fn set(&mut self, setting: &str, value: Value) {
        let Some(known) = self.values.get_mut(setting) else {
            return self.refuse_unknown(setting);
        };
        let value = match (&*known, value) {
            (Value::Float(_), Value::Integer(whole)) => Value::Float(whole as f64),
            (_, value) => value,
        };
        if known.same_type(&value) && is_list_of_texts(&value) {
            *known = value;
        } else {
            let problem = format!("must be {}", kind(known));
            self.findings.push(Finding::new(setting, problem));
        }
    }

    fn add_variable(&mut self, name: &str, text: &str) {
        let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else {
            return;
        };
        let setting = rest.to_ascii_lowercase().replacen(FIELD_SEPARATOR, ".", 1);
        if let Some(known) = self.values.get(&setting) {
            match parse_as(known, text) {
                Some(value) => self.set(&setting, value),
                None => {
                    let problem = format!("must be {}", kind(known));
                    self.findings.push(Finding::new(name, problem));
                }
            }
        } else if rest.contains(FIELD_SEPARATOR) {
            let problem = format!("there is no such setting{}", self.suggestion(&setting, variable_name));
            self.findings.push(Finding::new(name, problem));
        } else if let Some(meant) = self.meant_by(rest) {
            let problem = format!("there is no such setting; did you mean {meant}?");
            self.findings.push(Finding::new(name, problem));
        }
        // Other variables are let be: a Kubernetes service called daybook puts DAYBOOK_SERVICE_HOST and the like into
        // every container.
    }

    /// The variable that differs from `rest` in underscores only.
    fn meant_by(&self, rest: &str) -> Option<String> {
        let letters = |text: &str| text.to_ascii_lowercase().replace(['_', '.'], "");
        self.values.keys().find(|known| letters(known) == letters(rest)).map(|known| variable_name(known))
    }

    fn refuse_unknown(&mut self, setting: &str) {
        let problem = format!("there is no such setting{}", self.suggestion(setting, str::to_owned));
        self.findings.push(Finding::new(setting, problem));
    }

    /// Names the nearest known setting, if any is near.
    fn suggestion(&self, setting: &str, write: impl Fn(&str) -> String) -> String {
        self.values
            .keys()
            .map(|known| (distance(setting, known), known))
            .filter(|(distance, known)| *distance <= known.len() / 2)
            .min()
            .map(|(_, known)| format!("; did you mean {}?", write(known)))
            .unwrap_or_default()
    }

    /// Replaces each `X` by what stands in the file that `X_file` names, and drops the `X_file`s.
    fn read_secret_files(&mut self) {
        let file_settings: Vec<(String, String)> = self
            .values
            .keys()
            .filter_map(|name| Some((name.clone(), name.strip_suffix(FILE_SUFFIX)?.to_owned())))
            .filter(|(_, target)| self.values.contains_key(target))
            .collect();
        for (file_setting, target) in file_settings {
            let path = self.values.remove(&file_setting);
            let path = path.as_ref().and_then(Value::as_str).unwrap_or_default();
            if path.is_empty() {
                continue;
            }
            if !self.values.get(&target).is_none_or(is_unset) {
                let problem = format!("is set together with {target}: set one of the two");
                self.findings.push(Finding::new(file_setting, problem));
                continue;
            }
            match read_bounded(Path::new(path)) {
                Ok(text) => self.set_from_file(&target, &text),
                Err(error) => {
                    let problem = format!("{path} cannot be read: {error}");
                    self.findings.push(Finding::new(file_setting, problem));
                }
            }
        }
    }

    fn set_from_file(&mut self, target: &str, text: &str) {
        let value = match self.values.get(target) {
            Some(Value::Array(_)) => texts(text.lines()),
            _ => Value::String(text.trim_end_matches(['\r', '\n']).to_owned()),
        };
        self.set(target, value);
    }

    fn into_table(self) -> Table {
        let mut table = Table::new();
        for (name, value) in self.values {
            let Some((section, field)) = name.split_once('.') else {
                continue;
            };
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(fields) = section {
                fields.insert(field.to_owned(), value);
            }
        }
        table
    }
}

/// "" and [] mean "not set".
pub(super) fn is_unset(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn is_list_of_texts(value: &Value) -> bool {
    value.as_array().is_none_or(|items| items.iter().all(Value::is_str))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a time",
        Value::Array(_) => "a list of texts",
        Value::Table(_) => "a section",
    }
}

/// The text of a variable as a value of the same type as `known`.
fn parse_as(known: &Value, text: &str) -> Option<Value> {
    match known {
        Value::Integer(_) => text.trim().parse().ok().map(Value::Integer),
        Value::Float(_) => text.trim().parse().ok().map(Value::Float),
        Value::Boolean(_) => text.trim().parse().ok().map(Value::Boolean),
        Value::Array(_) => Some(texts(text.split(','))),
        _ => Some(Value::String(text.to_owned())),
    }
}

fn texts<'t>(items: impl Iterator<Item = &'t str>) -> Value {
    let items = items.map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

fn variable_name(setting: &str) -> String {
    let name = setting.to_ascii_uppercase().replacen('.', FIELD_SEPARATOR, 1);
    format!("{VARIABLE_PREFIX}{name}")
}

fn parse_file(path: &Path) -> Result<Table, SettingsError> {
    let text = read_bounded(path).map_err(|reason| SettingsError::Unreadable { path: path.to_owned(), reason })?;
    text.parse::<Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        SettingsError::NotToml {
            path: path.to_owned(),
            line: before.unwrap_or_default().matches('\n').count() + 1,
            problem: error.message().to_owned(),
        }
    })
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX_BYTES {
        let problem = format!("it has more than {FILE_MAX_BYTES} bytes");
        return Err(std::io::Error::other(problem));
    }
    Ok(text)
}

/// Levenshtein's distance: how many letters must be added, dropped or changed.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, to) in right.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
