use std::str::FromStr;
use std::time::Duration;

use daybook_vault::Secret;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::Error;

/// How long opening a connection may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server works on one statement before it gives up, in ms.
pub const STATEMENT_TIMEOUT_MS: u64 = 20_000;
/// How long one statement waits for a lock, in ms. A claim waits this long for the commit of an old owner.
pub const LOCK_TIMEOUT_MS: u64 = 5_000;
/// How long a transaction may stay idle before the server ends it, in ms.
pub const IDLE_IN_TRANSACTION_MS: u64 = 10_000;
/// How long sent bytes may stay unacknowledged before the server drops a TCP connection, in ms.
pub const TCP_USER_TIMEOUT_MS: u64 = 15_000;
/// How long we wait for an answer: longer than the server works, so that it is the server who gives up first.
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(STATEMENT_TIMEOUT_MS + 5_000);
/// How long a read for a person who waits may take, in ms.
pub const READ_TIMEOUT_MS: u64 = 3_000;

/// Where the database is, and how much of it is taken.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`, of a user who may create schemas.
    pub url: Secret<String>,
    /// Of a user who may only read the public views; without it `url` is used, in the role `daybook_read` where that exists.
    #[serde(default)]
    pub read_url: Option<Secret<String>>,
    /// Put before the name of every schema, so that several installations can share a database.
    #[serde(default)]
    pub schema_prefix: String,
    /// Connections of one process besides one per part: claims, operators' reads, keys.
    #[serde(default = "default_connections")]
    pub connections: u32,
    /// Connections of one process that parts with much to do may open beside their own, for batches at the same time.
    #[serde(default = "default_spare_connections")]
    pub spare_connections: u32,
    /// Connections of one process for read routes.
    #[serde(default = "default_read_connections")]
    pub read_connections: u32,
}

fn default_connections() -> u32 {
    4
}

fn default_spare_connections() -> u32 {
    20
}

fn default_read_connections() -> u32 {
    8
}

impl Settings {
    /// Settings for `url` with everything else at its default.
    pub fn of(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            read_url: None,
            schema_prefix: String::new(),
            connections: default_connections(),
            spare_connections: default_spare_connections(),
            read_connections: default_read_connections(),
        }
    }

    /// For everything that is not the hot path.
    pub(crate) fn shared_options(&self) -> Result<PgConnectOptions, Error> {
        Ok(parsed(&self.url)?.options(bounds()))
    }

    /// For the connection that loads and commits. Tables may be empty when its plans are made, and the plans are
    /// kept: so no sequential scans, which would stay when the tables have grown.
    pub(crate) fn writer_options(&self) -> Result<PgConnectOptions, Error> {
        Ok(self.shared_options()?.options([
            ("synchronous_commit", "on"),
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
        ]))
    }

    pub(crate) fn read_options(&self) -> Result<PgConnectOptions, Error> {
        let options = parsed(self.read_url.as_ref().unwrap_or(&self.url))?;
        Ok(options.options([
            ("statement_timeout", READ_TIMEOUT_MS.to_string()),
            ("default_transaction_read_only", "on".to_owned()),
            ("timezone", "UTC".to_owned()),
            ("jit", "off".to_owned()),
        ]))
    }
}

fn parsed(url: &Secret<String>) -> Result<PgConnectOptions, Error> {
    // The parser's own error may repeat the URL, password included.
    let options = PgConnectOptions::from_str(url.expose()).map_err(|_| Error::Url)?;
    Ok(options.disable_statement_logging().application_name("daybook"))
}

fn bounds() -> [(&'static str, String); 9] {
    [
        ("statement_timeout", STATEMENT_TIMEOUT_MS.to_string()),
        ("lock_timeout", LOCK_TIMEOUT_MS.to_string()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MS.to_string()),
        ("tcp_user_timeout", TCP_USER_TIMEOUT_MS.to_string()),
        ("tcp_keepalives_idle", "5".to_owned()),
        ("tcp_keepalives_interval", "2".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("jit", "off".to_owned()),
    ]
}
