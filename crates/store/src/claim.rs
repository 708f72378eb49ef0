//! Taking a partition, and reading all that is open in it.

use bytes::Bytes;
use daybook_engine::{BlockedKey, Claimed, Intent, IntentStatus, OutboxRow};
use daybook_events::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row};

use crate::error::Doing;
use crate::moment::Moment;
use crate::{Answered, Error};

const UNREADABLE_ROW: Error = Error::Unreadable { what: "a partition row" };

/// All in one transaction: the row stays locked until everything was read, so the answer is of one piece.
pub(crate) async fn claim(
    pool: &PgPool,
    control: &str,
    derived: &str,
    partition: u16,
) -> Result<Answered<Claimed>, Error> {
    let mut transaction = pool.begin().await.doing("connecting")?;
    let (value, at) = claim_in(&mut transaction, control, derived, partition).await?;
    transaction.commit().await.doing("claiming a partition")?;
    Ok(Answered { value, at })
}

/// The same in a transaction of the caller's.
pub(crate) async fn claim_in(
    connection: &mut PgConnection,
    control: &str,
    derived: &str,
    partition: u16,
) -> Result<(Claimed, Timestamp), Error> {
    let (mut claimed, at) = raise(connection, control, partition).await?;
    claimed.outbox = unpublished(connection, control, partition, claimed.published_seq).await?;
    claimed.intents = intents(connection, control, partition).await?;
    claimed.blocked = blocked(connection, control, partition).await?;
    claimed.next_due = next_due(connection, derived, partition).await?;
    Ok((claimed, at))
}

async fn raise(connection: &mut PgConnection, control: &str, partition: u16) -> Result<(Claimed, Timestamp), Error> {
    let sql = format!(
        "UPDATE {control}.partition SET version = version + 1 WHERE part = $1
         RETURNING version, next_data, next_control, incarnation, out_seq, published_seq, held_next,
                   last_numbers, marks, accepts_first, clock_timestamp()"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(i32::from(partition))
        .fetch_one(connection)
        .await
        .doing("taking a partition")?;
    let claimed = partition_row(partition, &row).doing("reading a partition row")??;
    let Moment(at) = row.try_get(10).doing("reading the time")?;
    Ok((claimed, at))
}

fn partition_row(partition: u16, row: &PgRow) -> Result<Result<Claimed, Error>, sqlx::Error> {
    let version = row.try_get(0)?;
    let next_data = row.try_get(1)?;
    let next_control = row.try_get(2)?;
    let numbers: [i64; 4] = [row.try_get(3)?, row.try_get(4)?, row.try_get(5)?, row.try_get(6)?];
    let last_numbers: Vec<u8> = row.try_get(7)?;
    let marks: Vec<u8> = row.try_get(8)?;
    let accepts_first = row.try_get(9)?;
    let [incarnation, out_seq, published_seq, held_next] = numbers;
    let numbers = || {
        Some((
            u32::try_from(incarnation).ok()?,
            u64::try_from(out_seq).ok()?,
            u64::try_from(published_seq).ok()?,
            u64::try_from(held_next).ok()?,
        ))
    };
    let Some((incarnation, out_seq, published_seq, held_next)) = numbers() else {
        return Ok(Err(UNREADABLE_ROW));
    };
    Ok(Ok(Claimed {
        partition,
        version,
        next_data,
        next_control,
        incarnation,
        out_seq,
        published_seq,
        last_numbers: last_numbers.into(),
        marks: marks.into(),
        accepts_first,
        held_next,
        outbox: Vec::new(),
        intents: Vec::new(),
        blocked: Vec::new(),
        next_due: None,
    }))
}

/// Bounded by the engine: it takes no work while too much is unacknowledged.
async fn unpublished(
    connection: &mut PgConnection,
    control: &str,
    partition: u16,
    published_seq: u64,
) -> Result<Vec<OutboxRow>, Error> {
    let sql = format!(
        "SELECT first_seq, last_seq, messages FROM {control}.outbox WHERE part = $1 AND last_seq > $2 ORDER BY last_seq"
    );
    let rows: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(i32::from(partition))
        .bind(i64::try_from(published_seq).map_err(|_| UNREADABLE_ROW)?)
        .fetch_all(connection)
        .await
        .doing("reading the outbox")?;
    let batch = |(first, last, messages): (i64, i64, Vec<u8>)| {
        let (first_seq, last_seq) = (u64::try_from(first).ok()?, u64::try_from(last).ok()?);
        Some(OutboxRow { partition, first_seq, last_seq, messages: messages.into() })
    };
    rows.into_iter().map(batch).collect::<Option<_>>().ok_or(Error::Unreadable { what: "an outbox row" })
}

async fn intents(connection: &mut PgConnection, control: &str, partition: u16) -> Result<Vec<Intent>, Error> {
    let sql = format!(
        "SELECT id, key, request, reply, thread, created_at, status, attempts, code
           FROM {control}.intent WHERE part = $1 ORDER BY created_at, id"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(i32::from(partition))
        .fetch_all(connection)
        .await
        .doing("reading open effects")?;
    rows.iter().map(|row| intent(partition, row).doing("reading an open effect")?).collect()
}

fn intent(partition: u16, row: &PgRow) -> Result<Result<Intent, Error>, sqlx::Error> {
    let status: String = row.try_get(6)?;
    let attempts: i32 = row.try_get(7)?;
    let status = match status.as_str() {
        "open" => IntentStatus::Open,
        "needs-attention" => IntentStatus::NeedsAttention,
        _ => {
            return Ok(Err(Error::Unreadable { what: "the status of an effect" }));
        }
    };
    let Ok(attempts) = u32::try_from(attempts) else {
        return Ok(Err(Error::Unreadable { what: "the attempts of an effect" }));
    };
    let reply: Option<Json<_>> = row.try_get(3)?;
    let Json(thread) = row.try_get(4)?;
    let Moment(created_at) = row.try_get(5)?;
    Ok(Ok(Intent {
        id: row.try_get(0)?,
        partition,
        key: row.try_get(1)?,
        request: row.try_get(2)?,
        reply: reply.map(|Json(reply)| reply),
        thread,
        created_at,
        status,
        attempts,
        code: row.try_get(8)?,
    }))
}

async fn blocked(connection: &mut PgConnection, control: &str, partition: u16) -> Result<Vec<BlockedKey>, Error> {
    let sql = format!(
        "WITH waiting AS (
           SELECT coalesce(key, '') AS key, count(*) AS held FROM {control}.held WHERE part = $1 GROUP BY 1
         ), blocking AS (
           SELECT DISTINCT ON (coalesce(key, '')) coalesce(key, '') AS key, id
             FROM {control}.parked WHERE part = $1 AND blocks ORDER BY coalesce(key, ''), parked_at, id
         )
         SELECT coalesce(waiting.key, blocking.key), coalesce(held, 0), id
           FROM waiting FULL JOIN blocking ON waiting.key = blocking.key ORDER BY 1"
    );
    let rows: Vec<(Vec<u8>, i64, Option<uuid::Uuid>)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(i32::from(partition))
        .fetch_all(connection)
        .await
        .doing("reading blocked keys")?;
    let key = |(key, held, parked): (Vec<u8>, i64, Option<uuid::Uuid>)| {
        Some(BlockedKey { key: Bytes::from(key), held: u64::try_from(held).ok()?, parked })
    };
    rows.into_iter().map(key).collect::<Option<_>>().ok_or(Error::Unreadable { what: "a count of held records" })
}

async fn next_due(connection: &mut PgConnection, derived: &str, partition: u16) -> Result<Option<Timestamp>, Error> {
    let sql = format!("SELECT min(wake) FROM {derived}.state WHERE part = $1");
    let due: Option<Moment> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(i32::from(partition))
        .fetch_one(connection)
        .await
        .doing("reading the earliest timer")?;
    Ok(due.map(|Moment(due)| due))
}
