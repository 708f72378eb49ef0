//! What a part fetches.

use daybook_engine::{SchemaLookup, Stream};
use daybook_log::{Committed, Fetched, Log, Refusal, Settings, Witness};

use crate::support::{
    CONTROL, DATA, NO_SUCH_ID, is_known, join, known_schema, log, log_with, offsets, outgoing, publish, records,
    settings, within,
};

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_as_they_were_published_on_both_streams() {
    let log = log().await;
    let schema = known_schema(&log).await;
    let mut publisher = log.publisher("courses");
    let sent: Vec<_> = (1..=300).map(|seq| outgoing(DATA, seq, schema)).collect();
    publish(&mut publisher, sent.clone()).await;
    publish(&mut publisher, vec![outgoing(CONTROL, 1, schema)]).await;

    let mut fetcher = log.fetcher("courses", DATA, CONTROL).unwrap();
    assert_eq!(join(&mut fetcher).await, (0..8).collect::<Vec<u16>>());
    fetcher.fetch(5, 41, 0, 0).unwrap();
    let mut data = Vec::new();
    let mut control = 0;
    while data.len() < 300 || control < 1 {
        match within(fetcher.next()).await.unwrap() {
            Fetched::Records { partition, stream, token, records } => {
                assert_eq!((partition, token), (5, 41));
                match stream {
                    Stream::Data => data.extend(records),
                    Stream::Control => control += records.len(),
                }
            }
            // A machine that stands still for longer than a session loses its partitions, and begins anew.
            Fetched::Revoked(partitions) => partitions.into_iter().for_each(|gone| fetcher.release(gone).unwrap()),
            Fetched::Lost(_) => {}
            Fetched::Assigned(_) => {
                (data, control) = (Vec::new(), 0);
                fetcher.fetch(5, 41, 0, 0).unwrap();
            }
        }
    }
    for (offset, (record, sent)) in data.iter().zip(&sent).enumerate() {
        assert_eq!(record.offset, i64::try_from(offset).unwrap());
        assert_eq!(record.key.as_ref(), Some(&sent.key));
        assert_eq!(record.header.as_ref(), Some(&sent.header));
        assert_eq!(record.value.as_ref(), Some(&sent.value));
        assert_eq!(record.time, sent.time);
        assert!(is_known(record));
    }
    within(fetcher.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_fetch_of_a_partition_begins_where_it_says_under_its_own_token() {
    let log = log().await;
    let schema = known_schema(&log).await;
    let sent = (1..=100).map(|seq| outgoing(DATA, seq, schema)).collect();
    publish(&mut log.publisher("courses"), sent).await;
    let mut fetcher = log.fetcher("courses", DATA, CONTROL).unwrap();
    join(&mut fetcher).await;
    fetcher.fetch(5, 1, 0, 0).unwrap();
    records(&mut fetcher, Stream::Data, 1).await;
    fetcher.fetch(5, 2, 90, 0).unwrap();
    let again = records(&mut fetcher, Stream::Data, 10).await;
    assert!(again.iter().all(|(token, _)| *token == 2), "{again:?}");
    assert_eq!(offsets(&again), (90..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_partition_goes_on_without_a_gap_and_without_a_repetition() {
    let log = log().await;
    let schema = known_schema(&log).await;
    let mut publisher = log.publisher("courses");
    publish(&mut publisher, (1..=5_000).map(|seq| outgoing(DATA, seq, schema)).collect()).await;
    let mut fetcher = log.fetcher("courses", DATA, CONTROL).unwrap();
    join(&mut fetcher).await;
    fetcher.fetch(5, 1, 0, 0).unwrap();
    let mut found = Vec::new();
    while found.len() < 5_000 {
        let Fetched::Records { records, .. } = within(fetcher.next()).await.unwrap() else {
            continue;
        };
        found.extend(records.iter().map(|record| record.offset));
        fetcher.pause(5, Stream::Data).unwrap();
        fetcher.pause(5, Stream::Data).unwrap();
        fetcher.resume(5, Stream::Data).unwrap();
    }
    assert_eq!(found, (0..5_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_schema_id_reaches_the_engine_in_its_place() {
    let log = log().await;
    let schema = known_schema(&log).await;
    let ids = [schema, NO_SUCH_ID, schema, NO_SUCH_ID - 1, NO_SUCH_ID, schema];
    let sent = (1..).zip(ids).map(|(seq, id)| outgoing(DATA, seq, id)).collect();
    publish(&mut log.publisher("courses"), sent).await;
    // A process that has learned nothing yet.
    let log = Log::open(log.settings().clone()).unwrap();
    let mut fetcher = log.fetcher("courses", DATA, CONTROL).unwrap();
    join(&mut fetcher).await;
    fetcher.fetch(5, 1, 0, 0).unwrap();
    let found = records(&mut fetcher, Stream::Data, ids.len()).await;
    assert_eq!(offsets(&found), [0, 1, 2, 3, 4, 5]);
    for ((_, record), id) in found.iter().zip(ids) {
        match &record.schema {
            SchemaLookup::Known(writer) => assert_eq!(writer.id(), id),
            SchemaLookup::NoSuchId(unknown) => assert_eq!(*unknown, id),
            SchemaLookup::Unframed => panic!("{record:?}"),
        }
        assert_eq!(is_known(record), id == schema);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_registry_holds_a_partition_and_no_other() {
    let log = log().await;
    let schema = known_schema(&log).await;
    let mut unframed = outgoing(DATA, 2, schema);
    unframed.partition = 6;
    unframed.value = bytes::Bytes::from_static(b"{}");
    let sent = vec![outgoing(DATA, 1, schema), unframed];
    publish(&mut log.publisher("courses"), sent).await;
    let unreachable = Settings { registry: "http://127.0.0.1:1".to_owned(), ..log.settings().clone() };
    let log = Log::open(unreachable).unwrap();
    let mut fetcher = log.fetcher("courses", DATA, CONTROL).unwrap();
    join(&mut fetcher).await;
    fetcher.fetch(5, 1, 0, 0).unwrap();
    fetcher.fetch(6, 2, 0, 0).unwrap();
    let found = records(&mut fetcher, Stream::Data, 1).await;
    assert_eq!((found[0].0, found[0].1.partition), (2, 6));
    assert!(matches!(found[0].1.schema, SchemaLookup::Unframed));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_the_log_does_not_have_is_refused_with_the_cure() {
    let log = log().await;
    let mut fetcher = log.fetcher("courses", DATA, CONTROL).unwrap();
    join(&mut fetcher).await;
    fetcher.fetch(5, 1, 1_000, 0).unwrap();
    let refusal = within(fetcher.next()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::OffsetsGone { .. }), "{refusal}");
    assert!(refusal.to_string().contains("daybook recover"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_witness_is_found_again() {
    let log = log().await;
    let mut fetcher = log.fetcher("courses", DATA, CONTROL).unwrap();
    assert_eq!(fetcher.committed(&[5, 6]).await.unwrap(), []);
    join(&mut fetcher).await;
    let witness = Some(Witness { incarnation: 1, out_seq: 77 });
    let offset = Committed { partition: 5, next: 12, witness, waits: true };
    fetcher.commit(offset);
    within(fetcher.close()).await;
    let fetcher = log.fetcher("courses", DATA, CONTROL).unwrap();
    assert_eq!(fetcher.committed(&[5, 6]).await.unwrap(), [offset]);
    // Anybody may ask.
    assert_eq!(log.admin().committed("courses", DATA, 5).await.unwrap(), Some(offset));
    assert_eq!(log.admin().committed("courses", DATA, 6).await.unwrap(), None);
    assert_eq!(log.admin().committed("nobody", DATA, 5).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_one_instance_name_are_told() {
    let settings = Settings { instance: Some("one".to_owned()), ..settings() };
    let log = log_with(settings).await;
    let mut first = log.fetcher("courses", DATA, CONTROL).unwrap();
    join(&mut first).await;
    let second = log.fetcher("courses", DATA, CONTROL).unwrap();
    second.join().unwrap();
    let refusal = within(first.next()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::InstanceTaken { .. }), "{refusal}");
}
