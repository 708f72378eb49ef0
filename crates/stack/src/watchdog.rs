//! Nothing outlives its starter: a small shell process that kills the servers when the starter is gone.
//!
//! Rejected: `PR_SET_PDEATHSIG`, which fires when the *thread* that started the child ends, and a stack shared by tests is
//! started by whichever test thread comes first; and killing only in `Drop`, which a SIGKILL skips.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::error::{Error, Result};
use crate::process::Identity;

/// Runs beside a stack for as long as its starter should not be outlived.
pub(crate) struct Watchdog {
    process: Child,
    /// Closed by the operating system when this process ends, however it ends.
    line: ChildStdin,
}

impl Watchdog {
    /// Starts the watchdog. With a folder given, that folder is deleted when the servers have been killed.
    pub fn start(temporary_folder: Option<&Path>) -> Result<Self> {
        let failed = |source| Error::Spawn { program: "the watchdog".to_owned(), source };
        let mut process = Command::new("/bin/sh")
            .args(["-c", include_str!("watchdog.sh"), "daybook-watchdog"])
            .args(temporary_folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let line = process
            .stdin
            .take()
            .ok_or_else(|| failed(std::io::Error::other("its standard input was not connected")))?;
        Ok(Self { process, line })
    }

    pub fn add(&mut self, server: &Identity) -> Result<()> {
        self.say(&format!("add {} {}\n", server.pid, server.start_ticks))
    }

    /// Ends the watchdog and leaves all servers running.
    pub fn release(mut self) -> Result<()> {
        self.say("release\n")?;
        self.finish()
    }

    /// Has everything killed that still runs, and the temporary folder deleted, and waits for it.
    pub fn bite(self) -> Result<()> {
        self.finish()
    }

    fn finish(self) -> Result<()> {
        let Self { mut process, line } = self;
        drop(line);
        process.wait().map(drop).map_err(lost)
    }

    fn say(&mut self, words: &str) -> Result<()> {
        self.line.write_all(words.as_bytes()).map_err(lost)
    }
}

fn lost(source: std::io::Error) -> Error {
    Error::Spawn { program: "the watchdog".to_owned(), source }
}
