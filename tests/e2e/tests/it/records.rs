//! Records as such: those that nobody can use, and those that others read.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use daybook_events::{
    Actor, CoursePublished, Header, Message as _, PublishCourse, ReserveSeat, Timestamp, encode, key, unframe,
};
use e2e::until::PATIENCE;
use e2e::{Ask, Offer, Scene, until, usd};
use serde_json::Value;
use uuid::Uuid;

use crate::shared;

const PARTITIONS: u32 = 8;
/// No registry has come that far.
const NO_SUCH_SCHEMA: u32 = 999_999;
const COMMANDS: &str = PublishCourse::TOPIC;

#[test]
fn records_that_nobody_can_use_are_parked_and_the_partition_goes_on() -> Result<()> {
    let scene = Scene::new(shared())?;
    let book = scene.platform.book();
    let before = scene.platform.metric("daybook_parked_total", &["part=\"courses\""])?;
    let victim = Uuid::new_v4();
    let partition = key::partition(&key::of(victim), PARTITIONS);
    let neighbor = |_: usize| {
        let candidates = std::iter::repeat_with(Uuid::new_v4);
        candidates.into_iter().find(|id| key::partition(&key::of(*id), PARTITIONS) == partition).expect("one in eight")
    };
    let [garbage, unknown, mismatched, other] = std::array::from_fn(neighbor);

    book.publish_bytes(COMMANDS, partition, &garbage.to_string(), b"\x00\xff no Avro, no header")?;
    // Brokers refuse what is more than an hour ahead of their clock.
    let now = Timestamp(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?);
    let header = || Header {
        actor: Some(Actor { id: Uuid::new_v4(), scopes: "courses:write".into() }),
        ..Header::first(Uuid::new_v4(), now)
    };
    book.publish(COMMANDS, &key::of(unknown), &header(), NO_SUCH_SCHEMA, b"whatever")?;
    let (schema, body) = reserve_seat(&scene, other)?;
    book.publish(COMMANDS, &key::of(mismatched), &header(), schema, &body)?;
    let (schema, body) = reserve_seat(&scene, victim)?;
    book.publish(COMMANDS, &key::of(victim), &header(), schema, &body[..body.len() / 2])?;

    // Behind all of them in the same partition, for a key of its own.
    let good = neighbor(0);
    scene.staff.succeed(Ask::post("/courses", scene.course_body(good, &Offer::at(usd(0)))))?;

    let mine = [garbage, unknown, mismatched, victim];
    let parked = parked(&scene, &mine)?;
    let code = |id: Uuid| parked.iter().find(|(key, _)| *key == id).map(|(_, record)| text(record, "code"));
    assert_eq!(code(garbage).as_deref(), Some("header-missing"), "{parked:?}");
    assert_eq!(code(unknown).as_deref(), Some("schema-unknown"), "{parked:?}");
    assert_eq!(code(mismatched).as_deref(), Some("key-mismatch"), "{parked:?}");
    assert!(code(victim).is_some_and(|code| code.contains("undecodable")), "{parked:?}");
    until("the metric counts them", PATIENCE, || {
        let counted = scene.platform.metric("daybook_parked_total", &["part=\"courses\""])?;
        Ok((counted >= before + 4.0).then_some(()))
    })?;
    let logs = String::from_utf8(scene.platform.logs()?)?;
    let tells = |line: &str| line.contains("\"parked\"") && line.contains("schema-unknown") && line.contains("courses");
    assert!(logs.lines().any(tells), "no log line says so");
    assert!(!logs.contains(&garbage.to_string()), "a key was logged");

    let operator = Uuid::new_v4().to_string();
    let why = ["--reason", "made by a test", "--operator", &operator];
    // By a filter: looked at first, then asked for, and done only when that is answered.
    let by_code = [&["parked", "discard", "--code", "schema-unknown"][..], &why].concat();
    let looked_at = scene.platform.succeed(&[&by_code[..], &["--dry-run", "--json"]].concat())?;
    let looked_at: Value = serde_json::from_str(&looked_at)?;
    assert_eq!((looked_at.as_array().map(Vec::len), &looked_at[0]["outcome"]), (Some(1), &"would be tried".into()));
    let unanswered = scene.platform.command(&by_code)?;
    assert!(!unanswered.status.success());
    assert!(String::from_utf8_lossy(&unanswered.stderr).contains("discard 1 parked records"), "{unanswered:?}");
    let done: Value = serde_json::from_str(&scene.platform.succeed(&[&by_code[..], &["--yes", "--json"]].concat())?)?;
    assert_eq!(done[0]["outcome"], "done", "{done}");
    for (_, record) in parked.iter().filter(|(key, _)| *key != unknown) {
        let id = text(record, "id");
        scene.platform.succeed(&[&["parked", "discard", "courses", &id][..], &why].concat())?;
    }
    let left = all_parked(&scene)?;
    assert!(!left.iter().any(|(key, _)| mine.contains(key)), "{left:?}");
    // A key whose record was discarded is free again.
    scene.staff.succeed(Ask::post("/courses", scene.course_body(victim, &Offer::at(usd(0)))))?;
    Ok(())
}

#[test]
fn a_stock_client_reads_an_event() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = scene.course(&Offer::at(usd(4_900)))?;
    let book = scene.platform.book();
    let places = book.find(CoursePublished::TOPIC, &course.to_string())?;
    let [place] = places.as_slice() else { anyhow::bail!("one event was published: {places:?}") };
    // kcat reads the bytes, the registry's own API tells the schema, Apache's Avro for Python decodes.
    let value = book.one(CoursePublished::TOPIC, *place, "%s")?;
    let (schema_id, body) = unframe(&value)?;
    let event = decode_with_avro(&book.schema(schema_id)?, body)?;
    assert_eq!(event["course_id"], course.to_string(), "{event}");
    assert_eq!(event["price"]["amount_minor"], 4_900, "{event}");
    assert_eq!(event["title"], "Wound care", "{event}");

    let headers = book.one(CoursePublished::TOPIC, *place, "%h")?;
    let headers = String::from_utf8_lossy(&headers).into_owned();
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_type", "daybook.learning.CoursePublished"),
        ("content-type", "application/avro"),
    ] {
        assert!(headers.contains(&format!("{name}={value}")), "no {name} among {headers:?}");
    }
    for name in ["ce_id", "ce_source", "ce_time"] {
        assert!(headers.contains(&format!("{name}=")), "no {name} among {headers:?}");
    }
    Ok(())
}

/// Schema id and Avro of a command to a course.
fn reserve_seat(scene: &Scene<'_>, course: Uuid) -> Result<(u32, Vec<u8>)> {
    let command = ReserveSeat {
        course_id: course.into(),
        enrollment_id: Uuid::new_v4().into(),
        round: 1,
        learner_id: Uuid::new_v4().into(),
        expected_price: usd(0),
        hold_for_seconds: 60,
    };
    let mut body = Vec::new();
    encode(&command, &mut body)?;
    Ok((scene.platform.book().schema_id(COMMANDS, ReserveSeat::FULL_NAME)?, body))
}

/// The parked records under these keys, as soon as there is one for each.
fn parked(scene: &Scene<'_>, keys: &[Uuid]) -> Result<Vec<(Uuid, Value)>> {
    until("all of them are parked", PATIENCE, || {
        let mut found = all_parked(scene)?;
        found.retain(|(key, _)| keys.contains(key));
        Ok((found.len() >= keys.len()).then_some(found))
    })
}

/// Parked records of `courses` with their keys.
fn all_parked(scene: &Scene<'_>) -> Result<Vec<(Uuid, Value)>> {
    use base64::Engine as _;
    let listed: Vec<Value> = serde_json::from_str(&scene.platform.succeed(&["parked", "ls", "courses", "--json"])?)?;
    let with_key = |item: Value| {
        let record = item["record"].clone();
        let key = base64::engine::general_purpose::STANDARD.decode(text(&record, "key"))?;
        Ok((key::parse(&key).context("the key is an id")?, record))
    };
    listed.into_iter().map(with_key).collect()
}

fn text(record: &Value, name: &str) -> String {
    record[name].as_str().unwrap_or_default().to_owned()
}

fn decode_with_avro(schema: &str, body: &[u8]) -> Result<Value> {
    let file = std::env::temp_dir().join(format!("{}.avsc", Uuid::new_v4()));
    std::fs::write(&file, schema)?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/read_with_avro.py");
    // Debian's, for which its package python3-avro is installed.
    let mut child = Command::new("/usr/bin/python3")
        .arg(script)
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("python3 does not start")?;
    child.stdin.take().context("the pipe was asked for")?.write_all(body)?;
    let output = child.wait_with_output()?;
    std::fs::remove_file(&file)?;
    ensure!(output.status.success(), "Apache's Avro cannot read it");
    Ok(serde_json::from_slice(&output.stdout)?)
}
