//! Housekeeping forgets what is old enough, and nothing else.

use anyhow::Result;
use daybook_engine::{Applied, Commit, OutboxRow};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::bench::{Bench, id, next, of_partition};

async fn count(connection: &mut PgConnection, table: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}"))).fetch_one(connection).await?)
}

/// Moves all rows of a ring as many slots into the past.
async fn age(connection: &mut PgConnection, table: &str, slots: i32, length: i32) -> Result<()> {
    let sql = format!("UPDATE {table} SET slot = (slot + {length} - {slots}) % {length}");
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

#[tokio::test]
async fn published_batches_go_after_a_day_and_commands_after_two_weeks() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let mut beside = bench.beside().await?;
    let (outbox, applied) =
        (format!("{}enrollment_saga.outbox", bench.prefix), format!("{}enrollment_saga.applied", bench.prefix));
    let mut partition = next(&part.claim(0).await?.value);
    (partition.out_seq, partition.published_seq) = (2, 1);
    let batch = |seq| OutboxRow { partition: 0, first_seq: seq, last_seq: seq, messages: Default::default() };
    let commit = Commit {
        outbox: vec![batch(1), batch(2)],
        applied_put: vec![Applied { id: id(1), request_hash: None, closing: None }],
        ..of_partition(partition)
    };
    part.commit(&commit).await.expect("committed");
    part.maintain().await?;
    assert_eq!((count(&mut beside, &outbox).await?, count(&mut beside, &applied).await?), (2, 1), "nothing is old");

    age(&mut beside, &outbox, 13, 16).await?;
    age(&mut beside, &applied, 15, 17).await?;
    part.maintain().await?;
    assert_eq!(count(&mut beside, &applied).await?, 0);
    assert_eq!(count(&mut beside, &outbox).await?, 2, "one of them was never acknowledged");

    let mut partition = next(&part.claim(0).await?.value);
    partition.published_seq = 2;
    part.commit(&of_partition(partition)).await.expect("committed");
    part.maintain().await?;
    assert_eq!(count(&mut beside, &outbox).await?, 0);
    Ok(())
}

#[tokio::test]
async fn messages_are_stored_without_an_attempt_to_compress_them() -> Result<()> {
    let bench = Bench::new().await?;
    bench.part().await?;
    let external: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
           WHERE c.relnamespace = to_regnamespace($1) AND c.relname ~ '^outbox_[0-9]+$'
             AND a.attname = 'messages' AND a.attstorage = 'e'",
    )
    .bind(format!("{}enrollment_saga", bench.prefix))
    .fetch_one(&mut bench.beside().await?)
    .await?;
    assert_eq!(external, 16);
    Ok(())
}
