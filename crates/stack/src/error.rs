//! What can go wrong with the local stack, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::Server;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{program} is not installed; install it with: {install}")]
    Missing { program: String, install: &'static str },
    #[error("cannot start {program}: {source}")]
    Spawn { program: String, source: io::Error },
    #[error("{program} failed ({status}):\n{output}")]
    Failed { program: String, status: String, output: String },
    #[error("{} does not have the expected SHA-256 (expected {expected}, found {found}); nothing of it was kept", path.display())]
    Checksum { path: PathBuf, expected: String, found: String },
    #[error("{server} has ended; the end of {}:\n{tail}", log.display())]
    Ended { server: Server, log: PathBuf, tail: String },
    #[error("{server} was not ready after {waited_s} s ({reason}); the end of {}:\n{tail}", log.display())]
    NotReady { server: Server, waited_s: u64, reason: String, log: PathBuf, tail: String },
    #[error("{server} (process {pid}) did not end, even when killed")]
    Unkillable { server: Server, pid: i32 },
    #[error("{server} does not run; start it with: daybook dev up")]
    NotRunning { server: Server },
    #[error("no stack runs in {}; start one with: daybook dev up", root.display())]
    NoStack { root: PathBuf },
    #[error("nothing says how to start {server}: launch it once with its command line")]
    NoLaunch { server: Server },
    #[error("process {pid} already runs on {}, but no stack started it; stop it with: kill -INT {pid}", folder.display())]
    Orphan { pid: i32, folder: PathBuf },
    #[error("another command has been working on {} for {waited_s} s; wait for it or stop it", root.display())]
    Busy { root: PathBuf, waited_s: u64 },
    #[error("{} cannot be understood ({reason}); move it away and run the command again", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("no free port between {first} and {last}")]
    NoPort { first: u16, last: u16 },
    #[error(
        "there is no account named {account}, which Postgres needs because it refuses to run as root; install it with: apt-get install --yes postgresql"
    )]
    NoAccount { account: &'static str },
    #[error("{0} is not one of the servers: kafka, registry, postgres, redis, mail, provider, platform")]
    UnknownServer(String),
    #[error("the operating system gave no random bytes: {0}")]
    Random(getrandom::Error),
    #[error("cannot handle signals: {0}")]
    Signals(nix::Error),
    #[error("the programs of the platform could not be prepared: {0}")]
    Programs(Box<dyn std::error::Error + Send + Sync>),
    #[error("reset deletes all data in {}; repeat it with --yes if that is meant", root.display())]
    Unconfirmed { root: PathBuf },
}

/// Puts what was attempted, and on which path, to an I/O error.
pub(crate) trait Context<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::File { what, path: path.to_owned(), source })
    }
}
