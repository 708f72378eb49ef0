//! Bytes from outside never make the codec panic or take more memory than they are long.

use daybook_events::{
    CourseCommand, DecodeError, EncodeError, Family, MAX_BODY_BYTES, Schemas, SeatConfirmed, StaticSchemas,
    WithdrawCourse, Writer, all, decode, encode, frame, unframe,
};
use proptest::prelude::*;

use crate::samples;

/// Avro's variable-length zigzag form.
fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

#[test]
fn a_message_cut_off_anywhere_is_an_error() {
    for sample in samples::current() {
        let descriptor = daybook_events::descriptor(&sample.full_name).unwrap();
        let writer = Writer::parse(1, &sample.schema).unwrap();
        for end in 0..sample.bytes.len() {
            let result = (descriptor.to_json)(&writer, &sample.bytes[..end]);
            assert!(result.is_err(), "{} cut at {end}", sample.full_name);
        }
    }
}

#[test]
fn bytes_after_the_message_are_an_error() {
    for mut sample in samples::current() {
        let descriptor = daybook_events::descriptor(&sample.full_name).unwrap();
        let writer = Writer::parse(1, &sample.schema).unwrap();
        sample.bytes.push(0);
        let result = (descriptor.to_json)(&writer, &sample.bytes);
        assert!(matches!(result, Err(DecodeError::Trailing { bytes: 1, .. })), "{}", sample.full_name);
    }
}

#[test]
fn hostile_lengths_are_refused() {
    let withdraw = StaticSchemas.id_of("daybook.learning.WithdrawCourse").unwrap();
    let register = StaticSchemas.id_of("daybook.people.RegisterPerson").unwrap();
    for length in [i64::MIN, -1, 1, 1 << 20, 1 << 40, i64::MAX] {
        for schema in [withdraw, register] {
            let writer = StaticSchemas.writer(schema).unwrap();
            let descriptor = daybook_events::descriptor(writer.full_name()).unwrap();
            let mut body = long(36);
            body.extend_from_slice(b"00000000-0000-0000-0000-000000000001");
            body.extend(long(length));
            assert!((descriptor.to_json)(&writer, &body).is_err(), "{length}");
        }
    }
}

#[test]
fn an_endless_array_of_nothing_ends() {
    let schema = r#"{"type": "record", "namespace": "daybook.learning", "name": "SeatConfirmed",
        "fields": [{"name": "extra", "type": {"type": "array", "items": "null"}}]}"#;
    let writer = Writer::parse(1, schema).unwrap();
    for length in [1 << 30, i64::MAX, i64::MIN] {
        let mut body = long(length);
        body.extend(long(0));
        assert!(decode::<SeatConfirmed>(&writer, &body).is_err());
    }
}

#[test]
fn a_record_of_another_name_is_told() {
    let writer = StaticSchemas.writer(StaticSchemas.id_of("daybook.runtime.Rejected").unwrap()).unwrap();
    let error = CourseCommand::decode(&writer, &[]).unwrap_err();
    assert!(matches!(&error, DecodeError::Unexpected { found } if found == "daybook.runtime.Rejected"));
}

#[test]
fn what_is_too_long_is_neither_written_nor_read() {
    let mut out = b"before".to_vec();
    let message =
        WithdrawCourse { course_id: daybook_events::CourseId::from_u128(1), reason: "x".repeat(MAX_BODY_BYTES) };
    assert!(matches!(encode(&message, &mut out), Err(EncodeError::Long { .. })));
    assert_eq!(out, b"before");
    let writer = StaticSchemas.writer(StaticSchemas.id_of("daybook.learning.WithdrawCourse").unwrap()).unwrap();
    let result = decode::<WithdrawCourse>(&writer, &vec![0; MAX_BODY_BYTES + 1]);
    assert!(matches!(result, Err(DecodeError::Long(_))));
}

#[test]
fn errors_never_quote_values() {
    let secret = "person@example.org";
    let writer = StaticSchemas.writer(StaticSchemas.id_of("daybook.learning.WithdrawCourse").unwrap()).unwrap();
    let mut body = long(18);
    body.extend_from_slice(secret.as_bytes());
    body.extend(long(0));
    let error = decode::<WithdrawCourse>(&writer, &body).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(secret));
}

#[test]
fn schemas_that_are_none_are_refused() {
    for json in ["", "{}", "\"string\"", "[]", "{\"type\": \"record\", \"name\": \"A\"}"] {
        assert!(Writer::parse(1, json).is_err(), "{json}");
    }
    assert!(Writer::parse(1, &" ".repeat(300_000)).is_err());
    assert!(Writer::parse(1, &"[".repeat(200_000)).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(id in 1..=all().len() as u32, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let writer = StaticSchemas.writer(id).unwrap();
        let descriptor = daybook_events::descriptor(writer.full_name()).unwrap();
        // Only that it returns is claimed.
        let _ = (descriptor.to_json)(&writer, &body);
    }

    #[test]
    fn a_sample_with_flipped_bytes_is_decoded_or_refused(index in 0..all().len(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut sample = samples::current().swap_remove(index);
        let place = place.index(sample.bytes.len());
        sample.bytes[place] = byte;
        let writer = Writer::parse(1, &sample.schema).unwrap();
        let descriptor = daybook_events::descriptor(writer.full_name()).unwrap();
        let _ = (descriptor.to_json)(&writer, &sample.bytes);
    }

    #[test]
    fn any_value_is_unframed_or_refused(value in proptest::collection::vec(any::<u8>(), 0..16)) {
        if let Ok((id, body)) = unframe(&value) {
            let mut framed = Vec::new();
            frame(id, &mut framed);
            framed.extend_from_slice(body);
            prop_assert_eq!(framed, value);
        }
    }
}
