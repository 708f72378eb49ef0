//! Against stripe-mock, which checks every request against Stripe's own OpenAPI description and answers in Stripe's own shapes. It
//! keeps no books: whatever an intent is asked to become, it stays as it was. What becomes of payments is shown against the sandbox
//! (`adapter.rs`), that the sandbox speaks as Stripe does is shown here.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daybook_consumer::{Acts, Attempt, Perform};
use daybook_events::PaymentEvent;
use daybook_stack::Layout;
use payments::stripe::{Settings, Stripe};
use payments::{Payments, ProviderAnswer, ProviderRequest};

use crate::fixtures::*;

/// How it is installed, where it is not.
const CURE: &str = "GOBIN=${XDG_CACHE_HOME:-~/.cache}/daybook/bin go install github.com/stripe/stripe-mock@v0.203.0";
/// What it prints once it can be asked.
const LISTENS: &str = "Listening for HTTP at address: ";

struct StripeMock {
    child: Child,
    adapter: Stripe,
}

impl StripeMock {
    fn start() -> Self {
        let program: PathBuf = Layout::temporary().unwrap().cache.join("bin/stripe-mock");
        let mut child = Command::new(&program)
            .args(["-http-addr", "127.0.0.1:", "-https-addr", "127.0.0.1:"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start ({error}); install it with: {CURE}", program.display()));
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(told.read_line(&mut line).unwrap(), 0, "stripe-mock ends before it listens");
            if let Some(address) = line.trim().strip_prefix(LISTENS) {
                break address.to_owned();
            }
        };
        // It stops when nobody reads what it tells.
        std::thread::spawn(move || told.read_to_end(&mut Vec::new()));
        let settings = Settings {
            url: format!("http://{address}"),
            api_key: "sk_test_123".to_owned(),
            timeout: Duration::from_secs(20),
            settle: Duration::ZERO,
        };
        Self { child, adapter: Stripe::new(settings).unwrap() }
    }

    async fn ask(&self, event: impl Into<PaymentEvent>) -> Attempt<ProviderAnswer> {
        self.adapter.perform(&request(event), "key-1").await
    }

    async fn look_up(&self, event: impl Into<PaymentEvent>) -> Attempt<ProviderAnswer> {
        self.adapter.look_up(&request(event), "key-1").await
    }
}

impl Drop for StripeMock {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("a child of ours can be killed");
    }
}

fn request(event: impl Into<PaymentEvent>) -> ProviderRequest {
    Payments::request(&event.into()).expect("the event is an intent")
}

/// An intent came back, and it has not been paid with.
#[track_caller]
fn expect_unpaid(attempt: &Attempt<ProviderAnswer>) {
    let Attempt::Answered(ProviderAnswer::Declined { reference, .. }) = attempt else {
        panic!("no intent: {attempt:?}");
    };
    assert!(reference.as_ref().is_some_and(|reference| reference.starts_with("pi_")), "{attempt:?}");
}

#[tokio::test]
async fn every_request_is_one_that_stripe_takes_and_every_answer_can_be_read() {
    let mock = StripeMock::start();
    expect_unpaid(&mock.ask(authorization_requested()).await);
    expect_unpaid(&mock.look_up(authorization_requested()).await);

    // The intent stays unpaid, and is asked for once more: so both ways have been taken.
    let unfinished = Attempt::Unknown { code: "provider-answer-incomplete" };
    assert_eq!(mock.ask(capture_requested()).await, unfinished);
    assert_eq!(mock.ask(void_requested()).await, unfinished);
    assert_eq!(mock.look_up(capture_requested()).await, Attempt::NotFound);
    assert_eq!(mock.look_up(void_requested()).await, Attempt::NotFound);

    for reason in ["requested-by-customer", "duplicate", "fraudulent"] {
        let mut event = refund_requested(2_500);
        event.reason = reason.to_owned();
        assert_eq!(mock.ask(event).await, Attempt::Answered(ProviderAnswer::Refunded), "{reason}");
    }
    // Its refund is not ours: it bears another id.
    assert_eq!(mock.look_up(refund_requested(2_500)).await, Attempt::NotFound);
}

#[tokio::test]
async fn a_request_that_stripe_does_not_take_is_seen_here() {
    let mock = StripeMock::start();
    let mut event = refund_requested(2_500);
    event.reason = "no-such-reason".to_owned();
    let attempt = mock.ask(event).await;
    assert!(matches!(attempt, Attempt::Answered(ProviderAnswer::Failed { .. })), "{attempt:?}");
}
