//! What an operator sees of one part: read from the tables in which it became true.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daybook_engine::Parked;
use daybook_events::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

use crate::Error;
use crate::arguments::stream_text;
use crate::error::Doing;
use crate::load::{narrow, parked_row, unreadable, unsigned};
use crate::moment::Moment;
use crate::names::Names;
use crate::store::answered;

/// Rows that one list answers at most.
pub const LIST_MAX: u32 = 1_000;

/// The control row of one input partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionView {
    pub partition: u16,
    pub version: i64,
    pub next_data: i64,
    pub next_control: i64,
    pub incarnation: u32,
    pub out_seq: u64,
    pub published_seq: u64,
    pub generation: i32,
    pub held: u64,
    pub parked: u64,
    pub intents: u64,
    pub intents_needing_attention: u64,
}

/// A parked record without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParkedView {
    pub id: Uuid,
    pub partition: u16,
    /// `data` or `control`.
    pub stream: &'static str,
    pub offset: i64,
    /// Base64: keys of strangers may be any bytes.
    pub key: Option<String>,
    pub code: String,
    pub detail: String,
    pub attempts: u32,
    pub parked_at: Timestamp,
    pub blocks: bool,
}

/// A parked record with its bytes, in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParkedRecord {
    #[serde(flatten)]
    pub view: ParkedView,
    pub header: Option<String>,
    pub value: Option<String>,
    /// Records that wait behind its key.
    pub held_behind: u64,
}

/// Which parked records; the default is the first page of all.
#[derive(Clone, Debug, Default)]
pub struct ParkedFilter {
    pub partition: Option<u16>,
    pub code: Option<String>,
    /// Records parked after this one, in the order (time, id).
    pub after: Option<(Timestamp, Uuid)>,
    /// At most [`LIST_MAX`].
    pub limit: u32,
}

/// An effect without an outcome. Its request is sealed from view: it may hold a person's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IntentView {
    pub id: Uuid,
    pub partition: u16,
    pub key: Uuid,
    /// `open` or `needs-attention`.
    pub status: String,
    pub attempts: u32,
    pub code: Option<String>,
    pub created_at: Timestamp,
    pub correlation_id: Option<Uuid>,
}

/// Which instances of a saga; the default is the first page of all.
#[derive(Clone, Debug, Default)]
pub struct SagaFilter {
    pub status: Option<String>,
    /// Only those that have not ended.
    pub open_only: bool,
    /// Keys above this one.
    pub after: Option<Uuid>,
    /// At most [`LIST_MAX`].
    pub limit: u32,
}

/// One instance of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SagaView {
    pub key: Uuid,
    pub partition: u16,
    pub status: Option<String>,
    /// Events that have gone into it.
    pub number: u64,
    pub due: Option<Timestamp>,
}

/// One entry of an entity's timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryEntry {
    pub at: Timestamp,
    pub entry: Value,
}

/// Reads one part's tables for its operator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Operator {
    pool: PgPool,
    names: Names,
}

impl Operator {
    pub(crate) fn new(pool: PgPool, names: Names) -> Self {
        Self { pool, names }
    }

    /// The control rows, in order, with counts of what waits.
    ///
    /// # Errors
    /// Worth another try; SQLSTATE 42P01 when the part was never started.
    pub async fn partitions(&self) -> Result<Vec<PartitionView>, Error> {
        let control = &self.names.control;
        let count = |table: &str, filter: &str| {
            format!("(SELECT count(*) FROM {control}.{table} t WHERE t.part = p.part {filter})")
        };
        let sql = format!(
            "SELECT part, version, next_data, next_control, incarnation, out_seq, published_seq, generation, {}, {}, {}, {}
               FROM {control}.partition p ORDER BY part",
            count("held", ""),
            count("parked", ""),
            count("intent", ""),
            count("intent", "AND t.status = 'needs-attention'"),
        );
        self.list(sql, |query| query, partition_view).await
    }

    /// Parked records in the order (time, id).
    ///
    /// # Errors
    /// As for [`Operator::partitions`].
    pub async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedView>, Error> {
        let sql = format!(
            "SELECT stream, log_offset, time, key, NULL::bytea, NULL::bytea,
                    id, part, code, detail, attempts, parked_at, blocks
               FROM {}.parked
               WHERE ($1::int IS NULL OR part = $1) AND ($2::text IS NULL OR code = $2)
                 AND ($3::timestamptz IS NULL OR (parked_at, id) > ($3, $4::uuid))
               ORDER BY parked_at, id LIMIT $5",
            self.names.control
        );
        let (after, after_id) = filter.after.unzip();
        let bind = |query: Query| {
            query
                .bind(filter.partition.map(i32::from))
                .bind(filter.code.clone())
                .bind(after.map(Moment))
                .bind(after_id)
                .bind(page(filter.limit))
        };
        self.list(sql, bind, |row| Ok(parked_view(&parked_row(row)?))).await
    }

    /// One parked record with its bytes.
    ///
    /// # Errors
    /// As for [`Operator::partitions`].
    pub async fn parked_one(&self, id: Uuid) -> Result<Option<ParkedRecord>, Error> {
        let control = &self.names.control;
        let sql = format!(
            "SELECT stream, log_offset, time, key, header, value,
                    id, part, code, detail, attempts, parked_at, blocks,
                    (SELECT count(*) FROM {control}.held h
                       WHERE k.blocks AND h.part = k.part AND h.key_hash = k.key_hash) AS held_behind
               FROM {control}.parked k WHERE id = $1"
        );
        let record = |row: &PgRow| {
            let parked = parked_row(row)?;
            Ok(ParkedRecord {
                view: parked_view(&parked),
                header: parked.raw.header.map(|header| STANDARD.encode(header)),
                value: parked.raw.value.map(|value| STANDARD.encode(value)),
                held_behind: unsigned(row.try_get("held_behind")?)?,
            })
        };
        let found = self.list(sql, |query| query.bind(id), record).await?;
        Ok(found.into_iter().next())
    }

    /// Effects without an outcome, the oldest first, at most [`LIST_MAX`].
    ///
    /// # Errors
    /// As for [`Operator::partitions`].
    pub async fn intents(&self) -> Result<Vec<IntentView>, Error> {
        let sql = format!(
            "SELECT id, part, key, status, attempts, code, created_at, (thread ->> 'correlation_id')::uuid
               FROM {}.intent ORDER BY created_at, id LIMIT {LIST_MAX}",
            self.names.control
        );
        self.list(sql, |query| query, intent_view).await
    }

    /// Instances of a saga in the order of their keys.
    ///
    /// # Errors
    /// As for [`Operator::partitions`].
    pub async fn sagas(&self, filter: &SagaFilter) -> Result<Vec<SagaView>, Error> {
        // Written out rather than bound: only so the partial index of open instances is used.
        let open = match filter.open_only {
            true => "AND status NOT IN ('done', 'compensated', 'failed', 'canceled')",
            false => "",
        };
        let sql = format!(
            "SELECT key, part, status, number, due FROM {}.state
               WHERE sub = '00000000-0000-0000-0000-000000000000' {open}
                 AND ($1::text IS NULL OR status = $1) AND ($2::uuid IS NULL OR key > $2)
               ORDER BY key LIMIT $3",
            self.derived().await?
        );
        let bind = |query: Query| query.bind(filter.status.clone()).bind(filter.after).bind(page(filter.limit));
        self.list(sql, bind, saga_view).await
    }

    /// One instance of a saga, and its state as the kit wrote it.
    ///
    /// # Errors
    /// As for [`Operator::partitions`].
    pub async fn saga_state(&self, key: Uuid) -> Result<Option<(SagaView, Vec<u8>)>, Error> {
        let sql = format!(
            "SELECT key, part, status, number, due, body FROM {}.state
               WHERE key = $1 AND sub = '00000000-0000-0000-0000-000000000000'",
            self.derived().await?
        );
        let state = |row: &PgRow| Ok((saga_view(row)?, row.try_get(5)?));
        let found = self.list(sql, |query| query.bind(key), state).await?;
        Ok(found.into_iter().next())
    }

    /// The timeline of one entity from its beginning, at most [`LIST_MAX`] entries after the first `skip`.
    ///
    /// # Errors
    /// As for [`Operator::partitions`].
    pub async fn history(&self, key: Uuid, skip: u32) -> Result<Vec<HistoryEntry>, Error> {
        let sql = format!(
            "SELECT at, entry FROM {}.history WHERE key = $1 ORDER BY number LIMIT {LIST_MAX} OFFSET $2",
            self.derived().await?
        );
        let entry = |row: &PgRow| {
            let Moment(at) = row.try_get(0)?;
            Ok(HistoryEntry { at, entry: row.try_get(1)? })
        };
        self.list(sql, |query| query.bind(key).bind(i64::from(skip)), entry).await
    }

    async fn derived(&self) -> Result<String, Error> {
        let sql = format!("SELECT generation FROM {}.partition ORDER BY part LIMIT 1", self.names.control);
        let found = self.list(sql, |query| query, |row| row.try_get(0)).await?;
        let generation = found.into_iter().next().ok_or(Error::Unreadable { what: "the live generation" })?;
        Ok(self.names.derived(generation))
    }

    async fn list<T>(
        &self,
        sql: String,
        bind: impl FnOnce(Query) -> Query,
        read: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>, Error> {
        let doing = "reading for an operator";
        let query = bind(sqlx::query(AssertSqlSafe(sql)));
        let rows = answered(doing, async { query.fetch_all(&self.pool).await.doing(doing) }).await?;
        rows.iter().map(read).collect::<Result<_, _>>().doing(doing)
    }
}

type Query = sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn page(limit: u32) -> i64 {
    i64::from(if limit == 0 { LIST_MAX } else { limit.min(LIST_MAX) })
}

fn partition_view(row: &PgRow) -> Result<PartitionView, sqlx::Error> {
    let incarnation: i64 = row.try_get(4)?;
    Ok(PartitionView {
        partition: narrow(row.try_get(0)?)?,
        version: row.try_get(1)?,
        next_data: row.try_get(2)?,
        next_control: row.try_get(3)?,
        incarnation: u32::try_from(incarnation).map_err(|_| unreadable("an incarnation"))?,
        out_seq: unsigned(row.try_get(5)?)?,
        published_seq: unsigned(row.try_get(6)?)?,
        generation: row.try_get(7)?,
        held: unsigned(row.try_get(8)?)?,
        parked: unsigned(row.try_get(9)?)?,
        intents: unsigned(row.try_get(10)?)?,
        intents_needing_attention: unsigned(row.try_get(11)?)?,
    })
}

fn parked_view(parked: &Parked) -> ParkedView {
    ParkedView {
        id: parked.id,
        partition: parked.partition,
        stream: stream_text(parked.raw.stream),
        offset: parked.raw.offset,
        key: parked.raw.key.as_ref().map(|key| STANDARD.encode(key)),
        code: parked.code.clone(),
        detail: parked.detail.clone(),
        attempts: parked.attempts,
        parked_at: parked.parked_at,
        blocks: parked.blocks,
    }
}

fn intent_view(row: &PgRow) -> Result<IntentView, sqlx::Error> {
    let Moment(created_at) = row.try_get(6)?;
    Ok(IntentView {
        id: row.try_get(0)?,
        partition: narrow(row.try_get(1)?)?,
        key: row.try_get(2)?,
        status: row.try_get(3)?,
        attempts: narrow(row.try_get(4)?)?,
        code: row.try_get(5)?,
        created_at,
        correlation_id: row.try_get(7)?,
    })
}

fn saga_view(row: &PgRow) -> Result<SagaView, sqlx::Error> {
    let due: Option<Moment> = row.try_get(4)?;
    Ok(SagaView {
        key: row.try_get(0)?,
        partition: narrow(row.try_get(1)?)?,
        status: row.try_get(2)?,
        number: unsigned(row.try_get(3)?)?,
        due: due.map(|Moment(due)| due),
    })
}
