#![doc = include_str!("../README.md")]

mod codec;
mod framing;
mod header;
mod identity;
pub mod key;
#[macro_use]
mod macros;
mod message;
mod money;
mod schemas;
mod sealed;
mod timestamp;

#[path = "generated/mod.rs"]
mod generated;

pub use codec::{
    DecodeError, EncodeError, MAX_BODY_BYTES, MAX_DEPTH, MAX_ITEMS, MAX_SCHEMA_BYTES, SchemaError, Writer, decode,
    encode,
};
pub use framing::{FRAME_BYTES, FrameError, frame, unframe};
pub use generated::*;
pub use header::{
    Actor, HEADER_KEY, Header, HeaderError, HeaderRef, MAX_TEXT_BYTES, ReplyTo, Shard, ShardRef, TraceContext,
    is_sampled,
};
pub use identity::derive_id;
pub use message::{
    Closing, Command, Descriptor, Family, Kind, Message, Retention, SealedField, Topic, Undoes, all, descriptor, topics,
};
pub use money::{Currency, CurrencyError, MoneyError};
pub use schemas::{Schemas, StaticSchemas};
pub use sealed::Sealed;
pub use timestamp::{Timestamp, TimestampError};
