//! Housekeeping: empties what the rings have kept long enough.

use sqlx::{AssertSqlSafe, PgPool};

use crate::Error;
use crate::error::Doing;
use crate::ring::{APPLIED, OUTBOX, Ring};

pub(crate) async fn maintain(pool: &PgPool, control: &str) -> Result<(), Error> {
    let now_seconds: i64 = sqlx::query_scalar("SELECT extract(epoch FROM now())::bigint")
        .fetch_one(pool)
        .await
        .doing("reading the time")?;
    for ring in [&OUTBOX, &APPLIED] {
        for slot in ring.stale_slots(now_seconds) {
            empty(pool, control, ring, slot).await?;
        }
    }
    Ok(())
}

/// Truncates one slot, unless it is empty already or, in the outbox, still holds what was never acknowledged.
async fn empty(pool: &PgPool, control: &str, ring: &Ring, slot: i64) -> Result<(), Error> {
    let table = format!("{control}.{}_{slot:02}", ring.table);
    let mut transaction = pool.begin().await.doing("connecting")?;
    let any = format!("SELECT EXISTS (SELECT 1 FROM {table})");
    let unpublished = format!(
        "SELECT EXISTS (SELECT 1 FROM {table} o JOIN {control}.partition p ON p.part = o.part WHERE o.last_seq > p.published_seq)"
    );
    let exists = |sql: String| sqlx::query_scalar::<_, bool>(AssertSqlSafe(sql));
    if !exists(any).fetch_one(&mut *transaction).await.doing("looking for old rows")? {
        return Ok(());
    }
    if ring.table == OUTBOX.table
        && exists(unpublished).fetch_one(&mut *transaction).await.doing("looking for unpublished rows")?
    {
        tracing::warn!(table, "kept for longer: it holds messages that were never acknowledged");
        return Ok(());
    }
    sqlx::query(AssertSqlSafe(format!("TRUNCATE {table}")))
        .execute(&mut *transaction)
        .await
        .doing("emptying old rows")?;
    transaction.commit().await.doing("emptying old rows")
}
