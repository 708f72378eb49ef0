//! Against the sandbox provider over real HTTP, which misbehaves as the token of the payment asks it to.

use std::net::SocketAddr;
use std::time::Duration;

use daybook_consumer::{Acts, Attempt, Perform};
use daybook_events::{PaymentAuthorizationRequested, PaymentEvent, PaymentId, RefundId};
use daybook_sandbox::{Config, Faults, Fees, Running};
use payments::stripe::{Settings, Stripe};
use payments::{Payments, ProviderAnswer, ProviderRequest};
use tempfile::TempDir;
use uuid::Uuid;

use crate::fixtures::*;

const API_KEY: &str = "sk_test_sandbox";
/// Retries that are enough for any one fault.
const ATTEMPTS: usize = 4;

struct Provider {
    running: Running,
    adapter: Stripe,
    _data: TempDir,
}

impl Provider {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: data.path().to_owned(),
            api_key: API_KEY.to_owned(),
            webhook: None,
            key_lifetime: Duration::from_secs(3_600),
            faults: Faults::default(),
            fees: Fees::default(),
        };
        let running = daybook_sandbox::serve(config).await.unwrap();
        let adapter = adapter(&format!("http://{}", running.addr));
        Self { running, adapter, _data: data }
    }

    /// As the engine does it: the same key until there is an answer.
    async fn ask(&self, request: &ProviderRequest, key: &str) -> ProviderAnswer {
        let mut attempts = Vec::new();
        for _ in 0..ATTEMPTS {
            match self.adapter.perform(request, key).await {
                Attempt::Answered(answer) => return answer,
                attempt => attempts.push(attempt),
            }
        }
        match self.adapter.look_up(request, key).await {
            Attempt::Answered(answer) => answer,
            attempt => panic!("no answer: {attempts:?}, then {attempt:?}"),
        }
    }

    async fn authorized(&self, token: &str) -> String {
        match self.ask(&authorize_with(token), "authorize").await {
            ProviderAnswer::Authorized { reference } => reference,
            answer => panic!("{token}: {answer:?}"),
        }
    }

    /// Captured minor units of each payment, as the provider itself keeps them.
    async fn books(&self) -> Vec<i64> {
        let client = reqwest::Client::new();
        let url = format!("http://{}/sandbox/books", self.running.addr);
        let answer = client.get(url).bearer_auth(API_KEY).send().await.unwrap().bytes().await.unwrap();
        let books: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let payments = books["payments"].as_array().unwrap();
        payments.iter().map(|payment| payment["captured"].as_i64().unwrap()).collect()
    }
}

fn adapter(url: &str) -> Stripe {
    Stripe::new(Settings {
        url: url.to_owned(),
        api_key: API_KEY.to_owned(),
        timeout: Duration::from_secs(5),
        settle: Duration::ZERO,
    })
    .unwrap()
}

fn request(event: impl Into<PaymentEvent>) -> ProviderRequest {
    Payments::request(&event.into()).expect("the event is an intent")
}

fn authorize_with(token: &str) -> ProviderRequest {
    request(PaymentAuthorizationRequested { payment_token: token.to_owned(), ..authorization_requested() })
}

fn capture_of(reference: &str) -> ProviderRequest {
    let mut event = capture_requested();
    event.provider_reference = reference.to_owned();
    request(event)
}

fn void_of(reference: &str) -> ProviderRequest {
    let mut event = void_requested();
    event.provider_reference = reference.to_owned();
    request(event)
}

fn refund_of(reference: &str, refund: u128, amount_minor: i64) -> ProviderRequest {
    let mut event = refund_requested(amount_minor);
    event.provider_reference = reference.to_owned();
    event.refund_id = RefundId::from_u128(refund);
    request(event)
}

fn captured_whole() -> ProviderAnswer {
    ProviderAnswer::Captured { amount: AMOUNT, fee: FEE }
}

fn failed(code: &str) -> ProviderAnswer {
    ProviderAnswer::Failed { code: code.to_owned() }
}

#[tokio::test]
async fn a_payment_is_authorized_captured_with_its_fee_and_refunded() {
    let provider = Provider::start().await;
    let reference = provider.authorized("pm_card_visa").await;
    assert_eq!(provider.ask(&capture_of(&reference), "capture").await, captured_whole());
    assert_eq!(provider.ask(&refund_of(&reference, 1, 2_500), "refund-1").await, ProviderAnswer::Refunded);
    assert_eq!(provider.ask(&refund_of(&reference, 2, 10_000), "refund-2").await, ProviderAnswer::Refunded);
    assert_eq!(provider.ask(&refund_of(&reference, 3, 1), "refund-3").await, failed("already-refunded"));
    assert_eq!(provider.books().await, [AMOUNT.amount_minor]);
    provider.running.stop().await.unwrap();
}

#[tokio::test]
async fn declines_have_our_codes() {
    let provider = Provider::start().await;
    for (place, (token, code)) in [
        ("pm_card_visa_chargeDeclined", "card-declined"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient-funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired-card"),
        ("pm_card_authenticationRequired", "authentication-required"),
        ("pm_nobody_knows", "invalid-token"),
    ]
    .into_iter()
    .enumerate()
    {
        let payment_id = PaymentId::new(Uuid::from_u128(100 + place as u128));
        let event =
            PaymentAuthorizationRequested { payment_id, payment_token: token.to_owned(), ..authorization_requested() };
        let answer = provider.ask(&request(event), token).await;
        let ProviderAnswer::Declined { code: found, .. } = answer else { panic!("{token}: {answer:?}") };
        assert_eq!(found, code, "{token}");
    }
    provider.running.stop().await.unwrap();
}

#[tokio::test]
async fn an_answer_that_got_lost_is_found_and_nothing_is_done_twice() {
    for fault in ["drop-answer", "fail-after", "rate-limit", "webhook-only"] {
        let provider = Provider::start().await;
        let reference = provider.authorized(&format!("pm_card_visa__create.{fault}__capture.{fault}")).await;
        assert_eq!(provider.ask(&capture_of(&reference), "capture").await, captured_whole(), "{fault}");
        assert_eq!(provider.books().await, [AMOUNT.amount_minor], "{fault}");
        provider.running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn an_authorization_is_voided_also_when_the_answer_got_lost() {
    for fault in ["slow:1", "drop-answer", "fail-after"] {
        let provider = Provider::start().await;
        let reference = provider.authorized(&format!("pm_card_visa__cancel.{fault}")).await;
        assert_eq!(provider.ask(&void_of(&reference), "void").await, ProviderAnswer::Voided, "{fault}");
        assert_eq!(provider.ask(&void_of(&reference), "void-again").await, ProviderAnswer::Voided, "{fault}");
        assert_eq!(provider.ask(&capture_of(&reference), "capture").await, failed("already-canceled"), "{fault}");
        provider.running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_captured_is_not_voided() {
    let provider = Provider::start().await;
    let reference = provider.authorized("pm_card_visa").await;
    provider.ask(&capture_of(&reference), "capture").await;
    assert_eq!(provider.ask(&void_of(&reference), "void").await, failed("already-captured"));
    provider.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_disputed_payment_is_not_refunded() {
    let provider = Provider::start().await;
    let reference = provider.authorized("pm_card_createDispute").await;
    provider.ask(&capture_of(&reference), "capture").await;
    assert_eq!(provider.ask(&refund_of(&reference, 1, 100), "refund").await, failed("charge-disputed"));
    provider.running.stop().await.unwrap();
}

#[tokio::test]
async fn looking_up_changes_nothing() {
    let provider = Provider::start().await;
    let request = authorize_with("pm_card_visa");
    assert_eq!(provider.adapter.look_up(&request, "key").await, Attempt::NotFound);
    let reference = provider.authorized("pm_card_visa").await;
    assert_eq!(provider.adapter.look_up(&capture_of(&reference), "key").await, Attempt::NotFound);
    assert_eq!(provider.adapter.look_up(&void_of(&reference), "key").await, Attempt::NotFound);
    assert_eq!(provider.adapter.look_up(&refund_of(&reference, 1, 1), "key").await, Attempt::NotFound);
    assert_eq!(provider.books().await, [0]);
    provider.running.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_surely_not_sent_is_refused_and_may_be_repeated() {
    // A port that is held, and where nobody listens.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_addr().unwrap();
    let attempt = adapter(&format!("http://{address}")).perform(&authorize_with("pm_card_visa"), "key").await;
    assert_eq!(attempt, Attempt::Refused { code: "provider-unreachable" });
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_not_a_decline() {
    let provider = Provider::start().await;
    let settings = Settings {
        url: format!("http://{}", provider.running.addr),
        api_key: "sk_wrong".to_owned(),
        timeout: Duration::from_secs(5),
        settle: Duration::ZERO,
    };
    let attempt = Stripe::new(settings).unwrap().perform(&authorize_with("pm_card_visa"), "key").await;
    assert_eq!(attempt, Attempt::Refused { code: "provider-unauthorized" });
    provider.running.stop().await.unwrap();
}

#[test]
fn an_address_that_is_none_is_refused() {
    for url in ["", "example.org", "ftp://example.org"] {
        let settings = Settings {
            url: url.to_owned(),
            api_key: API_KEY.to_owned(),
            timeout: Duration::from_secs(5),
            settle: Duration::ZERO,
        };
        assert!(Stripe::new(settings).is_err(), "{url}");
    }
}
