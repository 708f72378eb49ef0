use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daybook_engine::{Claimed, Commit, CommitError, Load, LoadError, Loaded, Spec};
use daybook_events::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, Row, SqlSafeStr};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::{commit_error, leaves_connection_usable, load_error, load_timeout, sqlstate};
use crate::load::{LoadSql, load};
use crate::moment::Moment;
use crate::names::Names;
use crate::settings::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};
use crate::store::answered;
use crate::{Error, Recovering, Settings, Store, arguments, claim, function, maintain};

/// SQLSTATE of a change to a table that the part did not declare.
const UNDEFINED_TABLE: &str = "42P01";

/// An answer, and the database's time when it was given.
#[derive(Clone, Debug)]
pub struct Answered<T> {
    pub value: T,
    pub at: Timestamp,
}

/// The tables of one part. Loads and commits go through a connection of its own, and through more where there are more calls at a
/// time and the process has connections to spare. Claims go beside them, so that one that waits for an old owner holds up no batch.
///
/// A connection is opened when it is needed and given up when its state is in doubt, also when a call is dropped
/// halfway. Whoever calls waits between attempts.
#[derive(Debug)]
pub struct PartStore {
    pool: PgPool,
    settings: Settings,
    names: Names,
    generation: i32,
    options: PgConnectOptions,
    commit_sql: String,
    load_sql: LoadSql,
    tables: HashSet<&'static str>,
    /// Leave to open the one connection that the part has in any case, and further ones.
    own: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    /// Connections that nobody uses now.
    idle: Mutex<Vec<Writer>>,
    /// Told when one is idle again.
    given_back: Notify,
}

/// A connection that loads and commits, and the leave to have it.
#[derive(Debug)]
struct Writer {
    connection: PgConnection,
    leave: OwnedSemaphorePermit,
}

impl PartStore {
    pub(crate) fn new(store: &Store, names: Names, generation: i32, spec: &Spec) -> Result<Self, Error> {
        Ok(Self {
            options: store.settings.writer_options()?,
            commit_sql: function::call_sql(&names),
            load_sql: LoadSql::new(&names.control, &names.derived(generation)),
            tables: spec.tables.iter().map(|table| table.name).collect(),
            own: Arc::new(Semaphore::new(1)),
            spare: Arc::clone(&store.spare),
            idle: Mutex::default(),
            given_back: Notify::new(),
            settings: store.settings.clone(),
            pool: store.pool.clone(),
            names,
            generation,
        })
    }

    /// Takes the partition: raises its version, so that whoever wrote it before is fenced off, and reads all that is
    /// open. Waits for a commit under way of an earlier owner.
    ///
    /// # Errors
    /// Worth another try.
    pub async fn claim(&self, partition: u16) -> Result<Answered<Claimed>, Error> {
        let derived = self.names.derived(self.generation);
        answered("claiming a partition", claim::claim(&self.pool, &self.names.control, &derived, partition)).await
    }

    /// Takes the partition to recover it, in a transaction of its own. Answers the row and the database's time.
    ///
    /// # Errors
    /// Worth another try.
    pub async fn recovering(&self, partition: u16) -> Result<(Recovering, Claimed, Timestamp), Error> {
        Recovering::begin(&self.settings, &self.names, self.generation, partition).await
    }

    /// Reads what the next batch needs.
    ///
    /// # Errors
    /// The SQLSTATE; worth another try, but for class XX: a row that this version cannot read.
    pub async fn load(&self, ask: &Load) -> Result<Answered<Loaded>, LoadError> {
        let mut writer = self.writer().await.map_err(|error| load_error(&error))?;
        let loading = load(&mut writer.connection, &self.load_sql, ask);
        let loaded = timeout(ANSWER_TIMEOUT, loading).await.map_err(|_| load_timeout())?;
        if loaded.as_ref().err().is_none_or(leaves_connection_usable) {
            self.give_back(writer);
        }
        loaded.map_err(|error| load_error(&error))
    }

    /// Applies a batch: all of it in one transaction, or nothing.
    ///
    /// # Errors
    /// See [`CommitError`]. After [`CommitError::Unknown`] the connection is gone; a claim tells what became of it.
    pub async fn commit(&self, commit: &Commit) -> Result<Answered<()>, CommitError> {
        if commit.tables.iter().any(|changes| !self.tables.contains(changes.table)) {
            return Err(CommitError::Data { sqlstate: UNDEFINED_TABLE.to_owned() });
        }
        let arguments = arguments::of_commit(commit).map_err(|error| commit_error(&sqlx::Error::Encode(error)))?;
        let mut writer = self.writer().await.map_err(|error| CommitError::Retry { sqlstate: sqlstate(&error) })?;
        let call = sqlx::query_with(AssertSqlSafe(self.commit_sql.as_str()), arguments);
        let call = call.fetch_one(&mut writer.connection);
        let answer = timeout(ANSWER_TIMEOUT, call).await.map_err(|_| CommitError::Unknown)?;
        if answer.as_ref().err().is_none_or(leaves_connection_usable) {
            self.give_back(writer);
        }
        let (failed, at) = answer.and_then(|row| verdict(&row)).map_err(|error| commit_error(&error))?;
        if failed.is_empty() { Ok(Answered { value: (), at }) } else { Err(CommitError::Fenced(failed)) }
    }

    /// Empties what has been kept long enough, and leaves idle connections beside the part's own to other parts. To be called every
    /// hour or so; nothing but space is lost when it is not.
    ///
    /// # Errors
    /// Worth another try.
    pub async fn maintain(&self) -> Result<(), Error> {
        self.let_go(|writer| Arc::ptr_eq(writer.leave.semaphore(), &self.spare)).await;
        answered("housekeeping", maintain::maintain(&self.pool, &self.names.control)).await
    }

    /// A connection that nobody else uses: an idle one, a new one where there is leave to open it, or else the next that is given
    /// back. That happens only when its state is known to be good: a caller that goes away takes it along.
    async fn writer(&self) -> Result<Writer, sqlx::Error> {
        loop {
            if let Some(writer) = self.idle().pop() {
                return Ok(writer);
            }
            tokio::select! {
                biased;
                Ok(leave) = Arc::clone(&self.own).acquire_owned() => return self.open(leave).await,
                Ok(leave) = Arc::clone(&self.spare).acquire_owned() => return self.open(leave).await,
                () = self.given_back.notified() => {}
            }
        }
    }

    async fn open(&self, leave: OwnedSemaphorePermit) -> Result<Writer, sqlx::Error> {
        let open = async {
            let mut connection = self.options.connect().await?;
            // Prepared before anything is sent by it: so a failure here is surely no commit.
            connection.prepare(AssertSqlSafe(self.commit_sql.as_str()).into_sql_str()).await?;
            Ok(Writer { connection, leave })
        };
        timeout(CONNECT_TIMEOUT, open).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    fn give_back(&self, writer: Writer) {
        self.idle().push(writer);
        self.given_back.notify_one();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Writer>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the writers' connections in good order.
    pub async fn close(&self) {
        self.let_go(|_| true).await;
    }

    async fn let_go(&self, whom: impl Fn(&Writer) -> bool) {
        let gone: Vec<Writer> = self.idle().extract_if(.., |writer| whom(writer)).collect();
        for Writer { connection, leave } in gone {
            let closed = connection.close().await;
            drop(leave);
            if let Err(error) = closed {
                tracing::debug!(
                    part = self.names.part,
                    sqlstate = sqlstate(&error),
                    "closing a writer's connection failed"
                );
            }
        }
    }
}

/// The partitions that were refused, and the time.
pub(crate) fn verdict(row: &PgRow) -> Result<(Vec<u16>, Timestamp), sqlx::Error> {
    let failed: Vec<i32> = row.try_get(0)?;
    let Moment(at) = row.try_get(1)?;
    // Only what we asked for comes back, and that were `u16`.
    let failed = failed.into_iter().filter_map(|partition| u16::try_from(partition).ok()).collect();
    Ok((failed, at))
}
