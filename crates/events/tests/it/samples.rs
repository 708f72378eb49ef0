//! The golden samples in `schemas/`: values with their bytes, as another Avro implementation
//! writes them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub struct Sample {
    pub full_name: String,
    pub value: Value,
    pub bytes: Vec<u8>,
    /// The schema that the bytes were written with.
    pub schema: String,
}

/// One of each message as it is now.
pub fn current() -> Vec<Sample> {
    daybook_events::all()
        .iter()
        .map(|descriptor| {
            let path = schemas().join("golden").join(format!("{}.json", descriptor.full_name));
            read(descriptor.full_name, &path, descriptor.schema.to_owned())
        })
        .collect()
}

/// One of each message as it was in each released version.
pub fn released() -> Vec<Sample> {
    let mut samples = Vec::new();
    for folder in children(&schemas().join("released")).filter(|path| path.is_dir()) {
        let full_name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        for path in children(&folder).filter(|path| path.extension().unwrap() == "avsc") {
            let schema = fs::read_to_string(&path).unwrap();
            samples.push(read(&full_name, &path.with_extension("json"), schema));
        }
    }
    samples
}

pub fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

fn read(full_name: &str, path: &Path, schema: String) -> Sample {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let golden: Value = serde_json::from_str(&text).unwrap();
    Sample {
        full_name: full_name.to_owned(),
        value: golden["value"].clone(),
        bytes: hex::decode(golden["avro"].as_str().unwrap()).unwrap(),
        schema,
    }
}
