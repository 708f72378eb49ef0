//! A field is added with a default: what each side makes of the other's bytes.

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
use daybook_events::{SeatConfirmed, SeatReleased, Writer, decode, encode};
use serde_json::json;

use crate::samples;

fn sample(name: &str) -> samples::Sample {
    samples::current().into_iter().find(|sample| sample.full_name.ends_with(name)).unwrap()
}

/// The schema of `sample` after `change` to its list of fields.
fn changed(sample: &samples::Sample, change: impl FnOnce(&mut Vec<serde_json::Value>)) -> String {
    let mut schema: serde_json::Value = serde_json::from_str(&sample.schema).unwrap();
    change(schema["fields"].as_array_mut().unwrap());
    schema.to_string()
}

#[test]
fn the_present_type_reads_what_a_later_release_wrote() {
    let sample = sample(".SeatConfirmed");
    let later = changed(&sample, |fields| {
        let note = json!({"name": "note", "type": ["null", "string"], "default": null});
        fields.insert(1, note);
        fields.push(json!({"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}));
    });
    let schema = Schema::parse_str(&later).unwrap();
    let mut value = sample.value.clone();
    value["note"] = json!("new");
    value["tags"] = json!(["a", "b"]);
    let bytes = write(&schema, value);
    let writer = Writer::parse(1, &later).unwrap();
    let read: SeatConfirmed = decode(&writer, &bytes).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), sample.value);
}

#[test]
fn the_present_type_fills_in_what_an_earlier_release_did_not_write() {
    let sample = sample(".EnrollmentCanceled");
    let earlier = changed(&sample, |fields| fields.retain(|field| field["name"] != "price"));
    let schema = Schema::parse_str(&earlier).unwrap();
    let mut value = sample.value.clone();
    value.as_object_mut().unwrap().remove("price");
    let bytes = write(&schema, value);
    let writer = Writer::parse(1, &earlier).unwrap();
    let read: daybook_events::EnrollmentCanceled = decode(&writer, &bytes).unwrap();
    assert_eq!(read.price, None);
    assert!(read.organization_id.is_some());
}

#[test]
fn an_earlier_reader_reads_what_the_present_type_writes() {
    let sample = sample(".SeatReleased");
    let message: SeatReleased = serde_json::from_value(sample.value.clone()).unwrap();
    let mut bytes = Vec::new();
    encode(&message, &mut bytes).unwrap();
    let earlier = changed(&sample, |fields| fields.retain(|field| field["name"] != "reason"));
    let (written, reader) = (Schema::parse_str(&sample.schema).unwrap(), Schema::parse_str(&earlier).unwrap());
    let read = GenericDatumReader::builder(&written)
        .reader_schema(&reader)
        .build()
        .unwrap()
        .read_value(&mut bytes.as_slice())
        .unwrap();
    let Value::Record(fields) = read else { panic!("not a record") };
    assert_eq!(fields.len(), 3);
}

#[test]
fn a_field_without_default_that_was_not_written_is_an_error() {
    let sample = sample(".SeatConfirmed");
    let earlier = changed(&sample, |fields| fields.retain(|field| field["name"] != "revision"));
    let mut value = sample.value.clone();
    value.as_object_mut().unwrap().remove("revision");
    let bytes = write(&Schema::parse_str(&earlier).unwrap(), value);
    let writer = Writer::parse(1, &earlier).unwrap();
    let error = decode::<SeatConfirmed>(&writer, &bytes).unwrap_err();
    assert_eq!(error.to_string(), "daybook.learning.SeatConfirmed cannot be read");
}

fn write(schema: &Schema, value: serde_json::Value) -> Vec<u8> {
    let value = Value::try_from(value).unwrap().resolve(schema).unwrap();
    apache_avro::writer::datum::GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
}
