//! Parts that act on the outside world.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daybook_engine::{Performance, Performed, Performer};

use daybook_store::StartFrom;

use crate::counter::Counter;
use crate::support::Bench;

/// Fails in every way in turn, and answers every fifth call.
#[derive(Default)]
struct Moody {
    calls: AtomicU64,
}

impl Performer for Moody {
    fn perform(&self, _: Performance) -> Pin<Box<dyn Future<Output = Performed> + Send>> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match call % 5 {
                0 => Performed::Unknown { code: "dropped".to_owned() },
                1 => panic!("an adapter's mistake"),
                2 => Performed::Refused { code: "busy".to_owned() },
                3 => std::future::pending().await,
                _ => Performed::Answered(b"done".to_vec()),
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_are_performed_until_they_answer() {
    let bench = Bench::new().await;
    let moody = Arc::new(Moody::default());
    let performer: Arc<dyn Performer> = Arc::clone(&moody) as _;
    let running = bench.run_leaf(Counter::acting(), Some(performer), Some(StartFrom::Beginning));
    bench.send(0..2).await;
    bench.expect_counts(2).await;
    running.end().await;
    assert!(moody.calls.load(Ordering::Relaxed) >= 6);
}
