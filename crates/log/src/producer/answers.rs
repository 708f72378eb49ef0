//! What brokers answer, within bounds: whatever the bytes are, they are read or refused.
//!
//! *2026-12: not read by `kafka-protocol`*, which makes room for as many elements as an answer claims to have before it reads the first. A few
//! wrong bytes would end the process.
//!
//! Both are of versions before the flexible ones (KIP-482): numbers of a fixed size, texts behind their length in two bytes, arrays behind
//! their number of elements in four. <https://kafka.apache.org/protocol.html>

use std::collections::BTreeMap;
use std::io;

use bytes::{Buf as _, TryGetError};
use kafka_protocol::ResponseError;

use super::connection::{Address, Cluster};
use super::queues::{BrokerId, Seen};

/// Why an answer is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl From<TryGetError> for Malformed {
    fn from(_: TryGetError) -> Self {
        Self
    }
}

impl From<Malformed> for io::Error {
    fn from(_: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, "the broker's answer is malformed")
    }
}

/// Splits the number of the request that it answers from an answer.
pub(crate) fn correlation(mut answer: &[u8]) -> Result<(i32, &[u8]), Malformed> {
    let number = answer.try_get_i32()?;
    Ok((number, answer))
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Produced<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// The offset of its first message.
    pub outcome: Result<i64, ResponseError>,
}

/// An answer to a produce request, version 7.
pub(crate) fn produced(mut rest: &[u8]) -> Result<Vec<Produced<'_>>, Malformed> {
    let rest = &mut rest;
    let mut produced = Vec::new();
    for _ in 0..rest.try_get_i32()? {
        let topic = text(rest)?;
        for _ in 0..rest.try_get_i32()? {
            let partition = rest.try_get_i32()?;
            let error = ResponseError::try_from_code(rest.try_get_i16()?);
            let offset = rest.try_get_i64()?;
            let (_append_time_ms, _log_start_offset) = (rest.try_get_i64()?, rest.try_get_i64()?);
            produced.push(Produced { topic, partition, outcome: error.map_or(Ok(offset), Err) });
        }
    }
    Ok(produced)
}

/// An answer to a metadata request, version 7.
pub(crate) fn cluster(mut rest: &[u8]) -> Result<Cluster, Malformed> {
    let rest = &mut rest;
    let _throttle_time_ms = rest.try_get_i32()?;
    let mut brokers = BTreeMap::new();
    for _ in 0..rest.try_get_i32()? {
        let broker = rest.try_get_i32()?;
        let host = text(rest)?.to_owned();
        let port = rest.try_get_i32()?;
        let _rack = text_or_none(rest)?;
        if let Ok(port) = u16::try_from(port) {
            brokers.insert(broker, Address { host, port });
        }
    }
    let _cluster_id = text_or_none(rest)?;
    let _controller = rest.try_get_i32()?;
    let mut topics = Vec::new();
    for _ in 0..rest.try_get_i32()? {
        let error = ResponseError::try_from_code(rest.try_get_i16()?);
        let name = text(rest)?.to_owned();
        let _is_internal = rest.try_get_u8()?;
        let leaders = leaders(rest)?;
        topics.push((name, seen(error, leaders)));
    }
    Ok(Cluster { brokers, topics })
}

/// Reads bytes as each of the answers that a broker gives our producer. Answers how many things they tell of; none where they are refused.
///
/// For those who claim something of any bytes whatsoever (`tests/foreign`).
pub fn read_answer(bytes: &[u8]) -> usize {
    let Ok((_, rest)) = correlation(bytes) else { return 0 };
    let partitions = |seen: &Seen| if let Seen::Leaders(leaders) = seen { leaders.len() } else { 0 };
    let of_cluster = cluster(rest).map_or(0, |Cluster { brokers, topics }| {
        brokers.len() + topics.len() + topics.iter().map(|(_, seen)| partitions(seen)).sum::<usize>()
    });
    of_cluster.max(produced(rest).map_or(0, |produced| produced.len()))
}

/// The leaders of the partitions that have one.
fn leaders(rest: &mut &[u8]) -> Result<BTreeMap<u16, BrokerId>, Malformed> {
    let mut leaders = BTreeMap::new();
    for _ in 0..rest.try_get_i32()? {
        let _error = rest.try_get_i16()?;
        let partition = rest.try_get_i32()?;
        let leader = rest.try_get_i32()?;
        let _epoch = rest.try_get_i32()?;
        for _copies_or_those_in_sync_or_away in 0..3 {
            for _ in 0..rest.try_get_i32()? {
                let _broker = rest.try_get_i32()?;
            }
        }
        if let Ok(partition) = u16::try_from(partition)
            && leader >= 0
        {
            leaders.insert(partition, leader);
        }
    }
    Ok(leaders)
}

fn seen(error: Option<ResponseError>, leaders: BTreeMap<u16, BrokerId>) -> Seen {
    match error {
        Some(ResponseError::UnknownTopicOrPartition) => Seen::Unknown,
        Some(error) if error.is_retriable() => Seen::Passing,
        Some(error) => Seen::Refused(error),
        None => Seen::Leaders(leaders),
    }
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Malformed> {
    text_or_none(rest)?.ok_or(Malformed)
}

fn text_or_none<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a str>, Malformed> {
    let length = rest.try_get_i16()?;
    if length < 0 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (text, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    std::str::from_utf8(text).map(Some).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut as _, Bytes};
    use kafka_protocol::messages::{MetadataResponse, ProduceResponse};
    use kafka_protocol::protocol::Decodable as _;

    use super::*;

    fn put_text(out: &mut Vec<u8>, text: &str) {
        out.put_i16(text.len().try_into().unwrap());
        out.put_slice(text.as_bytes());
    }

    fn a_cluster() -> Vec<u8> {
        let mut out = Vec::new();
        // Not throttled; two brokers, the second of which has a rack.
        out.extend([0, 2].map(i32::to_be_bytes).concat());
        out.put_i32(1);
        put_text(&mut out, "one.example");
        out.put_i32(9_092);
        out.put_i16(-1);
        out.put_i32(2);
        put_text(&mut out, "two.example");
        out.put_i32(70_000);
        put_text(&mut out, "a rack");
        put_text(&mut out, "a cluster");
        // The controller; topics.
        out.extend([1, 4].map(i32::to_be_bytes).concat());
        for (name, error) in [
            ("led", 0),
            ("unknown", ResponseError::UnknownTopicOrPartition.code()),
            ("passing", ResponseError::LeaderNotAvailable.code()),
            ("forbidden", ResponseError::TopicAuthorizationFailed.code()),
        ] {
            out.put_i16(error);
            put_text(&mut out, name);
            out.put_u8(0);
            out.put_i32(2);
            for (partition, leader) in [(0, 1), (1, -1)] {
                out.put_i16(0);
                // Epoch; two copies, one in sync, one away.
                let numbers = [partition, leader, 5, 2, 1, 2, 1, 1, 1, 2];
                out.extend(numbers.map(i32::to_be_bytes).concat());
            }
        }
        out
    }

    fn what_became_of_three() -> Vec<u8> {
        let mut out = Vec::new();
        let put = |out: &mut Vec<u8>, partition, error, offset| {
            out.put_i32(partition);
            out.put_i16(error);
            out.extend([offset, -1, 0].map(i64::to_be_bytes).concat());
        };
        out.put_i32(2);
        put_text(&mut out, "events");
        out.put_i32(2);
        put(&mut out, 0, 0, 7);
        put(&mut out, 1, ResponseError::NotLeaderOrFollower.code(), -1);
        put_text(&mut out, "commands");
        out.put_i32(1);
        put(&mut out, 2, 0, 9);
        out.put_i32(0);
        out
    }

    #[test]
    fn a_cluster_is_read() {
        let Cluster { brokers, topics } = cluster(&a_cluster()).unwrap();
        let one = Address { host: "one.example".to_owned(), port: 9_092 };
        assert_eq!(brokers, BTreeMap::from([(1, one)]), "a port that cannot be is none");
        let [led, unknown, passing, forbidden] = topics.try_into().ok().unwrap();
        assert!(matches!(led, (_, Seen::Leaders(leaders)) if leaders == BTreeMap::from([(0, 1)])));
        assert!(matches!(unknown, (name, Seen::Unknown) if name == "unknown"));
        assert!(matches!(passing.1, Seen::Passing));
        assert!(matches!(forbidden.1, Seen::Refused(ResponseError::TopicAuthorizationFailed)));
    }

    #[test]
    fn what_became_of_batches_is_read() {
        let told = |topic, partition, outcome| Produced { topic, partition, outcome };
        assert_eq!(
            produced(&what_became_of_three()).unwrap(),
            [
                told("events", 0, Ok(7)),
                told("events", 1, Err(ResponseError::NotLeaderOrFollower)),
                told("commands", 2, Ok(9)),
            ]
        );
    }

    #[test]
    fn another_implementation_reads_the_same() {
        let mut rest = Bytes::from(a_cluster());
        let theirs = MetadataResponse::decode(&mut rest, 7).unwrap();
        assert!(rest.is_empty());
        let ours = cluster(&a_cluster()).unwrap();
        let names = |topic: &kafka_protocol::messages::metadata_response::MetadataResponseTopic| {
            topic.name.as_ref().unwrap().0.to_string()
        };
        assert!(theirs.topics.iter().map(names).eq(ours.topics.into_iter().map(|(name, _)| name)));
        let leaders = |index: usize| theirs.topics[0].partitions[index].leader_id.0;
        assert_eq!((leaders(0), leaders(1), theirs.brokers.len()), (1, -1, 2));

        let mut rest = Bytes::from(what_became_of_three());
        let theirs = ProduceResponse::decode(&mut rest, 7).unwrap();
        assert!(rest.is_empty());
        let offsets = theirs.responses.iter().flat_map(|topic| &topic.partition_responses).map(|told| told.base_offset);
        assert!(offsets.eq([7, -1, 9]));
    }

    #[test]
    fn an_answer_that_claims_more_than_it_holds_is_refused() {
        let whole = a_cluster();
        for end in 0..whole.len() {
            assert!(cluster(&whole[..end]).is_err(), "{end}");
        }
        let claims = i32::MAX.to_be_bytes();
        assert_eq!(produced(&claims), Err(Malformed));
        assert!(cluster(&[[0; 4], claims].concat()).is_err());
    }
}
