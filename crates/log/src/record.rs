//! A message of librdkafka as a record of ours.

use bytes::{Bytes, BytesMut};
use daybook_engine::{Record, SchemaLookup, Stream};
use daybook_events::{Timestamp, unframe};
use rdkafka::message::{BorrowedMessage, Message};

use crate::native;

/// Copies a message out of librdkafka. Until it is looked up, a framed record's schema is "no such id".
pub(crate) fn read(message: &BorrowedMessage<'_>, stream: Stream, partition: u16) -> Record {
    let (key, value) = (message.key(), message.payload());
    let header = native::header(message, c"db");
    // One allocation for the three.
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let mut copied = BytesMut::with_capacity(length(key) + length(header) + length(value));
    let mut copy = |bytes: Option<&[u8]>| -> Option<Bytes> {
        copied.extend_from_slice(bytes?);
        Some(copied.split().freeze())
    };
    Record {
        stream,
        partition,
        offset: message.offset(),
        time: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or_default()),
        key: copy(key),
        header: copy(header),
        value: copy(value),
        schema: match value.map(unframe) {
            Some(Ok((id, _))) => SchemaLookup::NoSuchId(id),
            Some(Err(_)) | None => SchemaLookup::Unframed,
        },
    }
}
