//! A database that is restored to an earlier time is refused, recovered, and goes on as if nothing had happened.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daybook_driver::{Error, RecoveryTask, recover_part};
use daybook_engine::{Leaf, Performance, Performed, Performer, Recovered};
use tokio::time::timeout;

use crate::counter::{Counter, OUTPUT};
use crate::support::{Bench, PATIENCE, Running};

async fn recover(bench: &Bench, leaf: Counter, dry_run: bool) -> Result<Vec<Recovered>, Error> {
    let leaf: Arc<dyn Leaf> = Arc::new(leaf);
    let topics = [OUTPUT.to_owned()];
    recover_part(&RecoveryTask { leaf, topics: &topics, dry_run }, &bench.log, &bench.store).await
}

async fn expect_refused(running: Running) {
    let refused = timeout(PATIENCE, running.task).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(refused, Error::DatabaseBehind { .. }), "{refused}");
}

fn reproduced(recovered: &[Recovered]) -> u64 {
    recovered.iter().map(|partition| partition.reproduced).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_since_the_copy_is_arrived_at_again() {
    let bench = Bench::new().await;
    let running = bench.run();
    bench.send(0..300).await;
    bench.expect_counts(300).await;
    running.end().await;
    let copy = bench.copy();
    let running = bench.run();
    bench.send(300..900).await;
    bench.expect_counts(900).await;
    running.end().await;
    bench.restore(&copy);
    expect_refused(bench.run()).await;

    let rehearsed = recover(&bench, Counter::new(), true).await.unwrap();
    assert_eq!(reproduced(&rehearsed), 600);
    expect_refused(bench.run()).await;
    let recovered = recover(&bench, Counter::new(), false).await.unwrap();
    assert_eq!(reproduced(&recovered), 600, "{recovered:?}");
    assert!(recover(&bench, Counter::new(), false).await.unwrap().is_empty());

    let running = bench.run();
    bench.send(900..1_000).await;
    bench.expect_counts(1_000).await;
    running.end().await;
}

/// Answers every call.
#[derive(Default)]
struct Obliging {
    calls: AtomicU64,
}

impl Performer for Obliging {
    fn perform(&self, _: Performance) -> Pin<Box<dyn Future<Output = Performed> + Send>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Performed::Answered(b"done".to_vec()) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_the_book_tells_the_outcome_of_is_not_made_again() {
    let bench = Bench::new().await;
    let obliging = Arc::new(Obliging::default());
    let run = || {
        let performer: Arc<dyn Performer> = Arc::clone(&obliging) as _;
        bench.run_leaf(Counter::acting(), Some(performer), Some(daybook_store::StartFrom::Beginning))
    };
    let running = run();
    bench.send(0..20).await;
    bench.expect_counts(20).await;
    running.end().await;
    let copy = bench.copy();
    let running = run();
    bench.send(20..60).await;
    bench.expect_counts(60).await;
    running.end().await;
    bench.restore(&copy);

    let recovered = recover(&bench, Counter::acting(), false).await.unwrap();
    assert_eq!(reproduced(&recovered), 80, "{recovered:?}");
    let running = run();
    bench.send(60..70).await;
    bench.expect_counts(70).await;
    running.end().await;
    assert_eq!(obliging.calls.load(Ordering::Relaxed), 70, "one call for each message");
}
