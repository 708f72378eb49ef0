//! Idempotency keys.

use crate::support::{HandClock, Sandbox, send};
use futures::future::join_all;
use serde_json::json;
use std::time::Duration;

fn payments(books: &serde_json::Value) -> usize {
    books["payments"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_same_request_is_answered_the_same_also_after_a_restart() {
    let sandbox = Sandbox::start().await;
    let pay = |sandbox: &Sandbox| sandbox.client.pay("pm_card_visa").header("idempotency-key", "k");
    let first = send(pay(&sandbox)).await;
    assert!(!first.was_replayed());
    let intent = first.id().to_owned();
    send(sandbox.client.capture(&intent)).await;
    let again = send(pay(&sandbox)).await;
    assert!(again.was_replayed());
    assert_eq!(again.headers["original-request"], first.headers["request-id"]);
    assert_eq!(again.body, first.body, "as it was then, not as it is now");

    let sandbox = sandbox.restart().await;
    let again = send(pay(&sandbox)).await;
    assert_eq!((again.was_replayed(), &again.body), (true, &first.body));
    assert_eq!(payments(&sandbox.client.books().await), 1);
}

#[tokio::test]
async fn a_key_belongs_to_one_request() {
    let sandbox = Sandbox::start().await;
    let intent = send(sandbox.client.pay("pm_card_visa").header("idempotency-key", "k")).await.id().to_owned();
    let other_card = send(sandbox.client.pay("pm_card_mastercard").header("idempotency-key", "k")).await;
    assert_eq!((other_card.status, other_card.error("type")), (400, &json!("idempotency_error")));
    let other_path = send(sandbox.client.capture(&intent).header("idempotency-key", "k")).await;
    assert_eq!((other_path.status, other_path.error("type")), (400, &json!("idempotency_error")));
}

#[tokio::test]
async fn declines_are_kept_and_refusals_before_the_work_are_not() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    let declined = || client.pay("pm_card_visa_chargeDeclined").header("idempotency-key", "declined");
    assert_eq!(send(declined()).await.status, 402);
    let again = send(declined()).await;
    assert_eq!((again.status, again.was_replayed()), (402, true));

    let invalid = send(client.post("/v1/payment_intents", &[("amount", "x")]).header("idempotency-key", "k")).await;
    assert_eq!(invalid.status, 400);
    let valid = send(client.pay("pm_card_visa").header("idempotency-key", "k")).await;
    assert_eq!((valid.status, valid.was_replayed()), (200, false));
}

#[tokio::test]
async fn of_concurrent_requests_with_one_key_one_works() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    let pay = || send(client.pay("pm_card_visa__slow:1000").header("idempotency-key", "k"));
    let answers = join_all((0..8).map(|_| pay())).await;
    let with = |status| answers.iter().filter(|answer| answer.status == status).count();
    // A request that comes after the first one's end is a replay, so there may be more than one 200.
    assert!(with(409) >= 1, "{answers:?}");
    assert_eq!(with(200) + with(409), 8);
    let conflict = answers.iter().find(|answer| answer.status == 409).unwrap();
    assert_eq!(conflict.error("code"), "idempotency_key_in_use");
    assert_eq!(payments(&client.books().await), 1);
    assert!(pay().await.was_replayed());
}

#[tokio::test]
async fn a_key_is_forgotten_when_its_time_is_over() {
    let clock = HandClock::at(1_700_000_000_000);
    let sandbox = Sandbox::start_at(clock.clone()).await;
    let pay = || send(sandbox.client.pay("pm_card_visa").header("idempotency-key", "k"));
    pay().await;
    clock.advance(Duration::from_secs(24 * 60 * 60 - 1));
    assert!(pay().await.was_replayed());
    clock.advance(Duration::from_secs(1));
    assert!(!pay().await.was_replayed());
    assert_eq!(payments(&sandbox.client.books().await), 2, "which is why keys are not the last word");

    sandbox.client.change_settings(json!({ "key_lifetime_seconds": 60 })).await;
    clock.advance(Duration::from_secs(60));
    assert!(!pay().await.was_replayed());
}
