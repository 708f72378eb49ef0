//! What goes wrong is told apart: the data's fault, worth another try, or not known.

use anyhow::{Result, ensure};
use daybook_engine::{Commit, CommitError, HistoryRow, Load, Parked, RowKey};
use daybook_events::Timestamp;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::bench::{Bench, id, next, of_partition, raw, state};

/// How often we look whether a backend waits, before giving up.
const LOOKS: u32 = 100_000;

fn sqlstate(result: Result<impl Sized, CommitError>) -> String {
    match result {
        Err(CommitError::Data { sqlstate }) => sqlstate,
        Err(other) => panic!("expected the data's fault, got {other:?}"),
        Ok(_) => panic!("expected the data's fault, got a commit"),
    }
}

#[tokio::test]
async fn data_that_cannot_be_stored_is_the_datas_fault_and_leaves_nothing() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(0).await?.value;
    let of = |commit: Commit| Commit {
        rows: vec![state(0, RowKey::entity(id(1)), 1, None)],
        partitions: vec![next(&claimed)],
        ..commit
    };
    let history = |entry: &str| Commit {
        history: vec![HistoryRow { partition: 0, key: id(1), at: Timestamp(0), entry: entry.to_owned() }],
        ..Commit::default()
    };
    let parked = |detail: &str, parked_at| Commit {
        parked_put: vec![Parked {
            id: id(1),
            partition: 0,
            raw: raw(1, None),
            code: "panic".to_owned(),
            detail: detail.to_owned(),
            attempts: 1,
            parked_at,
            blocks: true,
        }],
        ..Commit::default()
    };
    assert_eq!(sqlstate(part.commit(&of(parked("a\0b", Timestamp(0)))).await), "22021", "a NUL in a text");
    assert_eq!(sqlstate(part.commit(&of(history(r#"{"name":"a\u0000b"}"#))).await), "22P05", "a NUL in JSON");
    assert_eq!(sqlstate(part.commit(&of(history("{"))).await), "22P02", "not JSON");
    let ancient = of(parked("", Timestamp(-300_000_000_000_000_000)));
    assert_eq!(sqlstate(part.commit(&ancient).await), "22008", "a time before the calendar");
    let before = of(parked("", Timestamp(i64::MIN)));
    assert_eq!(sqlstate(part.commit(&before).await), "22000", "a time that has no form at all");
    let mut negative = next(&claimed);
    negative.out_seq = u64::MAX;
    assert_eq!(sqlstate(part.commit(&of_partition(negative)).await), "22000", "a number beyond 63 bits");

    let load = Load { rows: vec![(0, RowKey::entity(id(1)))], ..Load::default() };
    assert!(part.load(&load).await.expect("loaded").value.rows.is_empty());
    assert!(part.commit(&of(Commit::default())).await.is_ok(), "the version was not raised, the connection is good");
    Ok(())
}

#[tokio::test]
async fn a_backend_killed_in_mid_commit_leaves_it_open_and_the_claim_tells() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(0).await?.value;
    let mut partition = next(&claimed);
    partition.next_data = 5;
    let commit = Commit { rows: vec![state(0, RowKey::entity(id(1)), 1, None)], ..of_partition(partition) };

    let mut holder = bench.beside().await?;
    let mut lock = holder.begin().await?;
    let sql = format!("SELECT 1 FROM {}enrollment_saga.partition WHERE part = 0 FOR UPDATE", bench.prefix);
    sqlx::query(AssertSqlSafe(sql)).execute(&mut *lock).await?;
    let mut killer = bench.beside().await?;
    let (outcome, killed) = futures::join!(part.commit(&commit), kill_waiting(&mut killer, &bench.prefix));
    killed?;
    assert_eq!(outcome.err(), Some(CommitError::Unknown));
    lock.rollback().await?;

    let found = part.claim(0).await?.value;
    let load = Load { rows: vec![(0, RowKey::entity(id(1)))], ..Load::default() };
    let rows = part.load(&load).await.expect("a new connection").value.rows.len();
    assert_eq!((found.next_data, rows), (0, 0), "here it was rolled back, and whole");
    let mut again = commit.clone();
    again.partitions[0].version = found.version;
    assert!(part.commit(&again).await.is_ok());
    Ok(())
}

/// Ends the backend that waits for a lock in a commit of this bench.
async fn kill_waiting(connection: &mut PgConnection, prefix: &str) -> Result<()> {
    for _ in 0..LOOKS {
        let killed: Option<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE wait_event_type = 'Lock' AND query LIKE '%' || $1 || 'enrollment_saga.commit_batch%'
                 AND pid <> pg_backend_pid()",
        )
        .bind(prefix)
        .fetch_optional(&mut *connection)
        .await?;
        if killed.is_some() {
            return Ok(());
        }
    }
    anyhow::bail!("no commit was seen waiting")
}

#[tokio::test]
async fn an_idle_connection_that_was_cut_heals_and_loses_nothing() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(0).await?.value;
    let load = Load { rows: vec![(0, RowKey::entity(id(1)))], ..Load::default() };
    assert!(part.load(&load).await.is_ok());
    let mut killer = bench.beside().await?;
    let killed = sqlx::query(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
           WHERE state = 'idle' AND query LIKE '%' || $1 || 'enrollment_saga_g1.state%' AND pid <> pg_backend_pid()",
    )
    .bind(&bench.prefix)
    .execute(&mut killer)
    .await?;
    ensure!(killed.rows_affected() > 0, "nothing was there to be killed");
    let first = part.commit(&of_partition(next(&claimed))).await;
    assert!(matches!(first, Err(CommitError::Unknown | CommitError::Retry { .. })), "{first:?}");
    let found = part.claim(0).await?.value;
    assert!(part.commit(&of_partition(next(&found))).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_lock_that_does_not_come_and_a_database_that_is_away_are_worth_another_try() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(0).await?.value;
    let mut holder = bench.beside().await?;
    let mut lock = holder.begin().await?;
    let sql = format!("SELECT 1 FROM {}enrollment_saga.partition WHERE part = 0 FOR UPDATE", bench.prefix);
    sqlx::query(AssertSqlSafe(sql)).execute(&mut *lock).await?;
    let commit = of_partition(next(&claimed));
    let (waited, claim) = futures::join!(part.commit(&commit), part.claim(0));
    assert_eq!(waited.err(), Some(CommitError::Retry { sqlstate: "55P03".to_owned() }));
    assert_eq!(claim.err().as_ref().and_then(|error| error.sqlstate()), Some("55P03"));
    lock.rollback().await?;
    assert!(part.commit(&commit).await.is_ok());
    Ok(())
}
