//! Rows of projections: each column by its own rule, in any order of arrival.

use anyhow::Result;
use daybook_engine::{Commit, CommitError, PartKind, TableChanges};
use daybook_store::{Error, PartStore, Refusal};
use serde_json::{Value, json};

use crate::bench::{Bench, balance_table, fresh_log, next, spec};

const OWNER: &str = "00000000-0000-0000-0000-000000000007";

async fn projection() -> Result<(Bench, PartStore)> {
    let mut bench = Bench::new().await?;
    bench.spec = spec("balances", PartKind::Projection);
    bench.spec.tables = vec![balance_table()];
    let part = bench.part().await?;
    Ok((bench, part))
}

fn changes(table: &'static str, upserts: Value, deletes: Value) -> TableChanges {
    let rows = |rows: Value| serde_json::from_value(rows).expect("objects");
    TableChanges { table, upserts: rows(upserts), deletes: rows(deletes) }
}

async fn commit(part: &PartStore, tables: Vec<TableChanges>) -> Result<(), CommitError> {
    let claimed = part.claim(0).await.expect("claimed").value;
    part.commit(&Commit { partitions: vec![next(&claimed)], tables, ..Commit::default() }).await.map(|_| ())
}

#[tokio::test]
async fn each_column_is_folded_by_its_rule_and_null_leaves_it() -> Result<()> {
    let (bench, part) = projection().await?;
    let first = json!([{
        "owner": OWNER, "currency": "EUR", "label": "one", "first_label": "one", "total": 5, "least": 5,
        "latest": "2026-01-01T00:00:00.123456Z", "hash": "00ff", "order": {"a": 1}
    }]);
    let second = json!([{
        "owner": OWNER, "currency": "EUR", "label": "two", "first_label": "two", "total": -2, "least": 9,
        "latest": "2025-01-01T00:00:00Z"
    }, {"owner": OWNER, "currency": "USD", "total": 1}]);
    let third =
        json!([{"owner": OWNER, "currency": "EUR", "label": null}, {"owner": OWNER, "currency": "USD", "least": 3}]);
    for upserts in [first, second, third] {
        commit(&part, vec![changes("balance", upserts, json!([]))]).await.expect("committed");
    }

    let rows = bench.store.reads().await?.rows("SELECT * FROM balance ORDER BY currency", &[]).await?;
    let euro = json!({
        "owner": OWNER, "currency": "EUR", "label": "two", "first_label": "one", "total": 3, "least": 5,
        "latest": "2026-01-01T00:00:00.123456+00:00", "hash": "\\x00ff", "order": {"a": 1}
    });
    let dollar = json!({
        "owner": OWNER, "currency": "USD", "label": null, "first_label": null, "total": 1, "least": 3,
        "latest": null, "hash": null, "order": null
    });
    assert_eq!(rows, [euro, dollar]);
    Ok(())
}

#[tokio::test]
async fn deleted_rows_are_gone_and_others_stay() -> Result<()> {
    let (bench, part) = projection().await?;
    let key = |currency: &str| json!({"owner": OWNER, "currency": currency});
    commit(&part, vec![changes("balance", json!([key("EUR"), key("USD")]), json!([]))]).await.expect("committed");
    commit(&part, vec![changes("balance", json!([]), json!([key("EUR")]))]).await.expect("committed");
    let rows = bench.store.reads().await?.rows("SELECT currency FROM balance", &[]).await?;
    assert_eq!(rows, [json!({"currency": "USD"})]);
    Ok(())
}

#[tokio::test]
async fn what_does_not_fit_a_column_or_a_declared_table_is_the_datas_fault() -> Result<()> {
    let (bench, part) = projection().await?;
    let data = |sqlstate: &str| Err(CommitError::Data { sqlstate: sqlstate.to_owned() });
    let row = |total: Value| json!([{"owner": OWNER, "currency": "EUR", "total": total}]);
    let most = i64::MAX;
    let checked = commit(&part, vec![changes("balance", row(json!(-999)), json!([]))]).await;
    assert_eq!(checked, data("23514"), "a check of the table");
    commit(&part, vec![changes("balance", row(json!(most)), json!([]))]).await.expect("committed");
    assert_eq!(commit(&part, vec![changes("balance", row(json!(1)), json!([]))]).await, data("22003"), "an overflow");
    assert_eq!(commit(&part, vec![changes("balance", row(json!("x")), json!([]))]).await, data("22P02"));
    assert_eq!(
        commit(&part, vec![changes("balance", json!([{"total": 1}]), json!([]))]).await,
        data("23502"),
        "no key"
    );
    assert_eq!(commit(&part, vec![changes("other", row(json!(1)), json!([]))]).await, data("42P01"));
    let rows = bench.store.reads().await?.rows("SELECT total FROM balance", &[]).await?;
    assert_eq!(rows, [json!({"total": most})]);
    Ok(())
}

#[tokio::test]
async fn tables_declared_otherwise_want_a_rebuild_and_a_taken_name_another() -> Result<()> {
    let (mut bench, _part) = projection().await?;
    assert!(bench.part().await.is_ok(), "the same declaration starts again");
    let mut other = bench.spec.clone();
    other.name = "other-balances";
    let taken = bench.store.prepare(&other, &fresh_log(), None).await.err();
    assert!(matches!(taken, Some(Error::Refused(Refusal::TableTaken { .. }))), "{taken:?}");

    bench.spec.tables[0].columns.pop();
    let changed = bench.store.prepare(&bench.spec, &fresh_log(), None).await.err();
    let Some(Error::Refused(refusal @ Refusal::TablesChanged { .. })) = changed else { panic!("{changed:?}") };
    assert!(refusal.to_string().contains("daybook rebuild balances"));
    Ok(())
}
