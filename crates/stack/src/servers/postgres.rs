//! Postgres 15.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};

use super::{Kind, Site};
use crate::error::{Context, Error, Result};
use crate::health::Readiness;
use crate::layout::{remove, write_whole};
use crate::ports::Socket;
use crate::process::{self, Account, Identity, Launch, is_root, run_as, run_to_end};
use crate::{Layout, Progress, Purpose, Server};

pub(super) struct Postgres;

/// The role of the platform, and its database. It may make roles and databases, and is not a superuser.
pub(crate) const ROLE: &str = "daybook";
/// Where Debian keeps the programs, outside PATH.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const INSTALL: &str = "apt-get install --yes --no-install-recommends postgresql";
/// Postgres refuses to run as root; Debian's package brings this account.
const ACCOUNT: &str = "postgres";
/// Used when the stack's own folder cannot be reached by that account.
const SHARED_FOLDER: &str = "/var/tmp";

const SETTINGS: [&str; 9] = [
    "listen_addresses=127.0.0.1",
    // A socket's path must be short, and loopback does as well.
    "unix_socket_directories=",
    "max_connections=200",
    "fsync=on",
    "synchronous_commit=on",
    "password_encryption=scram-sha-256",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_checkpoints=off",
];
// New WAL segments cause stalls: min_wal_size is high so that old ones are used again.
const DEVELOPMENT: [&str; 3] = ["shared_buffers=256MB", "min_wal_size=1GB", "max_wal_size=4GB"];
const MEASUREMENT: [&str; 3] = ["shared_buffers=2GB", "min_wal_size=6GB", "max_wal_size=8GB"];

impl Kind for Postgres {
    fn prepare(&self, site: &Site<'_>, _progress: &dyn Progress) -> Result<()> {
        let data = data_folder(site.layout);
        if data.is_dir() {
            return clear_stale_lock(&data);
        }
        initialize(site, &data)
    }

    fn launch(&self, site: &Site<'_>) -> Result<Launch> {
        let sizes = match site.state.purpose {
            Purpose::Development => DEVELOPMENT,
            Purpose::Measurement => MEASUREMENT,
        };
        let settings = SETTINGS.iter().chain(&sizes);
        Ok(Launch::new(program("postgres"), "")
            .arguments(["-D".to_owned(), data_folder(site.layout).display().to_string()])
            .arguments(["-p".to_owned(), site.state.ports.of(Socket::Postgres).to_string()])
            .arguments(settings.flat_map(|setting| ["-c", setting]))
            .account(account()?))
    }

    fn install(&self) -> &'static str {
        INSTALL
    }

    fn ready(&self, site: &Site<'_>) -> Readiness {
        let mut question = Command::new(program("pg_isready"));
        question
            .args(["--host", "127.0.0.1", "--timeout", "2", "--port"])
            .arg(site.state.ports.of(Socket::Postgres).to_string());
        run_to_end(&mut question, INSTALL).map_err(|error| error.to_string())
    }

    /// A fast shutdown: the gentler SIGTERM waits until every client has gone.
    fn stop_signal(&self) -> Signal {
        Signal::SIGINT
    }
}

fn program(name: &str) -> PathBuf {
    Path::new(PROGRAMS).join(name)
}

/// The account to run under: none when we are not root, for then our own does.
fn account() -> Result<Option<Account>> {
    if is_root() { Account::named(ACCOUNT).map(Some) } else { Ok(None) }
}

/// Where the data lies: in the stack's folder if Postgres's account can get there, else in one named after that folder.
pub(crate) fn data_folder(layout: &Layout) -> PathBuf {
    let inside = layout.data(Server::Postgres);
    if !is_root() || layout.root.ancestors().all(is_passable) {
        return inside;
    }
    let digest = Sha256::digest(layout.root.as_os_str().as_encoded_bytes());
    let name = hex::encode(&digest[..6]);
    Path::new(SHARED_FOLDER).join(format!("daybook-postgres-{name}"))
}

/// Whether everybody may pass through a folder. The stack's own, when not yet made, will be passable.
fn is_passable(folder: &Path) -> bool {
    fs::metadata(folder).map_or(true, |metadata| metadata.mode() & 0o001 != 0)
}

/// Makes the cluster, the role and the database beside their place, and puts them there when they are whole.
fn initialize(site: &Site<'_>, data: &Path) -> Result<()> {
    let account = account()?;
    let password = &site.secrets.postgres_password;
    let beside = data.with_extension("new");
    remove(&beside)?;
    fs::create_dir(&beside).context("make", &beside)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o700)).context("set the mode of", &beside)?;
    give(&beside, account)?;

    let password_file = data.with_file_name("postgres-password");
    write_whole(&password_file, password, 0o600)?;
    give(&password_file, account)?;
    let mut initdb = Command::new(program("initdb"));
    initdb
        .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
        .arg(format!("--pwfile={}", password_file.display()))
        .arg(format!("--pgdata={}", beside.display()))
        .current_dir("/");
    run_as(&mut initdb, account);
    let initialized = run_to_end(&mut initdb, INSTALL);
    remove(&password_file)?;
    initialized?;

    let role = format!(
        "CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE PASSWORD '{password}';\nCREATE DATABASE {ROLE} OWNER {ROLE};\n"
    );
    run_alone(&beside, account, &role)?;
    fs::rename(&beside, data).context("put in place", data)
}

/// Runs statements, one a line, without a server. They go through a pipe: a command line would show the password.
fn run_alone(data: &Path, account: Option<Account>, statements: &str) -> Result<()> {
    let mut single = Command::new(program("postgres"));
    single
        .args(["--single", "-c", "exit_on_error=on", "-D"])
        .arg(data)
        .arg("postgres")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    run_as(&mut single, account);
    let failed = |source| Error::Spawn { program: "postgres --single".to_owned(), source };
    let mut child = single.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(statements.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        program: "postgres --single".to_owned(),
        status: output.status.to_string(),
        // What it says may quote the statement, and with it the password.
        output: "its output is withheld because it may hold a password".to_owned(),
    })
}

fn give(path: &Path, account: Option<Account>) -> Result<()> {
    match account {
        Some(Account { user, group }) => chown(path, Some(user), Some(group)).context("change the owner of", path),
        None => Ok(()),
    }
}

/// After a crash of the machine the process number in `postmaster.pid` may belong to a stranger, and Postgres would refuse
/// to start. A postmaster works in its data folder, which tells it apart.
fn clear_stale_lock(data: &Path) -> Result<()> {
    let lock = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&lock) else {
        return Ok(());
    };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    match pid.filter(|pid| Identity::of(*pid).is_some_and(|identity| identity.is_alive())) {
        Some(pid) if process::working_folder(pid).as_deref() == Some(data) => {
            Err(Error::Orphan { pid, folder: data.to_owned() })
        }
        _ => remove(&lock),
    }
}
