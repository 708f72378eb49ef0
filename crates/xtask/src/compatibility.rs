//! Released versions of schemas, and what a new one may change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use apache_avro::{
    Schema,
    schema_compatibility::{Compatibility, SchemaCompatibility},
};

use crate::{
    golden,
    schema::{Contract, Record, files, folders, pretty},
};

const RELEASED: &str = "schemas/released";

/// Fails when a schema is not compatible with one of its released versions, or is gone.
///
/// Events live for ever and are read by anybody, so every version reads every other
/// (FULL_TRANSITIVE). Commands and control messages are short-lived: the new version reads the
/// old ones (BACKWARD_TRANSITIVE).
pub fn check(root: &Path, contract: &Contract) -> Result<()> {
    let released = root.join(RELEASED);
    if !released.exists() {
        return Ok(());
    }
    for full_name in folders(&released)? {
        let record = contract.messages.get(&full_name).with_context(|| {
            format!("{full_name} was released and is gone: its records are still in the book, so its schema stays")
        })?;
        let current = parse(&record.resolved.to_string())?;
        for number in versions(&released.join(&full_name))? {
            let path = released.join(&full_name).join(format!("{number}.avsc"));
            let old = parse(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())?;
            compare(record, &current, &old)
                .with_context(|| format!("{full_name} is not compatible with its released version {number}"))?;
        }
    }
    Ok(())
}

/// Copies what differs from its latest released version as the next one, with its golden sample.
/// Returns what was released.
pub fn release(root: &Path, contract: &Contract) -> Result<Vec<String>> {
    check(root, contract)?;
    let samples = golden::samples(contract)?;
    let mut released = Vec::new();
    for (full_name, record) in &contract.messages {
        let folder: PathBuf = root.join(RELEASED).join(full_name);
        fs::create_dir_all(&folder)?;
        let latest = versions(&folder)?.last().copied().unwrap_or(0);
        let text = pretty(&record.resolved);
        if latest > 0 && fs::read_to_string(folder.join(format!("{latest}.avsc")))? == text {
            continue;
        }
        let next = latest + 1;
        let sample = samples.get(&format!("{full_name}.json")).context("no golden sample")?;
        fs::write(folder.join(format!("{next}.avsc")), text)?;
        fs::write(folder.join(format!("{next}.json")), sample)?;
        released.push(format!("{full_name} {next}"));
    }
    Ok(released)
}

fn parse(json: &str) -> Result<Schema> {
    Ok(Schema::parse_str(json)?)
}

fn versions(folder: &Path) -> Result<Vec<u32>> {
    let mut versions = Vec::new();
    for name in files(folder)? {
        if let Some(stem) = name.strip_suffix(".avsc") {
            versions.push(stem.parse().with_context(|| format!("{stem} is not the number of a version"))?);
        }
    }
    versions.sort_unstable();
    Ok(versions)
}

fn compare(record: &Record, current: &Schema, old: &Schema) -> Result<()> {
    let attributes = record.message.as_ref().context("is not a message")?;
    ensure_reads(current, old).context("the new version cannot read the old one: give a new field a default")?;
    if attributes.kind == "event" {
        ensure_reads(old, current)
            .context("the old version cannot read the new one: an event keeps all fields without default")?;
    }
    Ok(())
}

fn ensure_reads(reader: &Schema, writer: &Schema) -> Result<()> {
    match SchemaCompatibility::can_read(writer, reader) {
        Ok(Compatibility::Full) => Ok(()),
        Ok(Compatibility::Partial) => bail!("only some values could be read"),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(fields: serde_json::Value) -> Schema {
        let schema = json!({"type": "record", "name": "Happened", "fields": fields});
        parse(&schema.to_string()).unwrap()
    }

    #[test]
    fn a_field_with_a_default_may_come_and_go() {
        let old = event(json!([{"name": "a", "type": "string"}]));
        let new = event(json!([
            {"name": "a", "type": "string"},
            {"name": "b", "type": ["null", "string"], "default": null},
        ]));
        ensure_reads(&new, &old).unwrap();
        ensure_reads(&old, &new).unwrap();
    }

    #[test]
    fn a_field_without_default_may_not() {
        let old = event(json!([{"name": "a", "type": "string"}]));
        let new = event(json!([{"name": "a", "type": "string"}, {"name": "b", "type": "string"}]));
        assert!(ensure_reads(&new, &old).is_err());
        ensure_reads(&old, &new).unwrap();
        assert!(ensure_reads(&event(json!([{"name": "a", "type": "long"}])), &old).is_err());
    }

    #[test]
    fn what_is_null_now_and_then_is_not_what_never_is() {
        let old = event(json!([{"name": "a", "type": "string"}]));
        let new = event(json!([{"name": "a", "type": ["null", "string"], "default": null}]));
        ensure_reads(&new, &old).unwrap();
        assert!(ensure_reads(&old, &new).is_err());
    }
}
