//! A sample of each message with its bytes, made by another Avro implementation than the one
//! that the platform runs on.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use apache_avro::{Schema, writer::datum::GenericDatumWriter};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::schema::Contract;

/// By file name: the sample as JSON and its Avro bytes in hex.
pub fn samples(contract: &Contract) -> Result<BTreeMap<String, String>> {
    let mut samples = BTreeMap::new();
    for (full_name, record) in &contract.messages {
        let value = sample(&record.resolved, &Hints::of(&record.resolved), &mut BTreeMap::new())
            .with_context(|| full_name.clone())?;
        let schema = Schema::parse_str(&record.resolved.to_string())?;
        let avro =
            apache_avro::types::Value::try_from(value.clone())?.resolve(&schema).with_context(|| full_name.clone())?;
        let bytes = GenericDatumWriter::builder(&schema).build()?.write_value_to_vec(avro)?;
        let text = format!("{{\n  \"value\": {},\n  \"avro\": \"{}\"\n}}\n", sorted(&value), hex::encode(bytes));
        samples.insert(format!("{full_name}.json"), text);
    }
    Ok(samples)
}

/// What a field's attributes say about its strings.
struct Hints {
    text: String,
}

impl Hints {
    fn of(field: &Value) -> Self {
        let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
        let code = field.get("codes").and_then(|codes| codes.get(0)).and_then(Value::as_str);
        let text = match (field.get("format").and_then(Value::as_str), code) {
            (Some("iso-4217"), _) => "USD".to_owned(),
            (_, Some(code)) => code.to_owned(),
            // Beyond ASCII, so that lengths in bytes and in letters differ.
            _ => format!("{name} Ω"),
        };
        Self { text }
    }
}

fn sample(schema: &Value, hints: &Hints, named: &mut BTreeMap<String, Value>) -> Result<Value> {
    match schema {
        Value::Array(variants) => {
            let present = variants.iter().find(|variant| *variant != "null");
            sample(present.context("a union of nothing")?, hints, named)
        }
        Value::String(name) => match named.get(name) {
            Some(record) => sample(&record.clone(), hints, named),
            None => primitive(name, hints),
        },
        Value::Object(object) => complex(schema, object, hints, named),
        other => bail!("{other} is not a schema"),
    }
}

fn primitive(name: &str, hints: &Hints) -> Result<Value> {
    Ok(match name {
        "string" => json!(hints.text),
        "long" => json!(1_234_567_890_123_i64),
        "int" => json!(-42),
        "boolean" => json!(true),
        "bytes" => json!([0, 127, 128, 255]),
        other => bail!("no sample for {other}"),
    })
}

fn complex(
    schema: &Value,
    object: &Map<String, Value>,
    hints: &Hints,
    named: &mut BTreeMap<String, Value>,
) -> Result<Value> {
    let part = |name: &str| object.get(name).with_context(|| format!("has no {name}"));
    let logical = object.get("logicalType").and_then(Value::as_str);
    Ok(match (part("type")?.as_str().context("a type is a name")?, logical) {
        ("string", Some("uuid")) => json!(uuid(&hints.text)),
        ("long", Some("timestamp-micros")) => json!(1_767_225_600_123_456_i64),
        ("array", _) => {
            let item = sample(part("items")?, hints, named)?;
            json!([item, item])
        }
        ("map", _) => json!({"key": sample(part("values")?, hints, named)?}),
        ("record", _) => {
            if let (Some(namespace), Some(name)) =
                (object.get("namespace").and_then(Value::as_str), object.get("name").and_then(Value::as_str))
            {
                named.insert(format!("{namespace}.{name}"), schema.clone());
            }
            let mut record = Map::new();
            for field in part("fields")?.as_array().context("fields are a list")? {
                let name = field.get("name").and_then(Value::as_str).context("a field has a name")?;
                let value = sample(field.get("type").context("a field has a type")?, &Hints::of(field), named)?;
                record.insert(name.to_owned(), value);
            }
            Value::Object(record)
        }
        (name, _) => primitive(name, hints)?,
    })
}

fn uuid(seed: &str) -> String {
    let digits = hex::encode(&Sha256::digest(seed)[..16]);
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// JSON with sorted keys, however `serde_json` happens to be built.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let members: BTreeMap<_, _> = object.iter().collect();
            let members: Vec<String> =
                members.into_iter().map(|(key, value)| format!("{}: {}", json!(key), sorted(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
