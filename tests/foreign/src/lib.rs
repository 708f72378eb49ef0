#![doc = include_str!("../README.md")]

mod request;

use std::sync::{Arc, LazyLock};

use daybook_engine::{pack, unpack};
use daybook_events::{Header, HeaderRef, Schemas, Sealed, StaticSchemas, Writer, all, descriptor, frame, key, unframe};
use daybook_vault::{InMemoryKeyStore, MasterKeys, Opened, OsAmbient, Vault, owner_of};
use futures::executor::block_on;
use uuid::Uuid;

pub use request::request;

/// A decoder of bytes that somebody else has written.
pub struct Decoder {
    /// Of its fuzz target and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Decodes, and panics when a property does not hold.
    pub decode: fn(&[u8]),
    /// Bytes from which a search begins: valid ones, so that it need not find out how those look.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them. Each has a file of its name in `fuzz/fuzz_targets`.
pub const DECODERS: [Decoder; 9] = [
    Decoder { name: "header", decode: header, seeds: header_seeds },
    Decoder { name: "key", decode: key, seeds: key_seeds },
    Decoder { name: "frame", decode: framed, seeds: frame_seeds },
    Decoder { name: "message", decode: message, seeds: message_seeds },
    Decoder { name: "schema", decode: schema, seeds: schema_seeds },
    Decoder { name: "sealed", decode: sealed, seeds: sealed_seeds },
    Decoder { name: "outbox", decode: outbox, seeds: outbox_seeds },
    Decoder { name: "answer", decode: answer, seeds: answer_seeds },
    Decoder { name: "request", decode: request, seeds: request::seeds },
];

/// A record's header. What is read is written again as the same bytes: there is one way to write a header.
///
/// # Panics
/// When that does not hold.
pub fn header(bytes: &[u8]) {
    if let Ok(header) = HeaderRef::decode(bytes) {
        let mut again = Vec::new();
        header.encode(&mut again).expect("what was read can be written");
        assert_eq!(Header::decode(&again).expect("what was written can be read").as_ref(), header);
    }
}

/// A record's key. What is an id is written again as the same bytes.
///
/// # Panics
/// When that does not hold.
pub fn key(bytes: &[u8]) {
    if let Some(id) = key::parse(bytes) {
        assert_eq!(key::parse(&key::of(id)), Some(id));
    }
}

/// A record's value: the schema's id and the body.
///
/// # Panics
/// When it is not written again as the same bytes.
pub fn framed(bytes: &[u8]) {
    if let Ok((id, body)) = unframe(bytes) {
        let mut again = Vec::new();
        frame(id, &mut again);
        again.extend_from_slice(body);
        assert_eq!(again, bytes);
    }
}

/// A message of any type of the contract: its place in the list in one byte, then its body. What is read can be written, and is
/// then read as the same.
///
/// # Panics
/// When that does not hold.
pub fn message(bytes: &[u8]) {
    let Some((place, body)) = bytes.split_first() else { return };
    let Some(writer) = StaticSchemas.writer(u32::from(*place)) else { return };
    read_and_write(&writer, body);
}

/// A schema as a registry gives it, a zero byte, and a body that is said to be written with it.
///
/// # Panics
/// When what is read cannot be written, or is then read as something else.
pub fn schema(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (json, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(json) = std::str::from_utf8(json) else { return };
    if let Ok(writer) = Writer::parse(1, json) {
        read_and_write(&writer, body);
    }
}

fn read_and_write(writer: &Writer, body: &[u8]) {
    let Some(known) = descriptor(writer.full_name()) else { return };
    if let Ok(read) = (known.to_json)(writer, body) {
        let mut again = Vec::new();
        // A message that only just fits may not fit any more with the fields that its schema did not have.
        if (known.from_json)(&read, &mut again).is_ok() {
            let own = own_writer(known.full_name);
            assert_eq!((known.to_json)(&own, &again).expect("what was written can be read"), read);
        }
    }
}

/// The contract's own schema of a type.
fn own_writer(full_name: &str) -> Arc<Writer> {
    let id = StaticSchemas.id_of(full_name).expect("a message of the contract");
    StaticSchemas.writer(id).expect("its schema")
}

/// A sealed value of whichever person: nothing that the vault has not sealed opens.
///
/// # Panics
/// When it does.
pub fn sealed(bytes: &[u8]) {
    static VAULT: LazyLock<Vault> = LazyLock::new(|| {
        let vault = vault();
        // From now on there is a key to try on what claims to be of this person.
        block_on(vault.seal(PERSON, LABEL, b"")).expect("a short text is sealed");
        vault
    });
    let value = Sealed::new(bytes.to_vec());
    if owner_of(&value).is_ok() {
        assert!(!matches!(block_on(VAULT.open(LABEL, &value)), Ok(Opened::Plain(_))), "a forged value opens");
    }
}

const LABEL: &str = "foreign.value";
const PERSON: Uuid = Uuid::from_u128(1);

fn vault() -> Vault {
    let masters = MasterKeys::parse(&["test:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]).expect("a well-formed key");
    Vault::new(masters, Arc::new(InMemoryKeyStore::default()), Arc::new(OsAmbient::default()))
}

/// A row of the outbox. What is read is packed again as the same bytes.
///
/// # Panics
/// When that does not hold.
pub fn outbox(bytes: &[u8]) {
    if let Ok(messages) = unpack(bytes) {
        assert_eq!(pack(&messages), bytes);
    }
}

/// What a broker answers our producer.
///
/// # Panics
/// When it is said to tell of more than its bytes can hold.
pub fn answer(bytes: &[u8]) {
    assert!(daybook_log::read_answer(bytes) <= bytes.len() / 6);
}

fn header_seeds() -> Vec<Vec<u8>> {
    let first = Header::first(Uuid::from_u128(1), daybook_events::Timestamp(1));
    let full = Header {
        shard: Some(daybook_events::Shard {
            instance: "courses".into(),
            partition: 3,
            incarnation: 4,
            seq: 6,
            prev: 5,
        }),
        causation_id: Some(Uuid::from_u128(2)),
        tenant: Some(Uuid::from_u128(3)),
        reply_for: Some(Uuid::from_u128(4)),
        request_hash: Some([7; 32]),
        ..first.clone()
    };
    let encoded = |header: Header| {
        let mut bytes = Vec::new();
        header.encode(&mut bytes).expect("a short header");
        bytes
    };
    [first, full].map(encoded).into()
}

fn key_seeds() -> Vec<Vec<u8>> {
    vec![key::of(Uuid::from_u128(7)).to_vec(), b"USD".to_vec()]
}

fn frame_seeds() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    frame(7, &mut bytes);
    bytes.extend_from_slice(b"body");
    vec![bytes]
}

/// Zeros are a message in many schemas: empty texts, absent options, empty lists.
fn message_seeds() -> Vec<Vec<u8>> {
    let places = (1_u8..=u8::MAX).take(all().len());
    places.map(|place| [vec![place], vec![0; 40]].concat()).collect()
}

fn schema_seeds() -> Vec<Vec<u8>> {
    let own = all().iter().take(8).map(|known| [known.schema.as_bytes(), &[0; 40]].concat());
    let made: [&[u8]; 2] = [
        br#"{"type":"record","namespace":"daybook.learning","name":"SeatConfirmed","fields":[]}"#,
        br#"{"type":"record","namespace":"daybook.learning","name":"SeatConfirmed","fields":[{"name":"extra","type":{"type":"array","items":"null"}}]}"#,
    ];
    own.chain(made.map(<[u8]>::to_vec)).collect()
}

/// Of the same person, under another key.
fn sealed_seeds() -> Vec<Vec<u8>> {
    let sealed = block_on(vault().seal(PERSON, LABEL, b"somebody")).expect("a short text is sealed");
    vec![sealed.into_bytes()]
}

fn outbox_seeds() -> Vec<Vec<u8>> {
    let message = daybook_engine::Outgoing {
        seq: 1,
        topic: "learning.course.events.v1".into(),
        partition: 2,
        type_name: "daybook.learning.SeatConfirmed".into(),
        message_id: Uuid::from_u128(1),
        time: daybook_events::Timestamp(1),
        key: b"key".to_vec().into(),
        header: b"header".to_vec().into(),
        value: b"value".to_vec().into(),
    };
    let second = daybook_engine::Outgoing { seq: 2, ..message.clone() };
    vec![pack::<daybook_engine::Outgoing>(&[]).to_vec(), pack(&[message, second]).to_vec()]
}

/// Where one topic stands, and what became of a batch.
fn answer_seeds() -> Vec<Vec<u8>> {
    let correlation: &[u8] = &[0, 0, 0, 9];
    let throttle: &[u8] = &[0; 4];
    let one: &[u8] = &[0, 0, 0, 1];
    let none: &[u8] = &[0; 4];
    let (no_error, no_text, topic): (&[u8], &[u8], &[u8]) = (&[0; 2], &[0xff; 2], b"\0\x06events");
    let broker = [one, b"\0\x05first", &9_092_i32.to_be_bytes(), no_text].concat();
    // Number, leader, epoch; a copy, which is in sync.
    let partition = [no_error, none, one, one, one, one, one, one, none].concat();
    let cluster = [correlation, throttle, one, &broker, no_text, one, one, no_error, topic, &[0], one, &partition];
    let offsets = [7_i64, -1, 0].map(i64::to_be_bytes).concat();
    let produced = [correlation, one, topic, one, none, no_error, &offsets, throttle];
    vec![cluster.concat(), produced.concat()]
}
