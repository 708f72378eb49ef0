//! A private Postgres for the tests of this binary, stopped and removed when the last test lets go of it.
//! With `DAYBOOK_TEST_POSTGRES` set to a URL that server is used instead.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown, geteuid};
use tempfile::TempDir;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Started by the first test that asks for it.
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

pub struct Server {
    pub url: String,
    running: Option<(Child, TempDir)>,
}

impl Server {
    pub fn shared() -> Result<Arc<Server>> {
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(match std::env::var("DAYBOOK_TEST_POSTGRES") {
            Ok(url) => Server { url, running: None },
            Err(_) => start()?,
        });
        *shared = Arc::downgrade(&server);
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.running {
            // SIGINT is Postgres's fast shutdown. What fails here leaves a process that the wait would show.
            let asked = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT);
            assert!(asked.is_ok() && child.wait().is_ok(), "the test server could not be stopped");
        }
    }
}

fn start() -> Result<Server> {
    let folder = tempfile::Builder::new().prefix("daybook-store-").tempdir()?;
    let data = folder.path().join("data");
    if let Some(user) = unprivileged()? {
        chown(folder.path(), Some(user.uid), Some(user.gid))?;
    }
    let made = command("initdb")?
        .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
        .arg(&data)
        .stdout(Stdio::null())
        .status()?;
    ensure!(made.success(), "initdb failed");

    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let log = fs::File::create(folder.path().join("log"))?;
    let mut child = command("postgres")?
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(folder.path())
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
        .args(["-c", "max_connections=200"])
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let ready = data.join("postmaster.pid");
    let deadline = Instant::now() + START_TIMEOUT;
    while !fs::read_to_string(&ready).is_ok_and(|text| text.contains("ready")) {
        ensure!(child.try_wait()?.is_none() && Instant::now() < deadline, "the test server did not start");
        std::thread::yield_now();
    }
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    Ok(Server { url, running: Some((child, folder)) })
}

/// Postgres refuses to run as root.
fn unprivileged() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    Ok(Some(User::from_name("postgres")?.context("as root, the tests need a user `postgres`")?))
}

fn command(program: &str) -> Result<Command> {
    let mut command = Command::new(folder_of_binaries().map_or(program.into(), |folder| folder.join(program)));
    if let Some(user) = unprivileged()? {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir("/");
    Ok(command)
}

/// Debian keeps them out of the path, in a folder per major version.
fn folder_of_binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    versions.filter_map(|version| Some(version.ok()?.path().join("bin"))).max()
}
