use std::io::{self, BufRead};

use serde::de::DeserializeOwned;
use serde_avro_fast::{
    Schema,
    de::{DeserializerConfig, DeserializerState, read::SliceRead},
    ser::{SerializerConfig, SerializerState},
};

use crate::Message;

/// Most bytes that the Avro body of a message may take. Kafka's own limit for a record, 1 MiB
/// unless set otherwise, leaves room for key and headers.
pub const MAX_BODY_BYTES: usize = 1_000_000;
/// Most items of one array or map that are read.
pub const MAX_ITEMS: usize = 100_000;
/// Deepest nesting of records, arrays, maps and unions that is read.
pub const MAX_DEPTH: usize = 32;
/// Most bytes of JSON that a writer's schema may take.
pub const MAX_SCHEMA_BYTES: usize = 256 * 1024;

/// A schema as somebody wrote messages with it, whoever that was: what bytes are decoded by.
pub struct Writer {
    id: u32,
    full_name: String,
    schema: Schema,
}

/// A schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Longer than [`MAX_SCHEMA_BYTES`].
    #[error("a schema of {0} bytes is too long")]
    Long(usize),
    /// Not JSON, or not Avro.
    #[error("not an Avro schema: {0}")]
    Malformed(String),
    /// Avro, but no record: messages are records.
    #[error("the schema of a message is a record with a name")]
    NoRecord,
}

/// Bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The writer's record is not one of those that are expected here.
    #[error("{found} is none of the messages expected here")]
    Unexpected {
        /// Full name of the writer's record.
        found: String,
    },
    /// Longer than [`MAX_BODY_BYTES`].
    #[error("a body of {0} bytes is too long")]
    Long(usize),
    /// The bytes do not follow the writer's schema, or the writer's schema lacks what the type
    /// needs. Tells where, never what: values may not reach a log.
    #[error("{full_name} cannot be read")]
    Malformed {
        /// Full name of the writer's record.
        full_name: String,
    },
    /// The message ends before the bytes do.
    #[error("{full_name} is followed by {bytes} bytes that do not belong to it")]
    Trailing {
        /// Full name of the writer's record.
        full_name: String,
        /// How many.
        bytes: usize,
    },
}

/// A message cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The body would be longer than [`MAX_BODY_BYTES`].
    #[error("{full_name} is longer than {MAX_BODY_BYTES} bytes")]
    Long {
        /// Full name of the record.
        full_name: &'static str,
    },
    /// The value does not fit its schema.
    #[error("{full_name} does not fit its schema")]
    Unfit {
        /// Full name of the record.
        full_name: &'static str,
    },
}

impl Writer {
    /// Reads the JSON of a record's schema, known to the registry as `id`.
    ///
    /// # Errors
    /// When it is too long, is not Avro or is not a record.
    pub fn parse(id: u32, json: &str) -> Result<Self, SchemaError> {
        if json.len() > MAX_SCHEMA_BYTES {
            return Err(SchemaError::Long(json.len()));
        }
        let schema: Schema = json
            .parse()
            .map_err(|error: serde_avro_fast::schema::SchemaError| SchemaError::Malformed(error.to_string()))?;
        Ok(Self { id, full_name: record_name(json)?, schema })
    }

    /// The registry's id for the schema.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Full name of the record, such as `daybook.learning.ReserveSeat`.
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// The schema's JSON.
    pub fn json(&self) -> &str {
        self.schema.json()
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Writer({}, {})", self.id, self.full_name)
    }
}

fn record_name(json: &str) -> Result<String, SchemaError> {
    #[derive(serde::Deserialize)]
    struct Named {
        r#type: String,
        name: String,
        namespace: Option<String>,
    }
    let named: Named = serde_json::from_str(json).map_err(|_| SchemaError::NoRecord)?;
    match (named.r#type.as_str(), named.namespace) {
        ("record", Some(namespace)) if !named.name.contains('.') => Ok(format!("{namespace}.{}", named.name)),
        ("record", _) => Ok(named.name),
        _ => Err(SchemaError::NoRecord),
    }
}

/// Reads a message of type `T` from the Avro bytes `body`, which `writer` describes. Fields that
/// the writer did not know take their defaults; fields that `T` does not know are passed over.
///
/// # Errors
/// When `writer` is of another record, or `body` is not exactly one such record within the bounds
/// of this module.
pub fn decode<T: Message>(writer: &Writer, body: &[u8]) -> Result<T, DecodeError> {
    if writer.full_name != T::FULL_NAME {
        return Err(DecodeError::Unexpected { found: writer.full_name.clone() });
    }
    decode_record(writer, body)
}

fn decode_record<T: DeserializeOwned>(writer: &Writer, body: &[u8]) -> Result<T, DecodeError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(DecodeError::Long(body.len()));
    }
    let mut config = DeserializerConfig::new(&writer.schema);
    config.max_seq_size = MAX_ITEMS;
    config.allowed_depth = MAX_DEPTH;
    let mut state = DeserializerState::with_config(SliceRead::new(body), config);
    // The library's error may quote the value, so it is not passed on.
    let value = T::deserialize(state.deserializer())
        .map_err(|_| DecodeError::Malformed { full_name: writer.full_name.clone() })?;
    let rest = state.into_reader().fill_buf().map_or(0, <[u8]>::len);
    if rest > 0 {
        return Err(DecodeError::Trailing { full_name: writer.full_name.clone(), bytes: rest });
    }
    Ok(value)
}

/// Appends the Avro bytes of `message`, under the schema of its type, to `out`, which on an error
/// is left as it was.
///
/// # Errors
/// When the message is too long or does not fit its schema.
pub fn encode<T: Message>(message: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let full_name = T::FULL_NAME;
    let start = out.len();
    let mut config = SerializerConfig::new(T::schema());
    let mut state = SerializerState::from_writer(Bounded { out, left: MAX_BODY_BYTES }, &mut config);
    let result = message.serialize(state.serializer());
    let Bounded { out, left } = state.into_writer();
    match result {
        Ok(()) => Ok(()),
        Err(_) => {
            out.truncate(start);
            Err(match left {
                0 => EncodeError::Long { full_name },
                _ => EncodeError::Unfit { full_name },
            })
        }
    }
}

/// Appends until `left` is used up; from then on `left` stays 0.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len()) {
            Some(left) if left > 0 => {
                self.left = left;
                self.out.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            _ => {
                self.left = 0;
                Err(io::ErrorKind::FileTooLarge.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A message as JSON, as people read it on a console.
pub(crate) fn to_json<T: Message>(writer: &Writer, body: &[u8]) -> Result<serde_json::Value, DecodeError> {
    let message: T = decode(writer, body)?;
    serde_json::to_value(message).map_err(|_| DecodeError::Malformed { full_name: writer.full_name.clone() })
}

/// The Avro bytes of a message that is given as JSON.
pub(crate) fn from_json<T: Message>(json: &serde_json::Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let message = T::deserialize(json).map_err(|_| EncodeError::Unfit { full_name: T::FULL_NAME })?;
    encode(&message, out)
}
