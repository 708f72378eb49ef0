use std::fmt::{self, Debug};

use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{DecodeError, EncodeError, Writer, generated};

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Asks one consumer to do something; it may be refused.
    Command,
    /// Something that has happened; a reply is one too.
    Event,
    /// Asks the engine itself for something: an operator's action, or a provider's notice.
    Control,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Command => "command",
            Self::Event => "event",
            Self::Control => "control",
        })
    }
}

/// One type of message, generated from its schema.
pub trait Message: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + Sync + 'static {
    /// Name of the record, such as `ReserveSeat`.
    const NAME: &'static str;
    /// Name with namespace, such as `daybook.learning.ReserveSeat`.
    const FULL_NAME: &'static str;
    /// What it is for.
    const KIND: Kind;
    /// The topic it is published in. A star stands for any text: `*-saga.events.v1` means the
    /// events topic of whichever saga it comes from, `*` any topic that asks for replies.
    const TOPIC: &'static str;
    /// JSON of its schema, whole, with docs and attributes.
    const SCHEMA: &'static str;

    /// Its schema, parsed once.
    fn schema() -> &'static serde_avro_fast::Schema;

    /// Id of the entity it belongs to. Where the Kafka key is no id (see [`crate::key`]), one that
    /// is derived from the key. As a reply it travels under another key: the one asked for.
    fn key(&self) -> Uuid;

    /// The Kafka key in the topic of its own.
    fn key_bytes(&self) -> Vec<u8>;
}

/// A message that is answered.
pub trait Command: Message {
    /// The events that close it.
    type Closing: Closing;
}

/// The events, of any topic, that close a command. `Rejected` and `Discarded` close any command
/// and are not among them.
pub trait Closing: Sized + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Full names of the events.
    const NAMES: &'static [&'static str];

    /// The event in `body`, or `None` when the writer's record is none of them.
    fn decode(writer: &Writer, body: &[u8]) -> Option<Result<Self, DecodeError>>;
}

/// A command that makes it so that what `C` has done is not so.
pub trait Undoes<C: Command>: Command {}

/// Every message of one topic.
pub trait Family: Sized + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The topic, with a star where it stands for many.
    const TOPIC: &'static str;
    /// Full names of the messages.
    const NAMES: &'static [&'static str];

    /// The message in `body`.
    ///
    /// # Errors
    /// When the writer's record is none of this topic's, or `body` is not exactly one of it.
    fn decode(writer: &Writer, body: &[u8]) -> Result<Self, DecodeError>;

    /// Appends the message's Avro bytes to `out`, which on an error is left as it was.
    ///
    /// # Errors
    /// When the message is too long or does not fit its schema.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Name with namespace of the message at hand.
    fn full_name(&self) -> &'static str;

    /// Name of the message at hand.
    fn name(&self) -> &'static str;

    /// [`Message::key`] of the message at hand.
    fn key(&self) -> Uuid;

    /// [`Message::key_bytes`] of the message at hand.
    fn key_bytes(&self) -> Vec<u8>;
}

/// What is known about a type of message, for those who handle all of them.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// [`Message::NAME`].
    pub name: &'static str,
    /// [`Message::FULL_NAME`].
    pub full_name: &'static str,
    /// [`Message::KIND`].
    pub kind: Kind,
    /// [`Message::TOPIC`].
    pub topic: &'static str,
    /// Name of the field that is the Kafka key.
    pub key: &'static str,
    /// Full names of the events that close a command; empty for others.
    pub closing: &'static [&'static str],
    /// Full name of the command that this one undoes.
    pub undoes: Option<&'static str>,
    /// The fields that hold a person's data.
    pub sealed: &'static [SealedField],
    /// [`Message::SCHEMA`].
    pub schema: &'static str,
    /// SHA-256 of the schema's Parsing Canonical Form, in hex: equal for schemas that differ
    /// only in docs and attributes.
    pub fingerprint: &'static str,
    /// The message in Avro bytes as JSON, for people.
    pub to_json: fn(&Writer, &[u8]) -> Result<serde_json::Value, DecodeError>,
    /// Appends the Avro bytes of the message that is given as JSON.
    pub from_json: fn(&serde_json::Value, &mut Vec<u8>) -> Result<(), EncodeError>,
}

/// A field that holds a person's data, encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedField {
    /// Name of the field.
    pub field: &'static str,
    /// Name of the field that tells whose data key it is sealed with.
    pub owner: &'static str,
}

/// How long Kafka keeps a topic's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// The book: events, and what is parked.
    Forever,
    /// Commands, inboxes and control: 14 days.
    Fortnight,
}

impl Retention {
    /// Kafka's `retention.ms`: -1 for ever.
    pub const fn ms(self) -> i64 {
        match self {
            Self::Forever => -1,
            Self::Fortnight => 14 * 24 * 60 * 60 * 1_000,
        }
    }
}

/// A topic of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// How long its records are kept.
    pub retention: Retention,
}

/// Every type of message, in the order of the full names.
pub fn all() -> &'static [Descriptor] {
    generated::DESCRIPTORS
}

/// The type of message called `full_name`.
pub fn descriptor(full_name: &str) -> Option<&'static Descriptor> {
    let index = all().binary_search_by(|descriptor| descriptor.full_name.cmp(full_name)).ok()?;
    all().get(index)
}

/// Every topic that the schemas name, the control topics that go with command topics and inboxes,
/// and the mirror of what is parked; in the order of their names.
pub fn topics() -> &'static [Topic] {
    generated::TOPICS
}
