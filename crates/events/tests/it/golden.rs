use std::collections::BTreeSet;

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
use daybook_events::{
    Closing, Command, CourseCommand, Family, Message, Retention, Schemas, SeatReserved, StaticSchemas, Writer, all,
    descriptor, topics,
};

use crate::samples;

#[test]
fn every_message_has_the_bytes_that_another_implementation_gives_it() {
    for sample in samples::current() {
        let descriptor = descriptor(&sample.full_name).unwrap();
        let mut bytes = Vec::new();
        (descriptor.from_json)(&sample.value, &mut bytes).unwrap();
        assert_eq!(hex::encode(bytes), hex::encode(&sample.bytes), "{}", sample.full_name);
    }
}

#[test]
fn another_implementation_reads_every_message() {
    for sample in samples::current() {
        let descriptor = descriptor(&sample.full_name).unwrap();
        let mut bytes = Vec::new();
        (descriptor.from_json)(&sample.value, &mut bytes).unwrap();
        let schema = Schema::parse_str(descriptor.schema).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let read = reader.read_value(&mut bytes.as_slice()).unwrap();
        let expected = Value::try_from(sample.value.clone()).unwrap().resolve(&schema).unwrap();
        assert_eq!(read, expected, "{}", sample.full_name);
    }
}

#[test]
fn every_released_version_is_read_by_the_present_type() {
    let samples = samples::released();
    assert!(samples.len() >= all().len(), "every message has been released");
    for sample in samples {
        let descriptor = descriptor(&sample.full_name).unwrap();
        let writer = Writer::parse(1, &sample.schema).unwrap();
        let read = (descriptor.to_json)(&writer, &sample.bytes).unwrap();
        for (field, value) in sample.value.as_object().unwrap() {
            if let Some(kept) = read.get(field) {
                assert_eq!(kept, value, "{}.{field}", sample.full_name);
            }
        }
    }
}

#[test]
fn the_table_agrees_with_the_types() {
    let reserve = descriptor("daybook.learning.ReserveSeat").unwrap();
    assert_eq!(reserve.topic, "learning.course.commands.v1");
    assert_eq!(reserve.key, "course_id");
    assert_eq!(reserve.closing, ["daybook.learning.SeatReserved"]);
    assert_eq!(descriptor("daybook.learning.ReleaseSeat").unwrap().undoes, Some("daybook.learning.ReserveSeat"));
    assert!(descriptor("daybook.learning.Nothing").is_none());
    assert!(CourseCommand::NAMES.contains(&reserve.full_name));
    let sealed = descriptor("daybook.people.PersonRegistered").unwrap().sealed;
    assert_eq!(sealed.iter().map(|it| it.field).collect::<Vec<_>>(), ["name", "email", "phone"]);
}

#[test]
fn every_command_is_closed_by_events_that_exist() {
    for command in all() {
        for closing in command.closing {
            assert!(descriptor(closing).is_some(), "{} → {closing}", command.name);
        }
    }
}

#[test]
fn topics_are_told_once_and_events_are_kept_for_ever() {
    let names: BTreeSet<_> = topics().iter().map(|topic| topic.name).collect();
    assert_eq!(names.len(), topics().len());
    for topic in topics() {
        let passes = [".commands.", ".inbox.", ".control."].iter().any(|kind| topic.name.contains(kind));
        assert_eq!(topic.retention == Retention::Fortnight, passes, "{}", topic.name);
    }
    for message in all().iter().filter(|message| !message.topic.contains('*')) {
        assert!(names.contains(message.topic), "{}", message.topic);
    }
    assert!(names.contains("learning.enrollment-saga.control.v1"));
}

#[test]
fn a_closing_event_is_told_from_others() {
    type Closes = <daybook_events::ReserveSeat as Command>::Closing;
    let sample = |name: &str| samples::current().into_iter().find(|sample| sample.full_name == name).unwrap();
    let writer = |name| StaticSchemas.writer(StaticSchemas.id_of(name).unwrap()).unwrap();
    let reserved = writer(SeatReserved::FULL_NAME);
    let bytes = sample(SeatReserved::FULL_NAME).bytes;
    assert!(matches!(Closes::decode(&reserved, &bytes), Some(Ok(Closes::SeatReserved(_)))));
    assert!(Closes::decode(&writer("daybook.runtime.Rejected"), &bytes).is_none());
}
