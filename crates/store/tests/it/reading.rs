//! What readers and operators see, and what they cannot do.

use anyhow::Result;
use bytes::Bytes;
use daybook_engine::{Commit, Held, Intent, IntentStatus, PARTITIONS, Parked, RowKey, StateRow, Thread};
use daybook_events::Timestamp;
use daybook_store::{Error, Param, ParkedFilter, SagaFilter};
use serde_json::json;

use crate::bench::{Bench, id, next, of_partition, raw, state};

fn sqlstate<T>(result: Result<T, Error>) -> Option<String> {
    result.err().and_then(|error| error.sqlstate().map(str::to_owned))
}

#[tokio::test]
async fn readers_bind_every_kind_of_value_and_get_at_most_a_page() -> Result<()> {
    let bench = Bench::new().await?;
    let reads = bench.store.reads().await?;
    let moment = Timestamp(1_767_225_600_123_456);
    let params = [
        Param::Uuid(Some(id(7))),
        Param::Text(Some("it's".to_owned())),
        Param::Bigint(Some(i64::MAX)),
        Param::Boolean(Some(true)),
        Param::Timestamp(Some(moment)),
        Param::Text(None),
    ];
    let rows = reads.rows("SELECT $1 AS a, $2 AS b, $3 AS c, $4 AS d, $5 AS e, $6 AS f", &params).await?;
    assert_eq!(
        rows,
        [json!({
            "a": id(7), "b": "it's", "c": i64::MAX, "d": true, "e": "2026-01-01T00:00:00.123456+00:00", "f": null
        })]
    );
    let too_many = reads.rows("SELECT generate_series(1, 1001)", &[]).await;
    assert!(matches!(too_many, Err(Error::TooManyRows { limit: 1_000 })));
    assert_eq!(reads.rows("SELECT generate_series(1, 1000)", &[]).await?.len(), 1_000);
    assert_eq!(sqlstate(reads.rows("SELECT pg_sleep(60)", &[]).await).as_deref(), Some("57014"));
    Ok(())
}

#[tokio::test]
async fn readers_can_neither_write_nor_see_what_is_not_public() -> Result<()> {
    let bench = Bench::new().await?;
    bench.part().await?;
    let reads = bench.store.reads().await?;
    let role = reads.rows("SELECT current_user::text AS role", &[]).await?;
    assert_eq!(role, [json!({"role": "daybook_read"})]);
    let schema = reads.rows("SELECT current_schema()::text AS name", &[]).await?;
    assert_eq!(schema, [json!({"name": format!("{}read", bench.prefix)})]);
    let secret: &'static str = format!("SELECT * FROM {}vault.data_key", bench.prefix).leak();
    assert_eq!(sqlstate(reads.rows(secret, &[]).await).as_deref(), Some("42501"));
    let write = "SELECT nextval('nothing'), lo_create(1)";
    assert!(reads.rows(write, &[]).await.is_err());
    Ok(())
}

#[tokio::test]
async fn applied_offsets_follow_each_commit() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let reads = bench.store.reads().await?;
    let mut partition = next(&part.claim(5).await?.value);
    (partition.next_data, partition.next_control) = (17, 3);
    part.commit(&of_partition(partition)).await.expect("committed");
    let mut expected = [(0, 0); PARTITIONS as usize];
    expected[5] = (17, 3);
    assert_eq!(reads.applied_offsets("enrollment-saga").await?, expected);
    assert_eq!(sqlstate(reads.applied_offsets("nobody").await).as_deref(), Some("42P01"));
    Ok(())
}

#[tokio::test]
async fn operators_see_what_is_parked_held_and_open() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(2).await?.value;
    let parked = |number: u128, code: &str, key: Option<&[u8]>| Parked {
        id: id(number),
        partition: 2,
        raw: raw(11, key),
        code: code.to_owned(),
        detail: String::new(),
        attempts: 1,
        parked_at: Timestamp(number as i64),
        blocks: true,
    };
    let intent = Intent {
        id: id(9),
        partition: 2,
        key: id(8),
        request: b"sealed".to_vec(),
        reply: None,
        thread: Thread { correlation_id: id(77), ..Thread::default() },
        created_at: Timestamp(5),
        status: IntentStatus::NeedsAttention,
        attempts: 3,
        code: None,
    };
    let commit = Commit {
        parked_put: vec![
            parked(1, "panic", Some(b"\xff")),
            parked(2, "no-such-id", None),
            parked(3, "panic", Some(b"z")),
        ],
        held_put: vec![Held { partition: 2, number: 1, raw: raw(12, Some(b"\xff")) }],
        intents_put: vec![intent],
        ..of_partition(next(&claimed))
    };
    part.commit(&commit).await.expect("committed");

    let operator = bench.store.operator("enrollment-saga")?;
    let ids = |views: Vec<daybook_store::ParkedView>| views.iter().map(|view| view.id).collect::<Vec<_>>();
    assert_eq!(ids(operator.parked(&ParkedFilter::default()).await?), [id(1), id(2), id(3)]);
    let panics = ParkedFilter { code: Some("panic".to_owned()), limit: 1, ..ParkedFilter::default() };
    assert_eq!(ids(operator.parked(&panics).await?), [id(1)]);
    let more = ParkedFilter { after: Some((Timestamp(1), id(1))), partition: Some(2), ..panics };
    assert_eq!(ids(operator.parked(&more).await?), [id(3)]);
    let one = serde_json::to_value(operator.parked_one(id(1)).await?)?;
    assert_eq!((&one["key"], &one["held_behind"], &one["value"]), (&json!("/w=="), &json!(1), &json!(null)));
    assert_eq!(one["header"], "AP9oZWFkZXI=");
    assert!(operator.parked_one(id(4)).await?.is_none());
    let intents = operator.intents().await?;
    assert_eq!((intents[0].id, intents[0].correlation_id, intents[0].attempts), (id(9), Some(id(77)), 3));
    let partitions = operator.partitions().await?;
    let view = &partitions[2];
    assert_eq!(partitions.len(), usize::from(PARTITIONS));
    assert_eq!((view.held, view.parked, view.intents, view.intents_needing_attention), (1, 3, 1, 1));
    Ok(())
}

#[tokio::test]
async fn operators_page_through_sagas() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(0).await?.value;
    let saga = |number: u128, status: &'static str| {
        let mut saga: StateRow = state(0, RowKey::entity(id(number)), 1, None);
        if let Some(row) = &mut saga.row {
            row.status = Some(status.into());
            row.body = Bytes::from_static(b"state");
        }
        saga
    };
    let rows =
        vec![saga(1, "running"), saga(2, "done"), saga(3, "stuck"), state(0, RowKey::part(id(3), id(1)), 1, None)];
    part.commit(&Commit { rows, ..of_partition(next(&claimed)) }).await.expect("committed");

    let operator = bench.store.operator("enrollment-saga")?;
    let keys = async |filter: SagaFilter| -> Result<Vec<u128>> {
        Ok(operator.sagas(&filter).await?.iter().map(|saga| saga.key.as_u128()).collect())
    };
    assert_eq!(keys(SagaFilter::default()).await?, [1, 2, 3]);
    assert_eq!(keys(SagaFilter { open_only: true, ..SagaFilter::default() }).await?, [1, 3]);
    assert_eq!(keys(SagaFilter { status: Some("stuck".to_owned()), ..SagaFilter::default() }).await?, [3]);
    assert_eq!(keys(SagaFilter { after: Some(id(1)), limit: 1, ..SagaFilter::default() }).await?, [2]);
    let found = operator.saga_state(id(2)).await?;
    assert_eq!(found.map(|(saga, body)| (saga.status, body)), Some((Some("done".to_owned()), b"state".to_vec())));
    assert_eq!(operator.saga_state(id(9)).await?, None);
    Ok(())
}
