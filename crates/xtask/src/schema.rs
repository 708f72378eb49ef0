//! The `.avsc` files, read and checked, with the value types that they name put in their places.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

/// Everything under `schemas/` that is not `released/` or `golden/`.
pub struct Contract {
    /// By full name.
    pub messages: BTreeMap<String, Record>,
    /// Value types by full name.
    pub values: BTreeMap<String, Record>,
}

/// One `.avsc` file.
#[derive(Clone)]
pub struct Record {
    pub name: String,
    pub namespace: String,
    pub doc: String,
    /// Attributes of a message; a value type has none.
    pub message: Option<Attributes>,
    pub fields: Vec<Field>,
    /// The schema with value types in their places.
    pub resolved: Value,
}

#[derive(Clone)]
pub struct Attributes {
    pub kind: String,
    pub topic: String,
    pub key: String,
    pub closing: Vec<String>,
    pub undoes: Option<String>,
}

#[derive(Clone)]
pub struct Field {
    pub name: String,
    pub doc: String,
    pub schema: Value,
    pub default: Option<Value>,
    /// What the strings of type uuid identify.
    pub id: Option<String>,
    /// The field whose person's data key seals this one.
    pub sealed: Option<String>,
    pub codes: Vec<String>,
    /// True for ISO 4217 codes.
    pub is_currency: bool,
}

impl Record {
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }
}

impl Field {
    /// The schema of what is there when it is there, and whether it may be absent.
    pub fn unwrapped(&self) -> (&Value, bool) {
        match self.schema.as_array().map(Vec::as_slice) {
            Some([null, inner]) if null == "null" => (inner, true),
            _ => (&self.schema, false),
        }
    }
}

impl Contract {
    /// Reads all schemas under `root/schemas`.
    pub fn read(root: &Path) -> Result<Self> {
        let folder = root.join("schemas");
        let mut raw = BTreeMap::new();
        for domain in folders(&folder)? {
            if domain != "released" && domain != "golden" {
                read_folder(&folder.join(domain), &mut raw)?;
            }
        }
        let mut contract = Self { messages: BTreeMap::new(), values: BTreeMap::new() };
        for (full_name, schema) in &raw {
            let record = record(schema, &raw).with_context(|| full_name.clone())?;
            if record.message.is_some() {
                contract.messages.insert(full_name.clone(), record);
            } else {
                contract.values.insert(full_name.clone(), record);
            }
        }
        contract.check()?;
        Ok(contract)
    }

    /// The message called `name`, without namespace.
    pub fn by_name(&self, name: &str) -> Option<&Record> {
        self.messages.values().find(|record| record.name == name)
    }

    fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for record in self.messages.values().chain(self.values.values()) {
            ensure!(names.insert(&record.name), "two records are called {}", record.name);
        }
        for record in self.messages.values() {
            self.check_message(record).with_context(|| record.full_name())?;
        }
        Ok(())
    }

    fn check_message(&self, record: &Record) -> Result<()> {
        let Some(attributes) = &record.message else { bail!("has no kind, topic and key") };
        let names: Vec<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
        ensure!(names.contains(&attributes.key.as_str()), "key {} is not a field", attributes.key);
        for field in &record.fields {
            if let Some(owner) = &field.sealed {
                ensure!(names.contains(&owner.as_str()), "{} is sealed by {owner}, which is not a field", field.name);
            }
        }
        match attributes.kind.as_str() {
            "command" => ensure!(!attributes.closing.is_empty(), "a command has closing events"),
            "event" | "control" => ensure!(
                attributes.closing.is_empty() && attributes.undoes.is_none(),
                "only commands have closing and undoes"
            ),
            other => bail!("kind {other} is none of command, event, control"),
        }
        for name in &attributes.closing {
            let kind = self.by_name(name).and_then(|event| event.message.as_ref()).map(|it| it.kind.as_str());
            ensure!(kind == Some("event"), "closing {name} is not an event");
        }
        if let Some(name) = &attributes.undoes {
            let undone = self.by_name(name).and_then(|command| command.message.as_ref());
            ensure!(
                undone
                    .is_some_and(|it| it.kind == "command" && it.topic == attributes.topic && it.key == attributes.key),
                "undoes {name}, which is not a command of the same topic and key"
            );
        }
        Ok(())
    }
}

/// Names of the folders in `path`, in order.
pub fn folders(path: &Path) -> Result<Vec<String>> {
    names(path, |entry| entry.is_dir())
}

/// Names of the files in `path`, in order.
pub fn files(path: &Path) -> Result<Vec<String>> {
    names(path, |entry| entry.is_file())
}

fn names(path: &Path, wanted: fn(&Path) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        if wanted(&entry.path()) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn read_folder(folder: &Path, raw: &mut BTreeMap<String, Value>) -> Result<()> {
    for name in files(folder)? {
        let Some(stem) = name.strip_suffix(".avsc") else {
            continue;
        };
        let path = folder.join(&name);
        let schema: Value =
            serde_json::from_str(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())?;
        ensure!(text(&schema, "name")? == stem, "{} holds another record than its name says", path.display());
        let full_name = format!("{}.{stem}", text(&schema, "namespace")?);
        ensure!(raw.insert(full_name.clone(), schema).is_none(), "{full_name} is there twice");
    }
    Ok(())
}

fn record(schema: &Value, raw: &BTreeMap<String, Value>) -> Result<Record> {
    let fields = array(schema, "fields")?.iter().map(field).collect::<Result<_>>()?;
    let namespace = text(schema, "namespace")?;
    let mut resolved = schema.clone();
    resolve(&mut resolved, raw, &mut BTreeSet::new())?;
    apache_avro::Schema::parse_str(&resolved.to_string()).context("is not valid Avro")?;
    Ok(Record {
        name: text(schema, "name")?,
        doc: text(schema, "doc")?,
        message: if namespace == "daybook.values" { None } else { Some(attributes(schema)?) },
        namespace,
        fields,
        resolved,
    })
}

fn attributes(schema: &Value) -> Result<Attributes> {
    Ok(Attributes {
        kind: text(schema, "kind")?,
        topic: text(schema, "topic")?,
        key: text(schema, "key")?,
        closing: texts(schema, "closing")?,
        undoes: schema.get("undoes").map(|_| text(schema, "undoes")).transpose()?,
    })
}

fn field(schema: &Value) -> Result<Field> {
    let name = text(schema, "name")?;
    let optional = |attribute| schema.get(attribute).map(|_| text(schema, attribute)).transpose();
    let read = || {
        Ok::<_, anyhow::Error>(Field {
            name: name.clone(),
            doc: text(schema, "doc")?,
            schema: schema.get("type").context("has no type")?.clone(),
            default: schema.get("default").cloned(),
            id: optional("id")?,
            sealed: optional("sealed")?,
            codes: texts(schema, "codes")?,
            is_currency: optional("format")?.as_deref() == Some("iso-4217"),
        })
    };
    let field = read().with_context(|| format!("field {name}"))?;
    let is_nullable = field.unwrapped().1;
    ensure!(!is_nullable || field.default == Some(Value::Null), "field {name}: what may be null has the default null");
    Ok(field)
}

fn text(schema: &Value, key: &str) -> Result<String> {
    let text = schema.get(key).and_then(Value::as_str);
    Ok(text.with_context(|| format!("has no {key}"))?.to_owned())
}

fn array<'a>(schema: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    schema.get(key).and_then(Value::as_array).with_context(|| format!("has no {key}"))
}

fn texts(schema: &Value, key: &str) -> Result<Vec<String>> {
    let Some(list) = schema.get(key) else {
        return Ok(Vec::new());
    };
    serde_json::from_value(list.clone()).with_context(|| format!("{key} is not a list of texts"))
}

/// Puts each value type where it is first named.
fn resolve(schema: &mut Value, raw: &BTreeMap<String, Value>, seen: &mut BTreeSet<String>) -> Result<()> {
    match schema {
        Value::String(name) if name.contains('.') && seen.insert(name.clone()) => {
            let mut value = raw.get(name).with_context(|| format!("{name} is not known"))?.clone();
            resolve(&mut value, raw, seen)?;
            *schema = value;
        }
        Value::Array(variants) => {
            for variant in variants {
                resolve(variant, raw, seen)?;
            }
        }
        Value::Object(object) => {
            for key in ["items", "values"] {
                if let Some(inner) = object.get_mut(key) {
                    resolve(inner, raw, seen)?;
                }
            }
            for field in object.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(inner) = field.get_mut("type") {
                    resolve(inner, raw, seen)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// A schema as JSON whose keys stand in an order that reads well, one field on a line.
/// Independent of how `serde_json` happens to be built.
pub fn pretty(schema: &Value) -> String {
    let Some(object) = schema.as_object() else {
        return inline(schema);
    };
    let mut lines = Vec::new();
    for (key, value) in ordered(object) {
        if key == "fields" {
            let fields: Vec<String> =
                value.as_array().into_iter().flatten().map(|field| format!("    {}", inline(field))).collect();
            lines.push(format!("  \"fields\": [\n{}\n  ]", fields.join(",\n")));
        } else {
            lines.push(format!("  {}: {}", json!(key), inline(value)));
        }
    }
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let members: Vec<String> =
                ordered(object).into_iter().map(|(key, value)| format!("{}: {}", json!(key), inline(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

fn ordered(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    const FIRST: [&str; 8] = ["type", "namespace", "name", "doc", "kind", "topic", "key", "closing"];
    const LAST: &str = "fields";
    let rank = |key: &str| match FIRST.iter().position(|first| *first == key) {
        Some(position) => position,
        None if key == LAST => FIRST.len() + 1,
        None => FIRST.len(),
    };
    let mut members: Vec<_> = object.iter().collect();
    members.sort_by(|(left, _), (right, _)| rank(left).cmp(&rank(right)).then(left.cmp(right)));
    members
}
