//! Bringing a partition of a restored database up to the book: everything in one transaction, so that it happens whole or
//! not at all, and so that a rehearsal is a transaction that is given up.

use daybook_engine::{Claimed, Commit, CommitError, Load, Loaded, Recovered, unpack};
use daybook_events::Timestamp;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::time::timeout;

use crate::error::{Doing, commit_error};
use crate::load::{LoadSql, load};
use crate::names::Names;
use crate::part::verdict;
use crate::settings::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};
use crate::store::answered;
use crate::{Error, Settings, arguments, claim, function};

/// The transaction that recovers one partition. Dropped or rolled back it has changed nothing.
#[derive(Debug)]
pub struct Recovering {
    connection: PgConnection,
    control: String,
    commit_sql: String,
    load_sql: LoadSql,
    partition: u16,
}

impl Recovering {
    /// Begins the transaction and takes the partition in it. Answers the row and the database's time.
    pub(crate) async fn begin(
        settings: &Settings,
        names: &Names,
        generation: i32,
        partition: u16,
    ) -> Result<(Self, Claimed, Timestamp), Error> {
        let derived = names.derived(generation);
        let begin = async {
            let mut connection = settings.writer_options()?.connect().await.doing("connecting")?;
            sqlx::raw_sql("BEGIN").execute(&mut connection).await.doing("beginning a transaction")?;
            let (claimed, at) = claim::claim_in(&mut connection, &names.control, &derived, partition).await?;
            Ok((connection, claimed, at))
        };
        let (connection, claimed, at) = answered("taking a partition to recover it", begin).await?;
        let recovering = Self {
            connection,
            control: names.control.clone(),
            commit_sql: function::call_sql(names),
            load_sql: LoadSql::new(&names.control, &derived),
            partition,
        };
        Ok((recovering, claimed, at))
    }

    /// When the last message was made that the outbox still has.
    ///
    /// # Errors
    /// Worth another try.
    pub async fn last_made(&mut self) -> Result<Option<Timestamp>, Error> {
        let sql =
            format!("SELECT messages FROM {}.outbox WHERE part = $1 ORDER BY last_seq DESC LIMIT 1", self.control);
        let read = sqlx::query_scalar::<_, Vec<u8>>(AssertSqlSafe(sql)).bind(i32::from(self.partition));
        let packed = read.fetch_optional(&mut self.connection).await.doing("reading the outbox")?;
        let unreadable = |_| Error::Unreadable { what: "an outbox row" };
        let messages = packed.map(|bytes| unpack(&bytes)).transpose().map_err(unreadable)?;
        Ok(messages.and_then(|messages| messages.last().map(|message| message.time)))
    }

    /// # Errors
    /// Worth another try, from the beginning.
    pub async fn load(&mut self, ask: &Load) -> Result<Loaded, Error> {
        let loaded = timeout(ANSWER_TIMEOUT, load(&mut self.connection, &self.load_sql, ask)).await;
        let loaded = loaded.map_err(|_| Error::Timeout { doing: "loading", limit_ms: ANSWER_TIMEOUT.as_millis() })?;
        Ok(loaded.doing("loading")?.value)
    }

    /// Writes a batch, within the transaction.
    ///
    /// # Errors
    /// [`CommitError::Data`]: nothing of this batch was written, and the transaction goes on. Everything else ends it.
    pub async fn commit(&mut self, commit: &Commit) -> Result<Result<(), CommitError>, Error> {
        let arguments = match arguments::of_commit(commit) {
            Ok(arguments) => arguments,
            Err(error) => return Ok(Err(commit_error(&sqlx::Error::Encode(error)))),
        };
        self.run("SAVEPOINT batch").await?;
        let call = sqlx::query_with(AssertSqlSafe(self.commit_sql.as_str()), arguments).fetch_one(&mut self.connection);
        let late = |_| Error::Timeout { doing: "writing", limit_ms: ANSWER_TIMEOUT.as_millis() };
        let answer = timeout(ANSWER_TIMEOUT, call).await.map_err(late)?;
        match answer.and_then(|row| verdict(&row)).map_err(|error| (commit_error(&error), error)) {
            Ok((fenced, _)) if fenced.is_empty() => {
                self.run("RELEASE batch").await?;
                Ok(Ok(()))
            }
            Ok((fenced, _)) => Ok(Err(CommitError::Fenced(fenced))),
            Err((data @ CommitError::Data { .. }, _)) => {
                self.run("ROLLBACK TO batch").await?;
                Ok(Err(data))
            }
            Err((_, error)) => Err(error).doing("writing"),
        }
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), Error> {
        let run = async { sqlx::raw_sql(statement).execute(&mut self.connection).await.doing("writing") };
        answered("writing", run).await.map(drop)
    }

    /// Stores the new incarnation, and with it everything.
    ///
    /// # Errors
    /// When the answer to the commit is lost it may have happened: the next attempt finds nothing left to recover.
    pub async fn finish(mut self, recovered: &Recovered) -> Result<(), Error> {
        let sql =
            format!("UPDATE {}.partition SET incarnation = $2, version = version + 1 WHERE part = $1", self.control);
        let finish = async {
            sqlx::query(AssertSqlSafe(sql))
                .bind(i32::from(self.partition))
                .bind(i64::from(recovered.incarnation))
                .execute(&mut self.connection)
                .await
                .doing("storing the incarnation")?;
            sqlx::raw_sql("COMMIT").execute(&mut self.connection).await.doing("storing what was recovered")?;
            self.connection.close().await.doing("closing the connection")
        };
        answered("storing what was recovered", finish).await
    }

    /// Gives everything up.
    pub async fn give_up(self) {
        if timeout(CONNECT_TIMEOUT, self.connection.close()).await.is_err() {
            tracing::debug!(partition = self.partition, "closing the connection of a recovery took too long");
        }
    }
}
