//! A mail server that answers by script, and keeps what it took.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinHandle;

/// What it answers to each step of one dialog; an empty answer is a closed connection.
#[derive(Clone, Copy)]
pub struct Script {
    pub greeting: &'static str,
    pub mail: &'static str,
    pub rcpt: &'static str,
    pub data: &'static str,
    pub end: &'static str,
}

impl Script {
    /// Takes everything.
    pub const GOOD: Self =
        Self { greeting: "220 here", mail: "250 ok", rcpt: "250 ok", data: "354 go on", end: "250 taken" };
}

/// A server for one dialog. Its task ends with the lines that it was sent.
#[expect(clippy::disallowed_methods, reason = "a task of a test, which waits for it to end")]
pub async fn serve(script: Script) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(dialog(listener, script)))
}

async fn dialog(listener: TcpListener, script: Script) -> Vec<String> {
    let (stream, _) = listener.accept().await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut incoming = BufReader::new(read).lines();
    let mut heard = Vec::new();
    let mut is_message = false;
    if !say(&mut write, script.greeting).await {
        return heard;
    }
    while let Ok(Some(line)) = incoming.next_line().await {
        let answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "." if is_message => script.end,
            _ if is_message => {
                heard.push(line);
                continue;
            }
            "EHLO" => "250 here",
            "MAIL" => script.mail,
            "RCPT" => script.rcpt,
            "DATA" => {
                is_message = script.data.starts_with('3');
                script.data
            }
            _ => "221 bye",
        };
        is_message &= line != ".";
        heard.push(line);
        if !say(&mut write, answer).await {
            break;
        }
    }
    heard
}

/// Whether there is anything to say.
async fn say(write: &mut OwnedWriteHalf, answer: &str) -> bool {
    !answer.is_empty() && write.write_all(format!("{answer}\r\n").as_bytes()).await.is_ok()
}
