//! What travels with each message, in one Kafka header: the first header of a record costs a
//! microsecond whatever its size, so there is only one.
//!
//! Layout, integers big-endian: version `u8`, flags `u16` (which optional parts follow), message
//! id, correlation id (16 bytes each), time `i64`, then the optional parts in the order of the
//! flags. A text is its length `u8` and its bytes.

use std::sync::Arc;

use uuid::Uuid;

use crate::Timestamp;

/// Name of the Kafka header.
pub const HEADER_KEY: &str = "db";
/// Most bytes of a text in the header.
pub const MAX_TEXT_BYTES: usize = 255;

const VERSION: u8 = 1;

const SHARD: u16 = 1 << 0;
const CAUSATION: u16 = 1 << 1;
const ACTOR: u16 = 1 << 2;
const TENANT: u16 = 1 << 3;
const REPLY_TO: u16 = 1 << 4;
const REPLY_FOR: u16 = 1 << 5;
const TRACE: u16 = 1 << 6;
const TRACE_SAMPLED: u16 = 1 << 7;
const REQUEST_HASH: u16 = 1 << 8;
const KNOWN_FLAGS: u16 = (1 << 9) - 1;

/// What travels with a message, apart from its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message, the same however often it is published.
    pub message_id: Uuid,
    /// Who numbered it, and how; none for commands from outside.
    pub shard: Option<Shard>,
    /// The command that started it all.
    pub correlation_id: Uuid,
    /// The message that directly caused this one; none at the start.
    pub causation_id: Option<Uuid>,
    /// When it was made.
    pub time: Timestamp,
    /// On whose behalf; none for what nobody asked for, such as a timer.
    pub actor: Option<Actor>,
    /// The organization on whose behalf.
    pub tenant: Option<Uuid>,
    /// Where the closing reply of this command is to go.
    pub reply_to: Option<ReplyTo>,
    /// The command that this message closes.
    pub reply_for: Option<Uuid>,
    /// The trace that it is part of.
    pub trace: Option<TraceContext>,
    /// SHA-256 of the request that a command from outside was made of.
    pub request_hash: Option<[u8; 32]>,
}

/// The numbering of a message: a part's input partition numbers all it publishes, without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Name of the part that numbered it.
    pub instance: Arc<str>,
    /// The part's input partition.
    pub partition: u16,
    /// Rises when the numbering begins anew.
    pub incarnation: u32,
    /// The number, from 1.
    pub seq: u64,
    /// The shard's number before this one to the same output partition; 0 when it is the first.
    pub prev: u64,
}

/// On whose behalf a message was sent; a saga passes on the actor of the command it began with.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Actor {
    /// The person, or the machine's account.
    pub id: Uuid,
    /// What the actor may do: words separated by single spaces, as in OAuth's `scope`.
    pub scopes: Arc<str>,
}

impl Actor {
    /// True when `scope` is among the actor's scopes.
    pub fn may(&self, scope: &str) -> bool {
        self.scopes.split(' ').any(|own| own == scope)
    }
}

/// Where a reply is to go.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReplyTo {
    /// The topic.
    pub topic: Arc<str>,
    /// The id that is the reply's Kafka key there.
    pub key: Uuid,
}

/// W3C Trace Context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span that sent the message.
    pub span_id: [u8; 8],
    /// Whether the trace is recorded.
    pub sampled: bool,
}

/// Bytes are not a header, or a header is not to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Written by a later release.
    #[error("header version {0} is not known")]
    Version(u8),
    /// Flags that this version does not have.
    #[error("header flags {0:#06x} are not known")]
    Flags(u16),
    /// It ends too early.
    #[error("the header is cut off")]
    Short,
    /// It ends too late.
    #[error("the header is followed by {0} bytes that do not belong to it")]
    Trailing(usize),
    /// A text is not UTF-8.
    #[error("a text in the header is not UTF-8")]
    Text,
    /// A text is longer than [`MAX_TEXT_BYTES`].
    #[error("a text of {0} bytes is too long for the header")]
    Long(usize),
}

/// Whether bytes that are said to be a header belong to a trace that is recorded. Looks at no more than the flags.
pub fn is_sampled(header: &[u8]) -> bool {
    let flags = header.get(1..3).map_or(0, |flags| u16::from_be_bytes([flags[0], flags[1]]));
    flags & TRACE_SAMPLED != 0
}

/// A [`Header`] that still stands in the record's bytes: what the hot path reads, without
/// allocating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// See [`Header::message_id`].
    pub message_id: Uuid,
    /// See [`Header::shard`].
    pub shard: Option<ShardRef<'a>>,
    /// See [`Header::correlation_id`].
    pub correlation_id: Uuid,
    /// See [`Header::causation_id`].
    pub causation_id: Option<Uuid>,
    /// See [`Header::time`].
    pub time: Timestamp,
    /// Id and scopes, see [`Header::actor`].
    pub actor: Option<(Uuid, &'a str)>,
    /// See [`Header::tenant`].
    pub tenant: Option<Uuid>,
    /// Topic and key, see [`Header::reply_to`].
    pub reply_to: Option<(&'a str, Uuid)>,
    /// See [`Header::reply_for`].
    pub reply_for: Option<Uuid>,
    /// See [`Header::trace`].
    pub trace: Option<TraceContext>,
    /// See [`Header::request_hash`].
    pub request_hash: Option<&'a [u8; 32]>,
}

/// A [`Shard`] that still stands in the record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardRef<'a> {
    /// See [`Shard::instance`].
    pub instance: &'a str,
    /// See [`Shard::partition`].
    pub partition: u16,
    /// See [`Shard::incarnation`].
    pub incarnation: u32,
    /// See [`Shard::seq`].
    pub seq: u64,
    /// See [`Shard::prev`].
    pub prev: u64,
}

impl Header {
    /// The header of a message that stands at the start: it correlates to itself, and all
    /// optional parts are empty.
    pub fn first(message_id: Uuid, time: Timestamp) -> Self {
        Self {
            message_id,
            shard: None,
            correlation_id: message_id,
            causation_id: None,
            time,
            actor: None,
            tenant: None,
            reply_to: None,
            reply_for: None,
            trace: None,
            request_hash: None,
        }
    }

    /// Reads a header.
    ///
    /// # Errors
    /// When `bytes` are not exactly one header of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        HeaderRef::decode(bytes).map(HeaderRef::into_owned)
    }

    /// Appends the header's bytes to `out`, which on an error is left as it was.
    ///
    /// # Errors
    /// When a text is too long.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        self.as_ref().encode(out)
    }

    /// The header with its texts borrowed.
    pub fn as_ref(&self) -> HeaderRef<'_> {
        HeaderRef {
            message_id: self.message_id,
            shard: self.shard.as_ref().map(|shard| ShardRef {
                instance: &shard.instance,
                partition: shard.partition,
                incarnation: shard.incarnation,
                seq: shard.seq,
                prev: shard.prev,
            }),
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            time: self.time,
            actor: self.actor.as_ref().map(|actor| (actor.id, &*actor.scopes)),
            tenant: self.tenant,
            reply_to: self.reply_to.as_ref().map(|reply| (&*reply.topic, reply.key)),
            reply_for: self.reply_for,
            trace: self.trace,
            request_hash: self.request_hash.as_ref(),
        }
    }
}

impl<'a> HeaderRef<'a> {
    /// Reads a header without copying its texts.
    ///
    /// # Errors
    /// When `bytes` are not exactly one header of a known version.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, HeaderError> {
        let mut input = Input(bytes);
        let [version] = input.array()?;
        if *version != VERSION {
            return Err(HeaderError::Version(*version));
        }
        let flags = u16::from_be_bytes(*input.array()?);
        if flags & !KNOWN_FLAGS != 0 {
            return Err(HeaderError::Flags(flags));
        }
        let has = |flag| flags & flag != 0;
        // Fields are evaluated in the order in which they are written here: the order of the bytes.
        let header = Self {
            message_id: input.uuid()?,
            correlation_id: input.uuid()?,
            time: Timestamp(i64::from_be_bytes(*input.array()?)),
            shard: has(SHARD).then(|| input.shard()).transpose()?,
            causation_id: has(CAUSATION).then(|| input.uuid()).transpose()?,
            actor: has(ACTOR).then(|| Ok::<_, HeaderError>((input.uuid()?, input.text()?))).transpose()?,
            tenant: has(TENANT).then(|| input.uuid()).transpose()?,
            reply_to: has(REPLY_TO).then(|| Ok::<_, HeaderError>((input.text()?, input.uuid()?))).transpose()?,
            reply_for: has(REPLY_FOR).then(|| input.uuid()).transpose()?,
            trace: has(TRACE).then(|| input.trace(has(TRACE_SAMPLED))).transpose()?,
            request_hash: has(REQUEST_HASH).then(|| input.array()).transpose()?,
        };
        match input.0.len() {
            0 => Ok(header),
            rest => Err(HeaderError::Trailing(rest)),
        }
    }

    /// Appends the header's bytes to `out`, which on an error is left as it was.
    ///
    /// # Errors
    /// When a text is too long.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        let start = out.len();
        let result = self.append(out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// The header with texts of its own.
    pub fn into_owned(self) -> Header {
        Header {
            message_id: self.message_id,
            shard: self.shard.map(|shard| Shard {
                instance: shard.instance.into(),
                partition: shard.partition,
                incarnation: shard.incarnation,
                seq: shard.seq,
                prev: shard.prev,
            }),
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            time: self.time,
            actor: self.actor.map(|(id, scopes)| Actor { id, scopes: scopes.into() }),
            tenant: self.tenant,
            reply_to: self.reply_to.map(|(topic, key)| ReplyTo { topic: topic.into(), key }),
            reply_for: self.reply_for,
            trace: self.trace,
            request_hash: self.request_hash.copied(),
        }
    }

    fn flags(&self) -> u16 {
        let parts = [
            (self.shard.is_some(), SHARD),
            (self.causation_id.is_some(), CAUSATION),
            (self.actor.is_some(), ACTOR),
            (self.tenant.is_some(), TENANT),
            (self.reply_to.is_some(), REPLY_TO),
            (self.reply_for.is_some(), REPLY_FOR),
            (self.trace.is_some(), TRACE),
            (self.trace.is_some_and(|trace| trace.sampled), TRACE_SAMPLED),
            (self.request_hash.is_some(), REQUEST_HASH),
        ];
        parts.iter().filter(|(is_there, _)| *is_there).fold(0, |flags, (_, flag)| flags | flag)
    }

    fn append(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        out.push(VERSION);
        out.extend_from_slice(&self.flags().to_be_bytes());
        out.extend_from_slice(self.message_id.as_bytes());
        out.extend_from_slice(self.correlation_id.as_bytes());
        out.extend_from_slice(&self.time.0.to_be_bytes());
        if let Some(shard) = &self.shard {
            append_text(shard.instance, out)?;
            out.extend_from_slice(&shard.partition.to_be_bytes());
            out.extend_from_slice(&shard.incarnation.to_be_bytes());
            out.extend_from_slice(&shard.seq.to_be_bytes());
            out.extend_from_slice(&shard.prev.to_be_bytes());
        }
        append_uuid(self.causation_id, out);
        if let Some((id, scopes)) = self.actor {
            append_uuid(Some(id), out);
            append_text(scopes, out)?;
        }
        append_uuid(self.tenant, out);
        if let Some((topic, key)) = self.reply_to {
            append_text(topic, out)?;
            append_uuid(Some(key), out);
        }
        append_uuid(self.reply_for, out);
        if let Some(trace) = &self.trace {
            out.extend_from_slice(&trace.trace_id);
            out.extend_from_slice(&trace.span_id);
        }
        if let Some(hash) = self.request_hash {
            out.extend_from_slice(hash);
        }
        Ok(())
    }
}

fn append_uuid(id: Option<Uuid>, out: &mut Vec<u8>) {
    if let Some(id) = id {
        out.extend_from_slice(id.as_bytes());
    }
}

fn append_text(text: &str, out: &mut Vec<u8>) -> Result<(), HeaderError> {
    let length = u8::try_from(text.len()).map_err(|_| HeaderError::Long(text.len()))?;
    out.push(length);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// What is still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], HeaderError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(HeaderError::Short)?;
        self.0 = rest;
        Ok(array)
    }

    fn uuid(&mut self) -> Result<Uuid, HeaderError> {
        self.array().copied().map(Uuid::from_bytes)
    }

    fn text(&mut self) -> Result<&'a str, HeaderError> {
        let [length] = self.array()?;
        let (text, rest) = self.0.split_at_checked(usize::from(*length)).ok_or(HeaderError::Short)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| HeaderError::Text)
    }

    fn shard(&mut self) -> Result<ShardRef<'a>, HeaderError> {
        Ok(ShardRef {
            instance: self.text()?,
            partition: u16::from_be_bytes(*self.array()?),
            incarnation: u32::from_be_bytes(*self.array()?),
            seq: u64::from_be_bytes(*self.array()?),
            prev: u64::from_be_bytes(*self.array()?),
        })
    }

    fn trace(&mut self, sampled: bool) -> Result<TraceContext, HeaderError> {
        Ok(TraceContext { trace_id: *self.array()?, span_id: *self.array()?, sampled })
    }
}
