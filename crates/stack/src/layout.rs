//! Where everything lies: one folder for a stack, one cache for downloads.

use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};
use crate::{Server, process};

/// A command that holds the folder may be downloading, so others wait this long for it.
const LOCK_WAIT: Duration = Duration::from_mins(10);
const LOCK_POLL: Duration = Duration::from_millis(100);
/// A log longer than this is put aside when its server starts.
const LOG_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// How much of a log an error quotes.
const LOG_TAIL_BYTES: u64 = 2_000;

/// The folders of one stack.
///
/// `root` holds `data/` (one folder per server), `logs/`, `run/` (generated configuration), `stack.json` (what runs) and
/// `secrets.toml`. `cache` holds downloads, is shared by all stacks of the account and lies outside any checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub root: PathBuf,
    pub cache: PathBuf,
    temporary: bool,
}

impl Layout {
    /// The layout with its data under `root`, which is made when needed, and the account's usual cache.
    ///
    /// # Errors
    /// When the current folder is gone, so that a relative `root` means nothing.
    pub fn new(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).context("resolve", root)?;
        Ok(Self { root, cache: usual_cache(), temporary: false })
    }

    /// A layout in a new temporary folder, deleted together with the stack that is started in it.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn temporary() -> Result<Self> {
        let root = env::temp_dir().join(format!("daybook-{}", random_name()?));
        fs::create_dir(&root).context("make", &root)?;
        Ok(Self { root, cache: usual_cache(), temporary: true })
    }

    pub fn is_temporary(&self) -> bool {
        self.temporary
    }

    pub fn data(&self, server: Server) -> PathBuf {
        self.root.join("data").join(server.name())
    }

    pub fn log(&self, server: Server) -> PathBuf {
        self.root.join("logs").join(format!("{server}.log"))
    }

    /// The Maildir that the mail sink writes.
    pub fn mail_dir(&self) -> PathBuf {
        self.data(Server::Mail)
    }

    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.root.join("run").join(name)
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.root.join("stack.json")
    }

    pub(crate) fn secrets_file(&self) -> PathBuf {
        self.root.join("secrets.toml")
    }

    /// Makes the folders. The root stays passable for the account that Postgres runs under; secrets are closed by their own mode.
    pub(crate) fn create(&self) -> Result<()> {
        for folder in ["data", "logs", "run"] {
            let path = self.root.join(folder);
            fs::create_dir_all(&path).context("make", &path)?;
        }
        for folder in [&self.root, &self.root.join("data")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).context("set the mode of", folder)?;
        }
        Ok(())
    }

    /// Holds the folder until the file is dropped, so that two commands never start or stop servers at once.
    pub(crate) fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.root).context("make", &self.root)?;
        lock_file(&self.root, &self.root.join("lock"))
    }

    /// Opens a server's log for appending; one that has grown too long is put aside first.
    pub(crate) fn open_log(&self, server: Server) -> Result<File> {
        let path = self.log(server);
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_LIMIT_BYTES) {
            fs::rename(&path, path.with_extension("old.log")).context("put aside", &path)?;
        }
        OpenOptions::new().create(true).append(true).open(&path).context("open", &path)
    }

    /// The last lines of a server's log, for an error message.
    pub(crate) fn log_tail(&self, server: Server) -> String {
        tail(&self.log(server)).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Deletes all data, logs and state of the stack, and its folder if it was temporary.
    pub(crate) fn delete(&self) -> Result<()> {
        let postgres = crate::servers::postgres::data_folder(self);
        if !postgres.starts_with(&self.root) {
            remove(&postgres)?;
        }
        if self.temporary {
            return remove(&self.root);
        }
        // The lock is held by whoever deletes, and keys go with the data that they sealed.
        for name in ["data", "logs", "run", "stack.json", "secrets.toml", "daybook.toml"] {
            remove(&self.root.join(name))?;
        }
        Ok(())
    }
}

/// Takes the lock on `path`, waiting for another holder within bounds.
pub(crate) fn lock_file(root: &Path, path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path).context("open", path)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WAIT => {
                thread::sleep(LOCK_POLL);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Busy { root: root.to_owned(), waited_s: LOCK_WAIT.as_secs() });
            }
            Err(TryLockError::Error(source)) => return Err(source).context("lock", path),
        }
    }
}

/// Writes a file that readers see either as it was or whole, with the given mode.
pub(crate) fn write_whole(path: &Path, content: &str, mode: u32) -> Result<()> {
    let beside = path.with_extension("new");
    // Anew, because a file that is there already would keep its mode.
    remove(&beside)?;
    let written = OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside).and_then(|mut file| {
        file.write_all(content.as_bytes())?;
        file.sync_all()
    });
    written.context("write", &beside)?;
    fs::rename(&beside, path).context("write", path)
}

/// Removes a file or a folder with all in it; one that is not there is as good as removed.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(entry) if entry.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", path),
        _ => Ok(()),
    }
}

/// Sixteen characters that no other stack has.
pub(crate) fn random_name() -> Result<String> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(hex::encode(bytes))
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `$XDG_CACHE_HOME/daybook`, else `~/.cache/daybook`, else a folder in the temporary folder named after the account.
#[expect(clippy::disallowed_methods, reason = "the place of caches is told by the environment")]
fn usual_cache() -> PathBuf {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache"))).map_or_else(
        || env::temp_dir().join(format!("daybook-cache-{}", process::account_id())),
        |cache| cache.join("daybook"),
    )
}
