//! The promises of the README, on real servers.

mod command;
mod servers;
mod stacks;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use daybook_stack::Urls;

/// Nothing here takes this long unless it is broken.
const LIMIT: Duration = Duration::from_secs(30);

/// Sends `question` to a text protocol on loopback and returns what comes back until the server closes or falls silent.
fn ask(address: &str, question: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Runs Redis commands, one a line, and returns the answers.
fn redis(urls: &Urls, commands: &str) -> std::io::Result<String> {
    let (password, address) = urls.redis["redis://:".len()..].split_once('@').unwrap();
    ask(address, &format!("AUTH {password}\r\n{commands}\r\nQUIT\r\n"))
}

/// Waits until `holds`, which something under way must bring about.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
