//! What a proxy does to a link, shown with a server that answers every line by the same line.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use faults::proxy::{Door, Link, Weather};
use tokio::runtime::Runtime;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that echoes lines, and counts them.
struct Echo {
    address: SocketAddr,
    lines: Arc<AtomicUsize>,
}

impl Echo {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let lines = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lines);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || echo(stream, &counted));
            }
        });
        Ok(Self { address, lines })
    }
}

fn echo(stream: TcpStream, counted: &AtomicUsize) -> Result<()> {
    let mut answers = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        counted.fetch_add(1, Ordering::Relaxed);
        answers.write_all(format!("{line}\n").as_bytes())?;
    }
    Ok(())
}

/// An echo behind a proxy.
fn setting() -> Result<(Runtime, Echo, Link)> {
    let (runtime, echo) = (Runtime::new()?, Echo::start()?);
    let link = Door::open(0)?.lead_to(runtime.handle(), vec![echo.address])?;
    Ok((runtime, echo, link))
}

fn connect(link: &Link) -> Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream, line: &str) -> Result<String> {
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    let read = BufReader::new(stream).read_line(&mut answer)?;
    (read > 0).then_some(answer.trim().to_owned()).context("the connection ended")
}

#[test]
fn in_good_weather_everything_passes_and_is_counted() -> Result<()> {
    let (_runtime, _echo, link) = setting()?;
    let mut stream = connect(&link)?;
    assert_eq!(ask(&mut stream, "hello")?, "hello");
    let traffic = link.traffic();
    assert_eq!((traffic.connections, traffic.bytes_asked, traffic.bytes_answered), (1, 6, 6));
    Ok(())
}

#[test]
fn an_end_passes_through_so_that_streams_can_be_read_to_their_end() -> Result<()> {
    let (_runtime, _echo, link) = setting()?;
    let mut stream = connect(&link)?;
    stream.write_all(b"a\nb\n")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut all = String::new();
    stream.read_to_string(&mut all)?;
    assert_eq!(all, "a\nb\n");
    Ok(())
}

#[test]
fn a_lost_answer_is_one_to_work_that_was_done() -> Result<()> {
    let (_runtime, echo, link) = setting()?;
    let mut stream = connect(&link)?;
    link.drop_answers(1);
    assert!(ask(&mut stream, "pay").is_err());
    assert_eq!((echo.lines.load(Ordering::Relaxed), link.traffic().answers_dropped), (1, 1));
    assert_eq!(ask(&mut connect(&link)?, "pay")?, "pay", "only one was to be lost");
    Ok(())
}

#[test]
fn a_reset_ends_the_connections_there_are_and_not_those_to_come() -> Result<()> {
    let (_runtime, _echo, link) = setting()?;
    let mut stream = connect(&link)?;
    ask(&mut stream, "before")?;
    link.reset();
    assert!(stream.read(&mut [0]).is_err(), "reset, not closed in good order");
    assert_eq!(ask(&mut connect(&link)?, "after")?, "after");
    assert_eq!(link.traffic().resets, 1);
    Ok(())
}

#[test]
fn what_is_sent_into_a_cut_link_arrives_when_it_is_whole_again() -> Result<()> {
    let (_runtime, echo, link) = setting()?;
    let mut stream = connect(&link)?;
    ask(&mut stream, "before")?;
    link.set(Weather { is_cut: true, ..Weather::CALM });
    stream.write_all(b"into the dark\n")?;
    e2e::until("the cut is met", PATIENCE, || Ok((link.traffic().chunks_held_by_cuts > 0).then_some(())))?;
    assert_eq!(echo.lines.load(Ordering::Relaxed), 1, "nothing passes");
    link.calm();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    assert_eq!(answer, "into the dark\n");
    Ok(())
}

#[test]
fn delay_and_throttle_make_it_late() -> Result<()> {
    let (_runtime, _echo, link) = setting()?;
    let mut stream = connect(&link)?;
    for weather in [
        Weather { delay: Duration::from_millis(60), ..Weather::CALM },
        Weather { bytes_per_second: Some(100), ..Weather::CALM },
    ] {
        link.set(weather);
        let began = Instant::now();
        ask(&mut stream, "hello")?;
        assert!(began.elapsed() >= Duration::from_millis(100), "{weather:?}: once each way");
    }
    Ok(())
}

#[test]
fn only_every_second_connection_may_be_struck() -> Result<()> {
    let (_runtime, _echo, link) = setting()?;
    let (mut first, mut second) = (connect(&link)?, None);
    ask(&mut first, "first")?;
    ask(second.insert(connect(&link)?), "second")?;
    link.set(Weather { is_cut: true, only_odd: true, ..Weather::CALM });
    assert_eq!(ask(second.as_mut().context("it is connected")?, "passes")?, "passes");
    first.write_all(b"waits\n")?;
    e2e::until("the cut is met", PATIENCE, || Ok((link.traffic().chunks_held_by_cuts > 0).then_some(())))?;
    link.calm();
    Ok(())
}
