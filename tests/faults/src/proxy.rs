//! A TCP proxy that stands on a link and makes it bad: delays, throttles, cuts, resets, and loses answers.
//!
//! It knows nothing of what is said. A cut is silence, not an end: bytes wait and go on afterwards, as with a
//! network that drops packets. A lost answer is the worst case for whoever asked: the request went through and was worked on,
//! and only then the connection is reset.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Read and passed on at once, per direction of a connection: all that a link keeps in memory.
const CHUNK_BYTES: usize = 16 * 1024;
/// More connections than this on one link are refused.
const CONNECTIONS_MAX: usize = 512;
/// How long a server on this machine may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Before each chunk.
    pub delay: Duration,
    pub bytes_per_second: Option<u64>,
    /// Nothing passes.
    pub is_cut: bool,
    /// Only every second connection is struck.
    pub only_odd: bool,
}

impl fmt::Display for Weather {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_cut, self.bytes_per_second) {
            (true, _) => formatter.write_str("cut")?,
            (false, Some(bytes)) => write!(formatter, "{bytes} bytes a second")?,
            (false, None) => write!(formatter, "delayed by {:?}", self.delay)?,
        }
        formatter.write_str(if self.only_odd { ", every second connection" } else { "" })
    }
}

impl Weather {
    pub const CALM: Self = Self { delay: Duration::ZERO, bytes_per_second: None, is_cut: false, only_odd: false };

    fn strikes(&self, connection: u64) -> bool {
        !self.only_odd || connection % 2 == 1
    }

    /// How long a chunk takes.
    fn pace(&self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let throttled = self.bytes_per_second.map_or(0, |rate| bytes.saturating_mul(1_000) / rate.max(1));
        self.delay + Duration::from_millis(throttled)
    }
}

/// What has passed a link, and what was done to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    pub connections: u64,
    /// Connections that the server's side did not accept.
    pub refused: u64,
    pub bytes_asked: u64,
    pub bytes_answered: u64,
    /// Chunks that came late, because of delay or throttle.
    pub chunks_late: u64,
    /// Chunks that waited for the end of a cut.
    pub chunks_held_by_cuts: u64,
    pub resets: u64,
    pub answers_dropped: u64,
}

impl Traffic {
    /// Sums up two links.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.refused += other.refused;
        self.bytes_asked += other.bytes_asked;
        self.bytes_answered += other.bytes_answered;
        self.chunks_late += other.chunks_late;
        self.chunks_held_by_cuts += other.chunks_held_by_cuts;
        self.resets += other.resets;
        self.answers_dropped += other.answers_dropped;
    }
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    refused: AtomicU64,
    bytes_asked: AtomicU64,
    bytes_answered: AtomicU64,
    chunks_late: AtomicU64,
    chunks_held_by_cuts: AtomicU64,
    resets: AtomicU64,
    answers_dropped: AtomicU64,
}

struct Shared {
    weather: watch::Sender<Weather>,
    /// Counts the resets that were asked for: a connection ends when it changes.
    resets: watch::Sender<u64>,
    answers_to_drop: AtomicU32,
    counters: Counters,
}

/// A port that is taken and leads nowhere yet.
pub struct Door(std::net::TcpListener);

impl Door {
    /// Takes a port; 0 for any.
    ///
    /// # Errors
    /// When it is not free.
    pub fn open(port: u16) -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = listener.with_context(|| format!("port {port}"))?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// # Errors
    /// When the system does not tell.
    pub fn port(&self) -> Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    /// Lets everybody through who comes: to the first of these that accepts, in turns.
    ///
    /// # Errors
    /// Outside a runtime.
    pub fn lead_to(self, runtime: &Handle, upstreams: Vec<SocketAddr>) -> Result<Link> {
        let port = self.port()?;
        let shared = Arc::new(Shared {
            weather: watch::Sender::new(Weather::CALM),
            resets: watch::Sender::new(0),
            answers_to_drop: AtomicU32::new(0),
            counters: Counters::default(),
        });
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(self.0)?
        };
        runtime.spawn(accept(listener, upstreams, Arc::clone(&shared)));
        Ok(Link { port, shared })
    }
}

/// A proxy on a link. It serves as long as its runtime lives.
pub struct Link {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Link {
    pub fn set(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// Resets every connection.
    pub fn reset(&self) {
        self.shared.resets.send_modify(|asked| *asked += 1);
    }

    /// Loses the next so many answers.
    pub fn drop_answers(&self, count: u32) {
        self.shared.answers_to_drop.store(count, Ordering::Relaxed);
    }

    /// Good weather, and no answer is to be lost any more.
    pub fn calm(&self) {
        self.drop_answers(0);
        self.set(Weather::CALM);
    }

    pub fn traffic(&self) -> Traffic {
        let Counters { connections, refused, bytes_asked, bytes_answered, .. } = &self.shared.counters;
        let Counters { chunks_late, chunks_held_by_cuts, resets, answers_dropped, .. } = &self.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            connections: get(connections),
            refused: get(refused),
            bytes_asked: get(bytes_asked),
            bytes_answered: get(bytes_answered),
            chunks_late: get(chunks_late),
            chunks_held_by_cuts: get(chunks_held_by_cuts),
            resets: get(resets),
            answers_dropped: get(answers_dropped),
        }
    }
}

async fn accept(listener: TcpListener, upstreams: Vec<SocketAddr>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) if connections.len() < CONNECTIONS_MAX => {
                    number += 1;
                    let line = Line { number, shared: Arc::clone(&shared), owes_answer: AtomicBool::new(false) };
                    connections.spawn(carry(client, in_turn(&upstreams, number), line));
                }
                // Too many, or the system is out of something: whoever came will come again.
                Ok(_) | Err(_) => count(&shared.counters.refused, 1),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The servers in the order in which a connection tries them.
fn in_turn(upstreams: &[SocketAddr], number: u64) -> Vec<SocketAddr> {
    let mut order = upstreams.to_vec();
    if let Some(length) = u64::try_from(order.len()).ok().filter(|length| *length > 0) {
        order.rotate_left(usize::try_from(number % length).unwrap_or(0));
    }
    order
}

/// One connection.
struct Line {
    number: u64,
    shared: Arc<Shared>,
    /// Something was asked since the last answer.
    owes_answer: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ask,
    Answer,
}

/// Carries one connection from its beginning to its end.
async fn carry(mut client: TcpStream, upstreams: Vec<SocketAddr>, line: Line) {
    let counters = &line.shared.counters;
    let Some(mut server) = connected(&upstreams).await else {
        count(&counters.refused, 1);
        abort(&client);
        return;
    };
    count(&counters.connections, 1);
    // Small packets go at once, as they came.
    let prepared = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            prepared?;
            tokio::try_join!(
                line.pump(from_client, to_server, Direction::Ask),
                line.pump(from_server, to_client, Direction::Answer),
            )
        };
        tokio::select! {
            ended = both => ended.map(drop),
            () = line.is_reset() => Err(io::ErrorKind::ConnectionReset.into()),
        }
    };
    if ended.is_err() {
        abort(&client);
        abort(&server);
    }
}

async fn connected(upstreams: &[SocketAddr]) -> Option<TcpStream> {
    for upstream in upstreams {
        if let Ok(Ok(stream)) = timeout(CONNECT_LIMIT, TcpStream::connect(upstream)).await {
            return Some(stream);
        }
    }
    None
}

/// Has the connection reset when it is dropped, instead of closed in good order.
fn abort(stream: &TcpStream) {
    // A connection that is gone already needs no reset.
    let _gone = stream.set_zero_linger();
}

impl Line {
    async fn pump(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        direction: Direction,
    ) -> io::Result<()> {
        let counters = &self.shared.counters;
        let passed = match direction {
            Direction::Ask => &counters.bytes_asked,
            Direction::Answer => &counters.bytes_answered,
        };
        let mut weather = self.shared.weather.subscribe();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut chunk).await?;
            if length == 0 {
                return to.shutdown().await;
            }
            self.weather(&mut weather, length).await;
            if direction == Direction::Answer && self.loses_answer() {
                count(&counters.answers_dropped, 1);
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            // Before it is passed on: whoever gets it may look, and the answer may be here, before this task goes on.
            self.owes_answer.store(direction == Direction::Ask, Ordering::Relaxed);
            count(passed, length as u64);
            to.write_all(&chunk[..length]).await?;
        }
    }

    /// Waits as long as the weather makes a chunk wait.
    async fn weather(&self, weather: &mut watch::Receiver<Weather>, bytes: usize) {
        let counters = &self.shared.counters;
        let now = *weather.borrow_and_update();
        if !now.strikes(self.number) {
            return;
        }
        if now.is_cut {
            count(&counters.chunks_held_by_cuts, 1);
            let passes = |now: &Weather| !now.is_cut;
            // The sender lives in what we share: it is not dropped before us.
            let _sender_gone = weather.wait_for(passes).await;
        }
        let pace = now.pace(bytes);
        if !pace.is_zero() {
            count(&counters.chunks_late, 1);
            sleep(pace).await;
        }
    }

    fn loses_answer(&self) -> bool {
        let left = &self.shared.answers_to_drop;
        self.owes_answer.load(Ordering::Relaxed)
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    async fn is_reset(&self) {
        let mut resets = self.shared.resets.subscribe();
        // As above.
        let _sender_gone = resets.changed().await;
        count(&self.shared.counters.resets, 1);
    }
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
