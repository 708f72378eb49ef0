use std::time::Duration;

use daybook_engine::PARTITIONS;
use daybook_events::Timestamp;
use serde_json::Value;
use sqlx::postgres::{PgArguments, PgPoolOptions};
use sqlx::query::QueryScalar;
use sqlx::{AssertSqlSafe, Connection, PgPool, Postgres};
use uuid::Uuid;

use crate::Error;
use crate::error::Doing;
use crate::migrate::READ_ROLE;
use crate::moment::Moment;
use crate::names::{Names, read_schema};
use crate::settings::{CONNECT_TIMEOUT, Settings};
use crate::store::answered;

/// Rows that one question answers at most; routes page.
pub const ROWS_MAX: usize = 1_000;

/// For so long a connection that has answered is taken to be alive.
const ALIVE_FOR: Duration = Duration::from_secs(1);

/// A value for a placeholder of a read route.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    Uuid(Option<Uuid>),
    Uuids(Vec<Uuid>),
    Text(Option<String>),
    Bigint(Option<i64>),
    Boolean(Option<bool>),
    Timestamp(Option<Timestamp>),
}

/// The public views, read only: transactions are read-only, and where the role `daybook_read` exists and may be
/// taken, nothing else can be seen at all. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reads {
    pool: PgPool,
    prefix: String,
}

impl Reads {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Url`] and [`Error::Name`] for settings that cannot be right; the rest is worth another try.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        let schema = read_schema(&settings.schema_prefix)?;
        let mut options = settings.read_options()?.options([("search_path", schema)]);
        if settings.read_url.is_none() && can_take_role(settings).await? {
            options = options.options([("role", READ_ROLE)]);
        }
        let pool = pool_of(settings.read_connections).connect_lazy_with(options);
        Ok(Self { pool, prefix: settings.schema_prefix.clone() })
    }

    /// The same over one connection of its own, which waits for no other reader.
    pub fn on_one_connection(&self) -> Self {
        let options = (*self.pool.connect_options()).clone();
        let pool = pool_of(1).connect_lazy_with(options);
        Self { pool, prefix: self.prefix.clone() }
    }

    /// The rows of a question over the public views, each as a JSON object; times are RFC 3339, bytes `\x` and hex.
    /// `sql` is a `SELECT` written by the author of a read route, never by a caller of it.
    ///
    /// # Errors
    /// [`Error::TooManyRows`] above [`ROWS_MAX`]; SQLSTATE class 22 for a parameter that does not fit.
    pub async fn rows(&self, sql: &'static str, params: &[Param]) -> Result<Vec<Value>, Error> {
        let limited = format!("SELECT to_jsonb(answer) FROM ({sql}) AS answer LIMIT {}", ROWS_MAX + 1);
        let query = params.iter().fold(sqlx::query_scalar(AssertSqlSafe(limited)), bound);
        let rows: Vec<Value> =
            answered("answering a read", async { query.fetch_all(&self.pool).await.doing("answering a read") }).await?;
        if rows.len() > ROWS_MAX { Err(Error::TooManyRows { limit: ROWS_MAX }) } else { Ok(rows) }
    }

    /// Per partition the next data and control offsets: everything below them is in the rows.
    ///
    /// # Errors
    /// [`Error::Name`]; SQLSTATE 42P01 when the part was never started.
    pub async fn applied_offsets(&self, part: &str) -> Result<[(i64, i64); PARTITIONS as usize], Error> {
        let names = Names::new(&self.prefix, part)?;
        let sql = format!("SELECT next_data, next_control FROM {}.{} ORDER BY part", names.read, names.offsets_view());
        let work =
            async { sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&self.pool).await.doing("reading applied offsets") };
        let rows: Vec<(i64, i64)> = answered("reading applied offsets", work).await?;
        rows.try_into().map_err(|_| Error::Unreadable { what: "the partition rows" })
    }
}

type RowsQuery<'q> = QueryScalar<'q, Postgres, Value, PgArguments>;

fn bound<'q>(query: RowsQuery<'q>, param: &Param) -> RowsQuery<'q> {
    match param {
        Param::Uuid(value) => query.bind(*value),
        Param::Uuids(values) => query.bind(values.clone()),
        Param::Text(value) => query.bind(value.clone()),
        Param::Bigint(value) => query.bind(*value),
        Param::Boolean(value) => query.bind(*value),
        Param::Timestamp(value) => query.bind(value.map(Moment)),
    }
}

/// Connections that are used again and again are not asked first whether they are alive: that would be as many questions again.
fn pool_of(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, of| {
            Box::pin(async move {
                if of.idle_for > ALIVE_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

async fn can_take_role(settings: &Settings) -> Result<bool, Error> {
    let pool = pool_of(1).connect_lazy_with(settings.read_options()?);
    let can: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1 AND pg_has_role(current_user, oid, 'MEMBER'))",
    )
    .bind(READ_ROLE)
    .fetch_one(&pool)
    .await
    .doing("looking for the reading role")?;
    pool.close().await;
    if !can {
        tracing::warn!(
            role = READ_ROLE,
            "reads run in read-only transactions of the general user: the role is missing or not granted"
        );
    }
    Ok(can)
}
