//! Parts that start, end, are killed and are refused.

use daybook_driver::Error;
use tokio::time::timeout;
use uuid::Uuid;

use crate::counter::{Counter, INPUT, OUTPUT};
use crate::support::{Bench, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_counted_once_across_restarts() {
    let bench = Bench::new().await;
    let running = bench.run();
    bench.send(0..1_000).await;
    bench.expect_counts(1_000).await;
    running.end().await;
    bench.send(1_000..1_500).await;
    let running = bench.run();
    bench.expect_counts(1_500).await;
    running.end().await;
    let text = bench.metrics.render().unwrap();
    assert!(text.contains("daybook_applied_total{part=\"counter\"}"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_counted_once_when_members_come_go_and_are_killed() {
    let bench = Bench::new().await;
    let first = bench.run();
    bench.send(0..2_000).await;
    let second = bench.run();
    bench.send(2_000..4_000).await;
    first.kill().await;
    bench.send(4_000..5_000).await;
    let third = bench.run();
    bench.send(5_000..6_000).await;
    second.end().await;
    bench.expect_counts(6_000).await;
    third.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_panics_is_parked_and_the_rest_flows() {
    let bench = Bench::new().await;
    let running = bench.run();
    let stranger = |number| Uuid::from_u128(number);
    bench.send_raw(INPUT, stranger(1), b"not framed".to_vec()).await;
    bench.send_raw(INPUT, stranger(2), [0, 0x3b, 0x9a, 0xc9, 0xff, 1].to_vec()).await;
    bench.send(0..100).await;
    bench.expect_counts(100).await;
    running.end().await;
    let parked =
        bench.store.operator("counter").unwrap().parked(&daybook_store::ParkedFilter::default()).await.unwrap();
    assert_eq!(parked.len(), 2, "{parked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_behind_the_book_is_refused_with_the_cure() {
    let bench = Bench::new().await;
    let running = bench.run();
    bench.send(0..100).await;
    bench.expect_counts(100).await;
    running.end().await;
    bench.sql(&format!("UPDATE {}counter.partition SET out_seq = 0, published_seq = 0", bench.schema_prefix));
    let refused = timeout(PATIENCE, bench.run().task).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(refused, Error::DatabaseBehind { .. }), "{refused}");
    assert!(refused.to_string().contains("daybook recover counter"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_part_on_written_topics_must_be_told_where_to_begin() {
    let bench = Bench::new().await;
    bench.send(0..10).await;
    let refused =
        timeout(PATIENCE, bench.run_leaf(Counter::new(), None, None).task).await.unwrap().unwrap().unwrap_err();
    assert!(refused.to_string().contains("--from beginning"), "{refused}");
    assert!(!refused.is_passing());
    assert_eq!(bench.log.admin().ends(OUTPUT, 0).await.unwrap().end, 0);
}
