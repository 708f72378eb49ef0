//! Two processes of one part.

use daybook_engine::Stream;
use daybook_log::{Fetched, Fetcher};

use crate::support::{CONTROL, DATA, join, known_schema, log, outgoing, publish, records, within};

/// Waits until the group asks for partitions back.
async fn asked_back(fetcher: &mut Fetcher) -> Vec<u16> {
    loop {
        if let Fetched::Revoked(partitions) = within(fetcher.next()).await.unwrap() {
            return partitions;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_partition_moves_only_after_it_is_released() {
    let log = log().await;
    let schema = known_schema(&log).await;
    let mut first = log.fetcher("courses", DATA, CONTROL).unwrap();
    for partition in join(&mut first).await {
        first.fetch(partition, u64::from(partition), 0, 0).unwrap();
    }
    let mut second = log.fetcher("courses", DATA, CONTROL).unwrap();
    second.join().unwrap();

    let revoked = tokio::select! {
        revoked = asked_back(&mut first) => revoked,
        early = second.next() => panic!("given before it was released: {early:?}"),
    };
    assert_eq!(revoked.len(), 4);
    let (last, others) = revoked.split_last().unwrap();
    for partition in others {
        first.forget(*partition).unwrap();
        first.release(*partition).unwrap();
    }
    first.release(*last).unwrap();

    let mut assigned = within(async {
        loop {
            tokio::select! {
                given = second.next() => {
                    if let Fetched::Assigned(partitions) = given.unwrap() {
                        return partitions;
                    }
                }
                kept = first.next() => drop(kept.unwrap()),
            }
        }
    })
    .await;
    assigned.sort_unstable();
    assert_eq!(assigned, revoked);

    // Both fetch what is theirs, the first also what it had fetched before.
    let kept = (0..8).find(|partition| !revoked.contains(partition)).unwrap();
    let mut publisher = log.publisher("courses");
    for (seq, partition) in [(1, kept), (2, *last)] {
        let mut message = outgoing(DATA, seq, schema);
        message.partition = partition;
        publish(&mut publisher, vec![message]).await;
    }
    second.fetch(*last, 99, 0, 0).unwrap();
    let (of_first, of_second) =
        tokio::join!(records(&mut first, Stream::Data, 1), records(&mut second, Stream::Data, 1));
    assert_eq!((of_first[0].0, of_first[0].1.partition), (u64::from(kept), kept));
    assert_eq!((of_second[0].0, of_second[0].1.partition), (99, *last));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_leaves_hands_over_at_once() {
    let log = log().await;
    let mut first = log.fetcher("courses", DATA, CONTROL).unwrap();
    for partition in join(&mut first).await {
        first.fetch(partition, 1, 0, 0).unwrap();
    }
    within(first.close()).await;
    let mut second = log.fetcher("courses", DATA, CONTROL).unwrap();
    assert_eq!(join(&mut second).await.len(), 8);
}
