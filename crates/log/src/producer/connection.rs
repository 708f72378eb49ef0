//! One connection to a broker, and the two requests that a producer makes over it.
//!
//! The versions are fixed: these are understood by every broker since 2.1, the oldest that Kafka's own clients speak to.
//! <https://kafka.apache.org/protocol.html>

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, MetadataRequest, ProduceRequest, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use crate::client::CLIENT_ID;
use crate::producer::answers::{self, Produced};
use crate::producer::queues::{BrokerId, Place, Seen, Taken, TopicNo};

const PRODUCE: i16 = 7;
const METADATA: i16 = 7;
/// All in-sync copies.
const ACKS_ALL: i16 = -1;
/// How long a broker waits for its copies, in ms.
const COPIES_MS: i32 = 30_000;
/// How long we wait for a broker, which is longer: most of what is given up here is done after all, and would be sent twice.
const ANSWER_MAX: Duration = Duration::from_secs(40);
const CONNECT_MAX: Duration = Duration::from_secs(5);
const METADATA_MAX: Duration = Duration::from_secs(10);
/// Room for what is read at once: most answers.
const READ_BYTES: usize = 8 << 10;
/// Bytes of an answer: many times what one about every partition of a large cluster takes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub host: String,
    pub port: u16,
}

/// What a cluster looks like.
pub(crate) struct Cluster {
    pub brokers: BTreeMap<BrokerId, Address>,
    pub topics: Vec<(String, Seen)>,
}

/// What a request led to, for each place that it was about.
pub(crate) type Answers = BTreeMap<Place, Result<i64, ResponseError>>;

pub(crate) struct Connection {
    stream: TcpStream,
    correlation: i32,
    out: BytesMut,
    input: BytesMut,
}

impl Connection {
    pub async fn open(address: &Address) -> io::Result<Self> {
        let connecting = TcpStream::connect((address.host.as_str(), address.port));
        let stream = timeout(CONNECT_MAX, connecting).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation: 0, out: BytesMut::new(), input: BytesMut::new() })
    }

    /// Ends when the broker has closed the connection, as one does that nothing was asked for ten minutes, or says something unasked. Either
    /// way it is of no use any more.
    pub async fn closed(&mut self) {
        let ended = self.stream.read(&mut [0]).await;
        debug!(?ended, "the connection to a broker is given up");
    }

    /// Asks where these topics stand.
    pub async fn metadata(&mut self, topics: &[TopicName]) -> io::Result<Cluster> {
        let topics = topics.iter().map(|name| MetadataRequestTopic::default().with_name(Some(name.clone()))).collect();
        let request = MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false);
        let answer = timeout(METADATA_MAX, self.ask(ApiKey::Metadata, METADATA, &request)).await??;
        Ok(answers::cluster(&answer)?)
    }

    /// Sends these batches. What the broker does not mention has no answer.
    pub async fn produce(&mut self, taken: &mut [Taken]) -> io::Result<Answers> {
        let mut topics: BTreeMap<TopicNo, TopicProduceData> = BTreeMap::new();
        let mut numbers: BTreeMap<&str, TopicNo> = BTreeMap::new();
        for Taken { place, topic, batch } in taken {
            let data = PartitionProduceData::default()
                .with_index(i32::from(place.partition))
                .with_records(Some(batch.close()));
            let begin = || TopicProduceData::default().with_name(topic.clone());
            topics.entry(place.topic).or_insert_with(begin).partition_data.push(data);
            numbers.insert(&topic.0, place.topic);
        }
        let request = ProduceRequest::default()
            .with_acks(ACKS_ALL)
            .with_timeout_ms(COPIES_MS)
            .with_topic_data(topics.into_values().collect());
        let answer = timeout(ANSWER_MAX, self.ask(ApiKey::Produce, PRODUCE, &request)).await??;
        let mut told = Answers::new();
        for Produced { topic, partition, outcome } in answers::produced(&answer)? {
            if let (Some(topic), Ok(partition)) = (numbers.get(topic), u16::try_from(partition)) {
                told.insert(Place { topic: *topic, partition }, outcome);
            }
        }
        Ok(told)
    }

    /// One request, and what comes after the head of its answer. A connection on which this failed is of no use any more.
    async fn ask<Q: Encodable + HeaderVersion>(&mut self, key: ApiKey, version: i16, request: &Q) -> io::Result<Bytes> {
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
        self.out.clear();
        self.out.extend_from_slice(&[0; 4]);
        header.encode(&mut self.out, Q::header_version(version)).map_err(io::Error::other)?;
        request.encode(&mut self.out, version).map_err(io::Error::other)?;
        let bytes = i32::try_from(self.out.len() - 4).map_err(io::Error::other)?;
        self.out[..4].copy_from_slice(&bytes.to_be_bytes());
        self.stream.write_all(&self.out).await?;
        let answer = self.answer().await?;
        let (correlation, rest) = answers::correlation(&answer)?;
        if correlation == self.correlation {
            Ok(answer.slice_ref(rest))
        } else {
            Err(invalid("the answer is of another request"))
        }
    }

    async fn answer(&mut self) -> io::Result<Bytes> {
        loop {
            if self.input.len() >= 4 {
                let bytes = i32::from_be_bytes([self.input[0], self.input[1], self.input[2], self.input[3]]);
                let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= ANSWER_BYTES_MAX);
                let bytes = bytes.ok_or_else(|| invalid("the length of the answer cannot be"))?;
                if self.input.len() >= 4 + bytes {
                    self.input.advance(4);
                    return Ok(self.input.split_to(bytes).freeze());
                }
            }
            // By itself it would make room for 64 bytes.
            self.input.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
