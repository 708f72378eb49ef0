//! Reading what a batch needs: rows, known commands, held and parked records, timers.

use std::borrow::Cow;

use bytes::Bytes;
use daybook_engine::{
    Applied, DueAsk, DueRow, Held, HeldAsk, Load, Loaded, Parked, RawRecord, Row as StateRow, RowKey, Stream,
};
use daybook_events::Timestamp;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use crate::Answered;
use crate::arguments::split_keys;
use crate::moment::Moment;

/// The statements, made once.
#[derive(Debug)]
pub(crate) struct LoadSql {
    rows: String,
    applied: String,
    held: String,
    wake: String,
    due: String,
    next_due: String,
    parked: String,
}

impl LoadSql {
    pub fn new(control: &str, derived: &str) -> Self {
        Self {
            // A row that does not exist comes as nulls, so that the time comes even if none does.
            rows: format!(
                "SELECT clock_timestamp(), s.key, s.sub, s.number, s.due, s.status, s.body
                   FROM unnest($1::uuid[], $2::uuid[]) AS asked (key, sub)
                   LEFT JOIN {derived}.state s ON s.key = asked.key AND s.sub = asked.sub"
            ),
            applied: format!(
                "SELECT a.id, a.request_hash, a.closing_type, a.closing_body
                   FROM unnest($1::uuid[]) AS asked (id) JOIN {control}.applied a ON a.id = asked.id"
            ),
            held: format!(
                "SELECT stream, log_offset, time, key, header, value, number FROM {control}.held
                   WHERE part = $1 AND key_hash = sha256($2) ORDER BY number LIMIT $3"
            ),
            // Whoever does it, and however often: it says nothing that was not so.
            wake: format!("UPDATE {derived}.state SET wake = due WHERE part = $1 AND wake <= $2 AND wake < due"),
            due: format!(
                "SELECT due, key, sub FROM {derived}.state
                   WHERE part = $1 AND wake <= $2
                     AND (wake, key, sub) > (coalesce($3, '-infinity'::timestamptz), $4::uuid, $5::uuid)
                   ORDER BY wake, key, sub LIMIT $6"
            ),
            next_due: format!("SELECT min(wake) FROM {derived}.state WHERE part = $1 AND wake > $2"),
            parked: format!(
                "SELECT stream, log_offset, time, key, header, value, id, part, code, detail, attempts, parked_at, blocks
                   FROM {control}.parked WHERE id = ANY ($1)"
            ),
        }
    }
}

pub(crate) async fn load(
    connection: &mut PgConnection,
    sql: &LoadSql,
    ask: &Load,
) -> Result<Answered<Loaded>, sqlx::Error> {
    let mut loaded = Loaded::default();
    let at = match ask.rows.is_empty() {
        true => time(connection).await?,
        false => rows(connection, sql, ask, &mut loaded).await?,
    };
    if !ask.applied.is_empty() {
        loaded.applied = applied(connection, sql, &ask.applied).await?;
    }
    for held_ask in &ask.held {
        loaded.held.extend(held(connection, sql, held_ask).await?);
    }
    for due_ask in &ask.due {
        loaded.due.extend(due(connection, sql, due_ask).await?);
        loaded.next_due.push((due_ask.partition, next_due(connection, sql, due_ask).await?));
    }
    if !ask.parked.is_empty() {
        loaded.parked = parked(connection, sql, &ask.parked).await?;
    }
    Ok(Answered { value: loaded, at })
}

async fn time(connection: &mut PgConnection) -> Result<Timestamp, sqlx::Error> {
    let Moment(at) = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(connection).await?;
    Ok(at)
}

async fn rows(
    connection: &mut PgConnection,
    sql: &LoadSql,
    ask: &Load,
    loaded: &mut Loaded,
) -> Result<Timestamp, sqlx::Error> {
    let (keys, parts) = split_keys(&ask.rows);
    let found = sqlx::query(AssertSqlSafe(sql.rows.as_str())).bind(keys).bind(parts).fetch_all(connection).await?;
    let mut at = Timestamp::default();
    for row in found {
        Moment(at) = row.try_get(0)?;
        if let Some(key) = row.try_get::<Option<Uuid>, _>(1)? {
            loaded.rows.push((RowKey { key, part: row.try_get(2)? }, state_row(&row)?));
        }
    }
    Ok(at)
}

fn state_row(row: &PgRow) -> Result<StateRow, sqlx::Error> {
    let due: Option<Moment> = row.try_get(4)?;
    let status: Option<String> = row.try_get(5)?;
    let body: Vec<u8> = row.try_get(6)?;
    Ok(StateRow {
        number: unsigned(row.try_get(3)?)?,
        due: due.map(|Moment(due)| due),
        status: status.map(Cow::Owned),
        body: body.into(),
    })
}

async fn applied(connection: &mut PgConnection, sql: &LoadSql, ids: &[Uuid]) -> Result<Vec<Applied>, sqlx::Error> {
    type Found = (Uuid, Option<Vec<u8>>, Option<String>, Option<Vec<u8>>);
    let found: Vec<Found> = sqlx::query_as(AssertSqlSafe(sql.applied.as_str())).bind(ids).fetch_all(connection).await?;
    let command = |(id, hash, closing_type, closing_body): Found| {
        let request_hash = hash.map(<[u8; 32]>::try_from).transpose().map_err(|_| unreadable("a request hash"))?;
        Ok(Applied { id, request_hash, closing: closing_type.zip(closing_body) })
    };
    found.into_iter().map(command).collect()
}

async fn held(connection: &mut PgConnection, sql: &LoadSql, ask: &HeldAsk) -> Result<Vec<Held>, sqlx::Error> {
    let found = sqlx::query(AssertSqlSafe(sql.held.as_str()))
        .bind(i32::from(ask.partition))
        .bind(&ask.key[..])
        .bind(i64::from(ask.limit))
        .fetch_all(connection)
        .await?;
    let record =
        |row: &PgRow| Ok(Held { partition: ask.partition, number: unsigned(row.try_get(6)?)?, raw: raw_record(row)? });
    found.iter().map(record).collect()
}

/// Rows that are found too early are moved before the first page is read. After that, `wake` is `due` of all that are found.
async fn due(connection: &mut PgConnection, sql: &LoadSql, ask: &DueAsk) -> Result<Vec<DueRow>, sqlx::Error> {
    if ask.after.is_none() {
        sqlx::query(AssertSqlSafe(sql.wake.as_str()))
            .bind(i32::from(ask.partition))
            .bind(Moment(ask.until))
            .execute(&mut *connection)
            .await?;
    }
    let (after, key) = ask.after.unzip();
    let key = key.unwrap_or(RowKey::entity(Uuid::nil()));
    let found: Vec<(Moment, Uuid, Uuid)> = sqlx::query_as(AssertSqlSafe(sql.due.as_str()))
        .bind(i32::from(ask.partition))
        .bind(Moment(ask.until))
        .bind(after.map(Moment))
        .bind(key.key)
        .bind(key.part)
        .bind(i64::from(ask.limit))
        .fetch_all(connection)
        .await?;
    let row = |(Moment(due), key, part)| DueRow { partition: ask.partition, due, row: RowKey { key, part } };
    Ok(found.into_iter().map(row).collect())
}

async fn next_due(
    connection: &mut PgConnection,
    sql: &LoadSql,
    ask: &DueAsk,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let due: Option<Moment> = sqlx::query_scalar(AssertSqlSafe(sql.next_due.as_str()))
        .bind(i32::from(ask.partition))
        .bind(Moment(ask.until))
        .fetch_one(connection)
        .await?;
    Ok(due.map(|Moment(due)| due))
}

async fn parked(connection: &mut PgConnection, sql: &LoadSql, ids: &[Uuid]) -> Result<Vec<Parked>, sqlx::Error> {
    let found = sqlx::query(AssertSqlSafe(sql.parked.as_str())).bind(ids).fetch_all(connection).await?;
    found.iter().map(parked_row).collect()
}

pub(crate) fn parked_row(row: &PgRow) -> Result<Parked, sqlx::Error> {
    let Moment(parked_at) = row.try_get("parked_at")?;
    Ok(Parked {
        id: row.try_get("id")?,
        partition: narrow(row.try_get("part")?)?,
        raw: raw_record(row)?,
        code: row.try_get("code")?,
        detail: row.try_get("detail")?,
        attempts: narrow(row.try_get("attempts")?)?,
        parked_at,
        blocks: row.try_get("blocks")?,
    })
}

/// From the columns stream, offset, time, key, header and value, in this order.
fn raw_record(row: &PgRow) -> Result<RawRecord, sqlx::Error> {
    let stream = match row.try_get::<&str, _>(0)? {
        "data" => Stream::Data,
        "control" => Stream::Control,
        _ => return Err(unreadable("a stream")),
    };
    let Moment(time) = row.try_get(2)?;
    let bytes = |index: usize| Ok::<_, sqlx::Error>(row.try_get::<Option<Vec<u8>>, _>(index)?.map(Bytes::from));
    Ok(RawRecord { stream, offset: row.try_get(1)?, time, key: bytes(3)?, header: bytes(4)?, value: bytes(5)? })
}

pub(crate) fn unsigned(number: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(number).map_err(|_| unreadable("a number below zero"))
}

pub(crate) fn narrow<T: TryFrom<i32>>(number: i32) -> Result<T, sqlx::Error> {
    T::try_from(number).map_err(|_| unreadable("a number out of range"))
}

/// Like any column that cannot be decoded: SQLSTATE XX000, the program and the database don't fit.
pub(crate) fn unreadable(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(BoxDynError::from(what))
}
