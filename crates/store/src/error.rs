use daybook_engine::{CommitError, LoadError};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::Refusal;

/// SQLSTATE for a connection that failed without the server having said anything.
const CONNECTION_FAILURE: &str = "08006";
/// SQLSTATE for a value that has no form in the database.
const DATA_EXCEPTION: &str = "22000";
/// SQLSTATE for an answer that the code does not understand.
const INTERNAL_ERROR: &str = "XX000";
/// SQLSTATE for something waited for in vain.
const CANCELED: &str = "57014";

/// Why the store could not do what it was asked. Carries no stored value and no URL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process must not go on with this database; the text names the cure.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the database URL cannot be read: it must look like postgres://user:password@host:port/database")]
    Url,
    /// A name from the code or the settings that cannot be a name in the database.
    #[error("`{name}` cannot be used as {what}: it must match [a-z][a-z0-9_-]* and be at most {max} long")]
    Name { what: &'static str, name: String, max: usize },
    /// Worth another try later. `detail` is the server's text where that cannot hold stored values.
    #[error("{doing} failed (SQLSTATE {sqlstate}){detail}")]
    Database { doing: &'static str, sqlstate: String, detail: String },
    #[error("{doing} took longer than {limit_ms} ms")]
    Timeout { doing: &'static str, limit_ms: u128 },
    /// A stored value has a form that this version of the code cannot read.
    #[error("{what} is stored in a form that this version cannot read")]
    Unreadable { what: &'static str },
    /// More than is ever answered at once.
    #[error("more than {limit} rows: ask for a page")]
    TooManyRows { limit: usize },
}

impl Error {
    /// The five characters by which Postgres tells what happened, where it was asked at all.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Error::Database { sqlstate, .. } => Some(sqlstate),
            Error::Timeout { .. } => Some(CANCELED),
            _ => None,
        }
    }
}

/// Says what was being done when the database failed.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|error| Error::Database { doing, sqlstate: sqlstate(&error), detail: detail(&error) })
    }
}

/// The server's text, unless its class (22, 23) is one whose texts repeat stored values.
fn detail(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(answer) => match answer.code().as_deref() {
            Some(code) if !code.starts_with("22") && !code.starts_with("23") => {
                format!(": {}", answer.message())
            }
            _ => String::new(),
        },
        sqlx::Error::Io(source) => format!(": {}", source.kind()),
        sqlx::Error::PoolTimedOut => ": no connection became free in time".to_owned(),
        _ => String::new(),
    }
}

pub(crate) fn sqlstate(error: &sqlx::Error) -> String {
    let code = match error {
        sqlx::Error::Database(answer) => {
            return answer.code().unwrap_or(INTERNAL_ERROR.into()).into_owned();
        }
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => DATA_EXCEPTION,
        sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::RowNotFound => INTERNAL_ERROR,
        sqlx::Error::PoolTimedOut => "53300",
        _ => CONNECTION_FAILURE,
    };
    code.to_owned()
}

/// Whether the session can be used after this error: the server answered it and did not end the session.
pub(crate) fn leaves_connection_usable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(answer) => answer
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|answer| !matches!(answer.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => true,
        _ => false,
    }
}

/// What an error after the commit statement was sent means.
///
/// Classes 21, 22, 23 and 54 depend on the data alone. Every other answer of severity ERROR means that the
/// transaction was rolled back. An answer that ends the session (FATAL) does not say on which side of the
/// commit it came, and neither does a broken connection.
pub(crate) fn commit_error(error: &sqlx::Error) -> CommitError {
    if matches!(error, sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_)) {
        return CommitError::Data { sqlstate: DATA_EXCEPTION.to_owned() };
    }
    if !leaves_connection_usable(error) {
        return CommitError::Unknown;
    }
    let sqlstate = sqlstate(error);
    match &sqlstate[..2.min(sqlstate.len())] {
        "21" | "22" | "23" | "54" => CommitError::Data { sqlstate },
        _ => CommitError::Retry { sqlstate },
    }
}

pub(crate) fn load_error(error: &sqlx::Error) -> LoadError {
    LoadError { sqlstate: sqlstate(error) }
}

pub(crate) fn load_timeout() -> LoadError {
    LoadError { sqlstate: CANCELED.to_owned() }
}
