//! Reading a topic from somewhere.

use daybook_events::Timestamp;
use daybook_log::{Log, Start};

use crate::support::{DATA, is_known, known_schema, log, outgoing, publish, within};

async fn seqs(log: &Log, start: Start) -> Vec<i64> {
    let mut tail = log.tail(DATA, start, false).await.unwrap();
    let mut found = Vec::new();
    while let Some(record) = within(tail.next()).await.unwrap() {
        assert!(is_known(&record));
        found.push(record.offset);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_read_from_where_it_is_asked_to_its_end() {
    let log = log().await;
    let schema = known_schema(&log).await;
    let sent = (0..10)
        .map(|seq| {
            let mut message = outgoing(DATA, seq + 1, schema);
            message.time = Timestamp(1_700_000_000_000_000).plus_seconds(i64::try_from(seq).unwrap());
            message
        })
        .collect();
    publish(&mut log.publisher("courses"), sent).await;
    assert_eq!(seqs(&log, Start::Beginning).await, (0..10).collect::<Vec<_>>());
    assert_eq!(seqs(&log, Start::Last(3)).await, [7, 8, 9]);
    assert_eq!(seqs(&log, Start::End).await, Vec::<i64>::new());
    let since = Start::Time(Timestamp(1_700_000_000_000_000).plus_seconds(8));
    assert_eq!(seqs(&log, since).await, [8, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_told() {
    let log = log().await;
    assert!(log.tail("no.such.topic", Start::Beginning, false).await.is_err());
}
