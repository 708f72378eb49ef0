//! A part and its log belong together, from birth.

use anyhow::Result;
use daybook_engine::{Commit, DueAsk, DueRow, HistoryRow, Load, PARTITIONS, RowKey};
use daybook_events::Timestamp;
use daybook_store::{Error, Refusal, Settings, StartFrom, Store};
use sqlx::AssertSqlSafe;

use crate::bench::{Bench, fresh_log, id, log, next, of_partition, state};

fn refusal<T>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused"),
    }
}

#[tokio::test]
async fn a_part_remembers_the_log_it_was_born_with() -> Result<()> {
    let bench = Bench::new().await?;
    assert_eq!(bench.store.identity("enrollment-saga").await?, None);
    bench.part().await?;
    assert_eq!(bench.store.identity("enrollment-saga").await?, Some(fresh_log().identity()));

    let mut recreated = log(0, 5);
    recreated.data.id = "another".to_owned();
    let told = refusal(bench.store.prepare(&bench.spec, &recreated, None).await);
    assert!(matches!(told, Refusal::OtherTopic { .. }));
    let mut grown = log(0, 5);
    grown.control.offsets.push((0, 0));
    let told = refusal(bench.store.prepare(&bench.spec, &grown, None).await);
    assert!(matches!(told, Refusal::PartitionCount { .. }));
    assert!(bench.store.prepare(&bench.spec, &log(3, 5), None).await.is_ok(), "with rows, the log may be of any age");
    Ok(())
}

#[tokio::test]
async fn a_part_without_rows_on_a_written_log_is_told_where_to_begin() -> Result<()> {
    let bench = Bench::new().await?;
    let told = refusal(bench.store.prepare(&bench.spec, &log(2, 5), None).await);
    assert!(told.to_string().contains("--from"));
    assert_eq!(bench.store.identity("enrollment-saga").await?, None, "a refusal leaves nothing behind");
    let part = bench.store.prepare(&bench.spec, &log(2, 5), Some(StartFrom::Beginning)).await?;
    let claimed = part.claim(PARTITIONS - 1).await?.value;
    assert_eq!((claimed.next_data, claimed.next_control, claimed.accepts_first), (2, 2, true));
    Ok(())
}

#[tokio::test]
async fn a_database_of_another_version_is_refused() -> Result<()> {
    let bench = Bench::new().await?;
    bench.part().await?;
    let mut beside = bench.beside().await?;
    for (version, newer) in [(99, true), (0, false)] {
        let sql = format!("UPDATE {}enrollment_saga.schema_version SET version = {version}", bench.prefix);
        sqlx::query(AssertSqlSafe(sql)).execute(&mut beside).await?;
        let told = refusal(bench.store.prepare(&bench.spec, &fresh_log(), None).await);
        assert_eq!(matches!(told, Refusal::NewerDatabase { .. }), newer, "{told}");
        assert_eq!(matches!(told, Refusal::OlderDatabase { .. }), !newer, "{told}");
    }
    Ok(())
}

/// Takes the tables of version 2 back to version 1.
const BACK_TO_1: &str = "
    ALTER TABLE {}_g1.state DROP CONSTRAINT state_wakes_in_time, DROP COLUMN wake;
    CREATE INDEX state_due ON {}_g1.state (part, due, key, sub) WHERE due IS NOT NULL;
    ALTER TABLE {}_g1.history DROP CONSTRAINT history_pkey, ADD PRIMARY KEY (number);
    CREATE INDEX history_key ON {}_g1.history (key, number);
    UPDATE {}.schema_version SET version = 1;";

#[tokio::test]
async fn older_tables_are_brought_up_to_date_with_all_that_is_in_them() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let (due, key) = (Timestamp(1_767_225_600_123_456), RowKey::entity(id(1)));
    let claimed = part.claim(0).await?.value;
    let rows = vec![state(0, key, 1, Some(due))];
    let history = vec![HistoryRow { partition: 0, key: id(1), at: due, entry: "{}".to_owned() }];
    part.commit(&Commit { rows, history, ..of_partition(next(&claimed)) }).await.expect("committed");
    let back = BACK_TO_1.replace("{}", &format!("{}enrollment_saga", bench.prefix));
    sqlx::raw_sql(AssertSqlSafe(back)).execute(&mut bench.beside().await?).await?;

    assert_eq!(bench.store.identity("enrollment-saga").await?, Some(fresh_log().identity()));
    let part = bench.part().await?;
    assert_eq!(part.claim(0).await?.value.next_due, Some(due));
    let ask = DueAsk { partition: 0, until: due, after: None, limit: 2 };
    let loaded = part.load(&Load { due: vec![ask], ..Load::default() }).await.expect("loaded").value;
    assert_eq!(loaded.due, [DueRow { partition: 0, due, row: key }]);
    assert_eq!(bench.store.operator("enrollment-saga")?.history(id(1), 0).await?.len(), 1);
    bench.part().await?;
    Ok(())
}

#[tokio::test]
async fn partition_rows_that_are_missing_are_refused() -> Result<()> {
    let bench = Bench::new().await?;
    bench.part().await?;
    let sql = format!("DELETE FROM {}enrollment_saga.partition WHERE part = 4", bench.prefix);
    sqlx::query(AssertSqlSafe(sql)).execute(&mut bench.beside().await?).await?;
    let told = refusal(bench.store.prepare(&bench.spec, &fresh_log(), None).await);
    assert_eq!(told, Refusal::PartitionRows { part: "enrollment-saga".to_owned(), found: 7 });
    Ok(())
}

#[tokio::test]
async fn many_processes_may_start_at_once() -> Result<()> {
    let bench = Bench::new().await?;
    let starts = (0..6).map(async |_| -> Result<i64> {
        let store = Store::connect(bench.settings()).await?;
        Ok(store.prepare(&bench.spec, &fresh_log(), None).await?.claim(0).await?.value.version)
    });
    let mut versions: Vec<i64> = futures::future::try_join_all(starts).await?;
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    Ok(())
}

#[tokio::test]
async fn a_wrong_url_is_refused_without_being_shown() {
    let error = Store::connect(Settings::of("postgres://me:hunter2@[oops")).await.err().map(|error| error.to_string());
    assert!(error.as_ref().is_some_and(|text| !text.contains("hunter2")), "{error:?}");
    let away = Store::connect(Settings::of("postgres://me:hunter2@127.0.0.1:1/none")).await;
    let away = away.err().map(|error| error.to_string());
    assert!(away.as_ref().is_some_and(|text| !text.contains("hunter2")), "{away:?}");
    assert!(!format!("{:?}", Settings::of("postgres://me:hunter2@127.0.0.1/none")).contains("hunter2"));
}
