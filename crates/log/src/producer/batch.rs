//! A record batch as it goes over the wire and as brokers store it.
//!
//! Format 2, <https://kafka.apache.org/documentation/#recordbatch>: uncompressed, without a producer id.

use std::time::Instant;

use bytes::Bytes;

use crate::headers::Envelope;
use crate::producer::Ticket;

/// Bytes before the first record.
const HEAD_BYTES: usize = 61;
/// Of the head, what comes before what its length counts: offset and length.
const BEFORE_LENGTH_BYTES: usize = 12;
/// Where what the checksum is of begins.
const CHECKED_FROM: usize = 21;
const FORMAT: u8 = 2;
/// Room for the frame of a batch and for further headers beside key, value and our own header.
const OVERHEAD_BYTES: usize = 512;
/// Brokers fill in the offset, and clients don't know an epoch of the leader.
const NONE: i32 = -1;

/// One message.
pub(crate) struct Outbound<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub envelope: Envelope<'a>,
}

impl Outbound<'_> {
    /// Bytes that it takes in the log at most.
    pub fn size(&self) -> usize {
        self.key.len() + self.value.len() + self.envelope.header.len() + OVERHEAD_BYTES
    }
}

/// Messages of one partition, in order. Once it is closed nothing is added, so that it can be sent again as it is.
pub(crate) struct Batch {
    begun: Instant,
    /// Head and records; the head is filled in when the batch is closed.
    bytes: Vec<u8>,
    closed: Option<Bytes>,
    tickets: Vec<Ticket>,
    first_ms: i64,
    last_ms: i64,
}

impl Batch {
    pub fn new(begun: Instant) -> Self {
        Self { begun, bytes: vec![0; HEAD_BYTES], closed: None, tickets: Vec::new(), first_ms: 0, last_ms: 0 }
    }

    pub fn begun(&self) -> Instant {
        self.begun
    }

    pub fn len(&self) -> usize {
        self.closed.as_ref().map_or(self.bytes.len(), Bytes::len)
    }

    pub fn count(&self) -> usize {
        self.tickets.len()
    }

    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Adds a message. `scratch` is for what is written before its length is known; what is in it is forgotten.
    pub fn push(&mut self, message: &Outbound<'_>, ticket: Ticket, scratch: &mut Vec<u8>) {
        debug_assert!(self.is_open(), "a batch that was sent is sent again as it is");
        let time_ms = message.envelope.time.millis();
        if self.tickets.is_empty() {
            (self.first_ms, self.last_ms) = (time_ms, time_ms);
        }
        self.last_ms = self.last_ms.max(time_ms);
        scratch.clear();
        // No attributes of a record are in use.
        scratch.push(0);
        put_varint(scratch, time_ms - self.first_ms);
        put_varint(scratch, length(self.tickets.len()));
        put_bytes(scratch, message.key);
        put_bytes(scratch, message.value);
        // So few headers that their number takes one byte.
        let number_at = scratch.len();
        scratch.push(0);
        let mut headers = 0;
        message.envelope.each(|key, value| {
            headers += 1;
            put_bytes(scratch, key.as_bytes());
            put_bytes(scratch, value);
        });
        scratch[number_at] = headers << 1;
        put_bytes(&mut self.bytes, scratch);
        self.tickets.push(ticket);
    }

    /// The batch as it is sent, this time and every later one.
    pub fn close(&mut self) -> Bytes {
        let Some(closed) = &self.closed else {
            let bytes = self.head_filled_in();
            self.closed = Some(bytes.clone());
            return bytes;
        };
        closed.clone()
    }

    fn head_filled_in(&mut self) -> Bytes {
        let mut bytes = std::mem::take(&mut self.bytes);
        let count = i32::try_from(self.tickets.len()).expect("a batch's bytes are bounded");
        let counted = i32::try_from(bytes.len() - BEFORE_LENGTH_BYTES).expect("a batch's bytes are bounded");
        let mut checked = Vec::with_capacity(HEAD_BYTES - CHECKED_FROM);
        // No compression, time as the client tells it, no transaction, no control batch.
        checked.extend_from_slice(&0_i16.to_be_bytes());
        checked.extend_from_slice(&(count - 1).to_be_bytes());
        checked.extend_from_slice(&self.first_ms.to_be_bytes());
        checked.extend_from_slice(&self.last_ms.to_be_bytes());
        // Producer id, its epoch, first sequence number.
        checked.extend_from_slice(&i64::from(NONE).to_be_bytes());
        checked.extend_from_slice(&(-1_i16).to_be_bytes());
        checked.extend_from_slice(&NONE.to_be_bytes());
        checked.extend_from_slice(&count.to_be_bytes());
        bytes[CHECKED_FROM..HEAD_BYTES].copy_from_slice(&checked);
        let checksum = crc32c::crc32c(&bytes[CHECKED_FROM..]);
        bytes[8..12].copy_from_slice(&counted.to_be_bytes());
        bytes[12..16].copy_from_slice(&NONE.to_be_bytes());
        bytes[16] = FORMAT;
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
        Bytes::from(bytes)
    }

    /// Who waits for its messages, in their order.
    pub fn into_tickets(self) -> Vec<Ticket> {
        self.tickets
    }
}

fn length(of: usize) -> i64 {
    i64::try_from(of).expect("the length of something in memory")
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// As Protocol Buffers have signed numbers: zigzag, seven bits a byte, the lowest first.
fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use daybook_events::Timestamp;
    use kafka_protocol::records::RecordBatchDecoder;
    use uuid::Uuid;

    use super::*;

    fn outbound<'a>(key: &'a [u8], value: &'a [u8], topic: &'a str, time_ms: i64) -> Outbound<'a> {
        let envelope = Envelope {
            topic,
            source: "/daybook/courses",
            type_name: "daybook.learning.SeatReserved",
            message_id: Uuid::from_u128(7),
            time: Timestamp(time_ms * 1000),
            header: b"ours",
        };
        Outbound { key, value, envelope }
    }

    #[test]
    fn another_implementation_reads_what_a_batch_holds() {
        let mut batch = Batch::new(Instant::now());
        let mut scratch = b"from before".to_vec();
        let large = vec![7; 100_000];
        batch.push(&outbound(b"one", b"first", "learning.course.commands.v1", 2_000), Ticket::Nobody, &mut scratch);
        batch.push(&outbound(b"", &large, "learning.course.events.v1", 1_000), Ticket::Nobody, &mut scratch);
        batch.push(&outbound(b"one", b"", "learning.course.events.v1", 3_000), Ticket::Nobody, &mut scratch);
        let mut bytes = batch.close();
        assert_eq!((batch.len(), batch.count(), batch.is_open()), (bytes.len(), 3, false));
        assert_eq!(batch.close(), bytes);

        // Which also compares the checksum.
        let read = RecordBatchDecoder::decode(&mut bytes).unwrap().records;
        let seen: Vec<_> = read
            .iter()
            .map(|record| (record.offset, record.timestamp, record.key.as_deref(), record.value.as_deref()))
            .collect();
        let (one, none) = (Some(b"one".as_slice()), Some(b"".as_slice()));
        assert_eq!(
            seen,
            [(0, 2_000, one, Some(b"first".as_slice())), (1, 1_000, none, Some(&large)), (2, 3_000, one, none)]
        );
        assert_eq!(read[0].headers.len(), 1);
        let names: Vec<_> = read[1].headers.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["db", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"]);
        assert_eq!(read[1].headers[3].as_deref(), Some(b"/daybook/courses".as_slice()));
    }

    #[test]
    fn a_number_takes_as_many_bytes_as_it_needs() {
        let encoded = |number| {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            out
        };
        assert_eq!(encoded(0), [0]);
        assert_eq!(encoded(-1), [1]);
        assert_eq!(encoded(63), [126]);
        assert_eq!(encoded(64), [128, 1]);
        assert_eq!(encoded(-65), [129, 1]);
        assert_eq!(encoded(i64::MIN).len(), 10);
    }
}
