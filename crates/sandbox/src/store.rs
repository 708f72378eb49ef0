//! The log file: one JSON line per commit, appended in order, durable before anything is answered.
//!
//! Commits are buffered in memory and written by one thread, which takes all that is waiting, writes it at once and
//! syncs once: the more callers wait, the fewer syncs each one costs. The file is read whole at the start; a line that
//! a crash tore off at the end is cut away, since nobody was told of it.

use crate::books::Fact;
use crate::error::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use tokio::sync::watch;

const FILE_NAME: &str = "sandbox.log";
const FORMAT: u32 = 1;
/// A commit larger than this was not written by this program.
const MAX_LINE_BYTES: u64 = 1024 * 1024;
/// New work is refused beyond this, so that a forgotten sandbox doesn't fill the disk.
const MAX_LOG_BYTES: u64 = 16 * 1024 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the log file cannot be read or written")]
    Io(#[from] io::Error),
    #[error("the log file is in use by another process")]
    InUse,
    #[error("the log file is of another format")]
    Format,
    #[error("the log file is damaged at byte {offset}; restore it or start with an empty folder")]
    Damaged { offset: u64 },
}

/// The first line: which format this is, and the seed of all ids in it.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    id_seed: u64,
}

/// All that happens together, or not at all.
#[derive(Debug, Serialize, Deserialize)]
pub struct Commit {
    pub at_ms: u64,
    /// How many ids were issued up to here.
    pub ids: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// What was answered, kept under the idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<KeptAnswer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<QueuedEvent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryNote>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct KeptAnswer {
    pub key: String,
    /// SHA-256 of the request, in hexadecimal.
    pub fingerprint: String,
    pub request_id: String,
    pub status: u16,
    pub body: Box<RawValue>,
}

/// A webhook to deliver, numbered in the order of the log.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueuedEvent {
    pub number: u64,
    /// Webhooks of one payment are delivered one after the other.
    pub intent: String,
    /// Whether it lets a later one of its payment pass first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    pub payload: Box<RawValue>,
}

/// What became of one attempt to deliver.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeliveryNote {
    pub number: u64,
    pub attempts: u32,
    /// When to try again; `None` when it is delivered or given up.
    pub next_at_ms: Option<u64>,
}

/// Where a commit stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub offset: u64,
    pub length: u32,
}

/// What the writer has done so far.
#[derive(Clone, Copy, Debug)]
struct Progress {
    durable_to: u64,
    failed: bool,
    syncs: u64,
}

struct Tail {
    /// Appended, not yet taken by the writer.
    waiting: Vec<u8>,
    /// Where the next commit will stand.
    end: u64,
    closed: bool,
}

struct Shared {
    tail: Mutex<Tail>,
    wake: Condvar,
    progress: watch::Sender<Progress>,
}

impl Shared {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().expect("no holder of this lock panics")
    }
}

/// An open log. Dropping it writes what waits and ends the writer.
pub struct Store {
    shared: Arc<Shared>,
    reader: File,
    writer: Option<JoinHandle<()>>,
}

/// What opening a log gives besides the log.
pub struct Opened {
    pub store: Store,
    pub id_seed: u64,
}

impl Store {
    /// Opens or creates the log in this folder and hands every commit to `replay`, in order.
    ///
    /// `fresh_seed` is used if the log is new.
    ///
    /// # Errors
    /// The folder can't be used, another process has the log open, or a line other than the last is damaged.
    pub fn open(folder: &Path, fresh_seed: u64, mut replay: impl FnMut(Commit, Span)) -> Result<Opened, Error> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(FILE_NAME);
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => Error::InUse,
            std::fs::TryLockError::Error(error) => Error::Io(error),
        })?;
        let mut seed = None;
        let end = read_lines(&file, |line, span| {
            if seed.is_none() {
                let header: Header = serde_json::from_slice(line).map_err(|_| Error::Format)?;
                seed = Some(header.id_seed);
                return if header.format == FORMAT { Ok(true) } else { Err(Error::Format) };
            }
            Ok(serde_json::from_slice(line).map(|commit| replay(commit, span)).is_ok())
        })?;
        file.set_len(end)?;
        let (seed, end) = match seed {
            Some(seed) => (seed, end),
            None => (fresh_seed, write_header(&mut file, folder, fresh_seed)?),
        };
        file.sync_data()?;
        Ok(Opened { store: Store::start(file, end)?, id_seed: seed })
    }

    fn start(file: File, end: u64) -> Result<Store, Error> {
        let reader = file.try_clone()?;
        let progress = Progress { durable_to: end, failed: false, syncs: 0 };
        let shared = Arc::new(Shared {
            tail: Mutex::new(Tail { waiting: Vec::new(), end, closed: false }),
            wake: Condvar::new(),
            progress: watch::Sender::new(progress),
        });
        let of_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("sandbox-log".to_owned())
            .spawn(move || write_until_closed(&of_writer, file))?;
        Ok(Store { shared, reader, writer: Some(writer) })
    }

    /// Puts a commit at the end. It is durable once a `settled` that begins afterwards has ended.
    pub fn append(&self, commit: &Commit) -> Span {
        let mut line = serde_json::to_vec(commit).expect("a commit has text keys and finite numbers only");
        line.push(b'\n');
        let length = u32::try_from(line.len()).expect("a commit comes from a bounded request");
        let mut tail = self.shared.tail();
        let span = Span { offset: tail.end, length };
        tail.end += u64::from(length);
        tail.waiting.append(&mut line);
        drop(tail);
        self.shared.wake.notify_one();
        span
    }

    /// Waits until everything appended up to now is on disk.
    ///
    /// # Errors
    /// The disk refused it; from then on nothing more is written.
    pub async fn settled(&self) -> Result<(), ApiError> {
        let end = self.shared.tail().end;
        let mut progress = self.shared.progress.subscribe();
        let reached = progress.wait_for(|progress| progress.failed || progress.durable_to >= end).await;
        match reached {
            Ok(progress) if progress.durable_to >= end => Ok(()),
            _ => Err(ApiError::store_failed()),
        }
    }

    /// Waits until the disk refuses something.
    pub async fn failed(&self) {
        let mut progress = self.shared.progress.subscribe();
        // The sender lives as long as this store does, so the wait only ends by a failure.
        let _failed = progress.wait_for(|progress| progress.failed).await;
    }

    /// Whether new work can be taken: the disk is fine and the log isn't full.
    pub fn is_writable(&self) -> bool {
        !self.shared.progress.borrow().failed && self.shared.tail().end < MAX_LOG_BYTES
    }

    /// How often the file was synced since the start.
    pub fn syncs(&self) -> u64 {
        self.shared.progress.borrow().syncs
    }

    /// Reads back a commit that is durable. It is nearly always still in the page cache.
    ///
    /// # Errors
    /// The file can't be read, or was changed by somebody else.
    pub fn read(&self, span: Span) -> Result<Commit, Error> {
        let mut line = vec![0; span.length as usize];
        self.reader.read_exact_at(&mut line, span.offset)?;
        serde_json::from_slice(&line).map_err(|_| Error::Damaged { offset: span.offset })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.tail().closed = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
    }
}

fn write_header(file: &mut File, folder: &Path, id_seed: u64) -> Result<u64, Error> {
    let mut line = serde_json::to_vec(&Header { format: FORMAT, id_seed }).map_err(io::Error::from)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_all()?;
    // The name of a new file is durable only with its folder.
    File::open(folder)?.sync_all()?;
    Ok(line.len() as u64)
}

/// Hands over each whole line; `accept` says whether it can be read. Returns where the good lines end.
fn read_lines(file: &File, mut accept: impl FnMut(&[u8], Span) -> Result<bool, Error>) -> Result<u64, Error> {
    let mut reader = BufReader::new(file);
    let (mut line, mut offset) = (Vec::new(), 0);
    loop {
        line.clear();
        let length = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        let whole = line.last() == Some(&b'\n');
        let span = Span { offset, length: u32::try_from(length).map_err(|_| Error::Damaged { offset })? };
        if whole && accept(&line, span)? {
            offset += u64::from(span.length);
        } else if reader.fill_buf()?.is_empty() {
            if length > 0 {
                tracing::warn!(offset, "cut a torn line off the end of the log");
            }
            return Ok(offset);
        } else {
            return Err(Error::Damaged { offset });
        }
    }
}

fn write_until_closed(shared: &Shared, mut file: File) {
    let mut batch = Vec::new();
    loop {
        let mut tail = shared.tail();
        while tail.waiting.is_empty() && !tail.closed {
            tail = shared.wake.wait(tail).expect("no holder of this lock panics");
        }
        if tail.waiting.is_empty() {
            return;
        }
        std::mem::swap(&mut batch, &mut tail.waiting);
        let end = tail.end;
        drop(tail);
        if let Err(error) = file.write_all(&batch).and_then(|()| file.sync_data()) {
            tracing::error!(%error, "the log cannot be written");
            shared.progress.send_modify(|progress| progress.failed = true);
            return;
        }
        batch.clear();
        shared.progress.send_modify(|progress| {
            progress.durable_to = end;
            progress.syncs += 1;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(at_ms: u64) -> Commit {
        Commit { at_ms, ids: 0, facts: Vec::new(), answer: None, events: Vec::new(), delivery: None }
    }

    fn times(folder: &Path) -> Result<Vec<u64>, Error> {
        let mut times = Vec::new();
        Store::open(folder, 1, |commit, _| times.push(commit.at_ms))?;
        Ok(times)
    }

    fn log_with(commits: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let Opened { store, .. } = Store::open(folder.path(), 7, |_, _| {}).unwrap();
        for at_ms in 1..=commits {
            store.append(&commit(at_ms));
        }
        folder
    }

    #[tokio::test]
    async fn what_is_settled_can_be_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let Opened { store, .. } = Store::open(folder.path(), 7, |_, _| {}).unwrap();
        store.append(&commit(1));
        let span = store.append(&commit(2));
        store.settled().await.unwrap();
        assert_eq!(store.read(span).unwrap().at_ms, 2);
        assert!(store.is_writable());
    }

    #[test]
    fn commits_come_back_in_order_and_the_seed_stays() {
        let folder = log_with(3);
        assert_eq!(times(folder.path()).unwrap(), [1, 2, 3]);
        assert_eq!(Store::open(folder.path(), 99, |_, _| {}).unwrap().id_seed, 7);
    }

    #[test]
    fn a_torn_last_line_is_cut_off_wherever_it_tore() {
        let whole = std::fs::read(log_with(3).path().join(FILE_NAME)).unwrap();
        let last_line = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
        for end in last_line..whole.len() {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(FILE_NAME), &whole[..end]).unwrap();
            assert_eq!(times(folder.path()).unwrap(), [1, 2], "torn at {end}");
            assert_eq!(std::fs::metadata(folder.path().join(FILE_NAME)).unwrap().len(), last_line as u64);
        }
    }

    #[test]
    fn a_torn_header_is_a_new_log() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), b"{\"form").unwrap();
        assert_eq!(Store::open(folder.path(), 5, |_, _| {}).unwrap().id_seed, 5);
    }

    #[test]
    fn damage_in_the_middle_is_refused() {
        let folder = log_with(3);
        let path = folder.path().join(FILE_NAME);
        let text = std::fs::read_to_string(&path).unwrap().replace("\"at_ms\":2", "\"at_ms\":x");
        std::fs::write(&path, text).unwrap();
        assert!(matches!(times(folder.path()), Err(Error::Damaged { .. })));
    }

    #[test]
    fn a_log_has_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let _open = Store::open(folder.path(), 7, |_, _| {}).unwrap();
        assert!(matches!(times(folder.path()), Err(Error::InUse)));
    }
}
