//! What only an administrator does to Kafka, in its own protocol: delete a topic, add partitions. A few bytes each, so that no
//! client library is needed. See <https://kafka.apache.org/protocol>.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const DELETE_TOPICS: i16 = 20;
const CREATE_PARTITIONS: i16 = 37;
const CLIENT: &str = "e2e";
const TIMEOUT_MS: i32 = 10_000;
/// Larger than any answer to one topic.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Deletes a topic with all that is in it.
///
/// # Errors
/// When the broker refuses.
pub fn delete_topic(broker: &str, topic: &str) -> Result<()> {
    let mut body = Vec::new();
    body.extend(1_i32.to_be_bytes());
    put_text(&mut body, topic);
    body.extend(TIMEOUT_MS.to_be_bytes());
    let answer = ask(broker, DELETE_TOPICS, 1, &body)?;
    expect_done(&answer, topic)
}

/// Raises the number of a topic's partitions.
///
/// # Errors
/// When the broker refuses.
pub fn add_partitions(broker: &str, topic: &str, partitions: i32) -> Result<()> {
    let mut body = Vec::new();
    body.extend(1_i32.to_be_bytes());
    put_text(&mut body, topic);
    body.extend(partitions.to_be_bytes());
    // The broker chooses where they go.
    body.extend((-1_i32).to_be_bytes());
    body.extend(TIMEOUT_MS.to_be_bytes());
    let validate_only = 0_u8;
    body.push(validate_only);
    let answer = ask(broker, CREATE_PARTITIONS, 0, &body)?;
    expect_done(&answer, topic)
}

/// Sends one request; answers what follows the correlation id.
fn ask(broker: &str, api: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    request.extend(api.to_be_bytes());
    request.extend(version.to_be_bytes());
    let correlation = 1_i32.to_be_bytes();
    request.extend(correlation);
    put_text(&mut request, CLIENT);
    request.extend(body);

    let mut stream = TcpStream::connect(broker)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(&u32::try_from(request.len())?.to_be_bytes())?;
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length))?;
    ensure!(length <= ANSWER_MAX_BYTES, "an answer of {length} bytes");
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    answer.strip_prefix(&correlation).map(<[u8]>::to_vec).context("the answer is to another request")
}

/// Both answers are: throttle time, number of topics, and for the first its name and an error code.
fn expect_done(answer: &[u8], topic: &str) -> Result<()> {
    let code_at = 4 + 4 + 2 + topic.len();
    let code = answer.get(code_at..code_at + 2).context("the answer is too short")?;
    ensure!(code == [0, 0], "the broker answers error {code:?} for {topic}");
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = i16::try_from(text.len()).expect("names are short");
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
}
