//! A collector of traces: takes what the platform exports by OTLP over HTTP, and keeps it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

/// The most bytes that one export may have.
const EXPORT_MAX_BYTES: usize = 16 * 1024 * 1024;

/// A span, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Ids in hex.
    pub trace: String,
    pub id: String,
    /// Empty at the start of a trace.
    pub parent: String,
    pub name: String,
}

/// Listens as long as the process lives. Clones share what has come.
#[derive(Clone)]
pub struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    /// # Errors
    /// When there is no free port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let collector = Self { url: format!("http://{}", listener.local_addr()?), spans: Arc::default() };
        let serving = collector.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let collector = serving.clone();
                thread::spawn(move || {
                    if let Err(error) = collector.converse(stream) {
                        eprintln!("an export was not understood: {error:#}");
                    }
                });
            }
        });
        Ok(collector)
    }

    /// What `telemetry.otlp_endpoint` has to be.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All spans that have come.
    pub fn spans(&self) -> Vec<Span> {
        self.kept().clone()
    }

    fn converse(&self, stream: TcpStream) -> Result<()> {
        let mut answers = stream.try_clone()?;
        let mut requests = BufReader::new(stream);
        while let Some(body) = next_body(&mut requests)? {
            let spans = read(&body)?;
            self.kept().extend(spans);
            answers
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")?;
        }
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of the connection's next request; `None` at its end.
fn next_body(requests: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>> {
    let mut length = 0;
    let mut line = String::new();
    if requests.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    while !line.trim().is_empty() {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
        line.clear();
        requests.read_line(&mut line)?;
    }
    ensure!(length <= EXPORT_MAX_BYTES, "an export of {length} bytes");
    let mut body = vec![0; length];
    requests.read_exact(&mut body)?;
    Ok(Some(body))
}

/// The spans of an `ExportTraceServiceRequest`: resources (1) have scopes (2), and these have spans (2).
fn read(body: &[u8]) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for resource in messages(body, 1)? {
        for scope in messages(resource, 2)? {
            for span in messages(scope, 2)? {
                let text =
                    |number| Ok::<_, anyhow::Error>(messages(span, number)?.first().copied().unwrap_or_default());
                spans.push(Span {
                    trace: hex::encode(text(1)?),
                    id: hex::encode(text(2)?),
                    parent: hex::encode(text(4)?),
                    name: String::from_utf8(text(5)?.to_vec())?,
                });
            }
        }
    }
    Ok(spans)
}

/// The fields of a Protocol Buffers message that have this number and a length.
fn messages(mut bytes: &[u8], wanted: u64) -> Result<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let length = match tag & 7 {
            0 => {
                varint(&mut bytes)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?)?,
            5 => 4,
            kind => bail!("a field of kind {kind}"),
        };
        let (field, rest) = bytes.split_at_checked(length).context("a field that is cut off")?;
        bytes = rest;
        if tag >> 3 == wanted {
            found.push(field);
        }
    }
    Ok(found)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().context("a number that is cut off")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number that is too long")
}
