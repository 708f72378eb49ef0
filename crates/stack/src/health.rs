//! Whether a server is ready, asked in its own protocol: an open port alone proves little.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A server that does not answer within this time is not ready; the question is asked again.
const PATIENCE: Duration = Duration::from_secs(2);
/// No answer that is looked at here is longer.
const ANSWER_LIMIT_BYTES: u64 = 64 * 1024;

/// Why a server is not ready, for a person to read.
pub(crate) type NotReady = String;
pub(crate) type Readiness = Result<(), NotReady>;

/// Kafka lists at least one broker: then it is registered, and topics can be made on it.
pub(crate) fn kafka(port: u16) -> Readiness {
    // Metadata request, version 4 (https://kafka.apache.org/protocol): length, key, version, correlation id, client id,
    // no topics, no topic to be created.
    let mut body = Vec::new();
    body.extend(3_i16.to_be_bytes());
    body.extend(4_i16.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(5_i16.to_be_bytes());
    body.extend(b"stack");
    body.extend(0_i32.to_be_bytes());
    body.push(0);
    let ask = || -> io::Result<i32> {
        let mut stream = connect(port)?;
        let length = i32::try_from(body.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), body.as_slice()].concat())?;
        // Length, correlation id, throttle time, number of brokers.
        let mut answer = [0_u8; 16];
        stream.read_exact(&mut answer)?;
        let [.., a, b, c, d] = answer;
        Ok(i32::from_be_bytes([a, b, c, d]))
    };
    match ask() {
        Ok(brokers) if brokers > 0 => Ok(()),
        Ok(_) => Err("it lists no broker yet".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// An HTTP server answers `GET path` with 200.
pub(crate) fn http(port: u16, path: &str) -> Readiness {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let status_line = first_line(port, request.as_bytes())?;
    match status_line.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(format!("GET {path} is answered by: {status_line}")),
    }
}

/// A local address such as `http://127.0.0.1:9464/readyz` answers a GET with 200.
pub(crate) fn url(url: &str) -> Readiness {
    let parts = url.strip_prefix("http://127.0.0.1:").and_then(|rest| {
        let (port, path) = rest.split_at(rest.find('/')?);
        Some((port.parse().ok()?, path))
    });
    match parts {
        Some((port, path)) => http(port, path),
        None => Err(format!("{url} is not of the form http://127.0.0.1:PORT/PATH")),
    }
}

/// Redis answers a ping; while it loads its file it does not.
pub(crate) fn redis(port: u16, password: &str) -> Readiness {
    let mut stream = connect(port).map_err(|error| error.to_string())?;
    let talk = || -> io::Result<String> {
        stream.write_all(format!("AUTH {password}\r\nPING\r\nQUIT\r\n").as_bytes())?;
        read_text(stream)
    };
    let answer = talk().map_err(|error| error.to_string())?;
    match answer.lines().nth(1) {
        Some("+PONG") => Ok(()),
        _ => Err(format!("PING is answered by: {}", answer.lines().last().unwrap_or_default())),
    }
}

/// The mail sink greets.
pub(crate) fn smtp(port: u16) -> Readiness {
    let greeting = first_line(port, b"QUIT\r\n")?;
    if greeting.starts_with("220 ") { Ok(()) } else { Err(format!("its greeting is: {greeting}")) }
}

fn first_line(port: u16, question: &[u8]) -> Result<String, NotReady> {
    let ask = || -> io::Result<String> {
        let mut stream = connect(port)?;
        stream.write_all(question)?;
        read_text(stream)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read_text(stream: TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.take(ANSWER_LIMIT_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
