//! Messages made up from their schemas: an answer repeats what the command said, field by field, and
//! invents the rest.

use daybook_events::{Schemas, StaticSchemas, Writer, derive_id, descriptor};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How what is not known is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Style {
    /// Numbers are one, everything optional is there.
    Full,
    /// Numbers are zero, everything optional is absent: a free course, an enrollment that never was.
    Sparse,
}

/// The schema of a type of message, as this build writes it.
pub(crate) fn writer(full_name: &str) -> Arc<Writer> {
    let id = StaticSchemas.id_of(full_name).expect("only types of the contract are asked for");
    StaticSchemas.writer(id).expect("each id that is given out has its schema")
}

pub(crate) fn to_json(full_name: &str, body: &[u8]) -> Value {
    let descriptor = descriptor(full_name).expect("only types of the contract are asked for");
    (descriptor.to_json)(&writer(full_name), body).expect("what the saga has encoded can be decoded")
}

/// Avro bytes of a `full_name` that echoes `like` where the fields have the same name.
pub(crate) fn message(full_name: &str, like: &Value, style: Style) -> Vec<u8> {
    let descriptor = descriptor(full_name).expect("only types of the contract are asked for");
    let schema: Value = serde_json::from_str(descriptor.schema).expect("schemas of the contract are JSON");
    let mut named = Map::new();
    let value = invent(&schema, like, style, &mut named);
    let mut body = Vec::new();
    (descriptor.from_json)(&value, &mut body)
        .unwrap_or_else(|error| panic!("a sample of {full_name} cannot be made ({error}): {value}"));
    body
}

fn invent(schema: &Value, like: &Value, style: Style, named: &mut Map<String, Value>) -> Value {
    match schema {
        Value::String(name) => match named.get(name).cloned() {
            Some(schema) => invent(&schema, like, style, named),
            None => primitive(name, style),
        },
        Value::Array(branches) => union(branches, like, style, named),
        Value::Object(object) => complex(object, like, style, named),
        other => panic!("not a schema: {other}"),
    }
}

fn union(branches: &[Value], like: &Value, style: Style, named: &mut Map<String, Value>) -> Value {
    let something = branches.iter().find(|branch| branch.as_str() != Some("null"));
    match (something, style) {
        (Some(branch), Style::Full) => invent(branch, like, style, named),
        _ => Value::Null,
    }
}

fn complex(object: &Map<String, Value>, like: &Value, style: Style, named: &mut Map<String, Value>) -> Value {
    let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
    match (kind, object.get("logicalType").and_then(Value::as_str)) {
        ("record", _) => record(object, like, style, named),
        ("array", _) => json!([]),
        ("map", _) => json!({}),
        (_, Some("uuid")) => json!(derive_id("sample", &[])),
        (kind, _) => primitive(kind, style),
    }
}

fn record(object: &Map<String, Value>, like: &Value, style: Style, named: &mut Map<String, Value>) -> Value {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    named.insert(format!("{}.{}", text("namespace"), text("name")), Value::Object(object.clone()));
    named.insert(text("name").to_owned(), Value::Object(object.clone()));
    let fields = object.get("fields").and_then(Value::as_array).expect("a record has fields");
    let mut record = Map::new();
    for field in fields {
        let name = field["name"].as_str().expect("a field has a name");
        let echoed = like.get(name).filter(|value| !value.is_null()).cloned();
        let value = echoed.unwrap_or_else(|| match (name, field.get("codes")) {
            ("currency", _) => json!("USD"),
            (_, Some(codes)) if codes[0].is_string() && field["type"] == "string" => codes[0].clone(),
            _ => invent(&field["type"], &Value::Null, style, named),
        });
        record.insert(name.to_owned(), value);
    }
    Value::Object(record)
}

fn primitive(name: &str, style: Style) -> Value {
    let number = i64::from(style == Style::Full);
    match name {
        "null" => Value::Null,
        "boolean" => json!(style == Style::Full),
        "int" | "long" => json!(number),
        "float" | "double" => json!(0.5),
        "bytes" => json!([1, 2, 3]),
        "string" => json!("sample"),
        other => panic!("no sample for the type {other}"),
    }
}
