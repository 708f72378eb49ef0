//! How many connections a part takes.

use anyhow::{Result, bail};
use daybook_store::{Settings, Store};
use futures::future::join_all;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::bench::{Bench, fresh_log, next, of_partition};

/// How often we look for commits that wait, before giving up.
const LOOKS: u32 = 100_000;

#[tokio::test]
async fn a_part_stores_batches_at_a_time_as_far_as_there_are_connections_to_spare() -> Result<()> {
    for spare in 0..2 {
        let bench = Bench::new().await?;
        let store = Store::connect(Settings { spare_connections: spare, ..bench.settings() }).await?;
        let part = store.prepare(&bench.spec, &fresh_log(), None).await?;
        let mut commits = Vec::new();
        for partition in 0..3 {
            commits.push(of_partition(next(&part.claim(partition).await?.value)));
        }
        let (mut holder, mut looking) = (bench.beside().await?, bench.beside().await?);
        let mut lock = holder.begin().await?;
        let sql = format!("SELECT 1 FROM {}enrollment_saga.partition WHERE part < 3 FOR UPDATE", bench.prefix);
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *lock).await?;
        let at_a_time = i64::from(spare) + 1;
        let release = async {
            until_there_are(&mut looking, &bench.prefix, "Lock", at_a_time).await?;
            anyhow::Ok(lock.rollback().await?)
        };
        let (stored, released) = futures::join!(join_all(commits.iter().map(|commit| part.commit(commit))), release);
        released?;
        assert!(stored.iter().all(Result::is_ok), "{stored:?}");
        assert_eq!(committing(&mut looking, &bench.prefix, "%").await?, at_a_time, "none beside those");
        part.maintain().await?;
        until_there_are(&mut looking, &bench.prefix, "%", 1).await?;
    }
    Ok(())
}

async fn until_there_are(connection: &mut PgConnection, prefix: &str, waits_for: &str, count: i64) -> Result<()> {
    for _ in 0..LOOKS {
        if committing(connection, prefix, waits_for).await? == count {
            return Ok(());
        }
    }
    bail!("{count} were not seen that wait for {waits_for}")
}

/// Connections whose last statement was a commit of this bench, and that wait for something like this.
async fn committing(connection: &mut PgConnection, prefix: &str, waits_for: &str) -> Result<i64> {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
           WHERE coalesce(wait_event_type, '') LIKE $2 AND query LIKE '%' || $1 || 'enrollment_saga.commit_batch%'
             AND pid <> pg_backend_pid()",
    );
    Ok(count.bind(prefix).bind(waits_for).fetch_one(connection).await?)
}
