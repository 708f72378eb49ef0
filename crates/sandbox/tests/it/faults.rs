//! Each misbehavior, asked for and by chance.

use crate::support::{Sandbox, send, try_send};
use serde_json::json;
use std::time::{Duration, Instant};

fn payments(books: &serde_json::Value) -> usize {
    books["payments"].as_array().unwrap().len()
}

#[tokio::test]
async fn slow_waits_and_works_even_if_the_caller_has_gone() {
    let mut sandbox = Sandbox::start().await;
    let started = Instant::now();
    assert_eq!(send(sandbox.client.pay("pm_card_visa__slow:200")).await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(200));
    sandbox.webhooks.next().await;

    let gone = sandbox.client.pay("pm_card_visa__slow:1500").timeout(Duration::from_millis(500));
    assert!(try_send(gone).await.unwrap_err().is_timeout());
    assert_eq!(sandbox.webhooks.next().await.kind(), "payment_intent.amount_capturable_updated");
    assert_eq!(payments(&sandbox.client.books().await), 2);
}

#[tokio::test]
async fn decline_refuses_a_good_card_a_capture_and_a_refund() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    assert_eq!(send(client.pay("pm_card_visa__decline")).await.status, 402);

    let intent = send(client.pay("pm_card_visa__capture.decline")).await.id().to_owned();
    assert_eq!(send(client.capture(&intent)).await.status, 402);
    assert_eq!(client.books().await["totals"]["usd"]["captured"], 0);
    let other = send(client.pay("pm_card_visa__refund.decline")).await.id().to_owned();
    send(client.capture(&other)).await;
    let refund = send(client.post("/v1/refunds", &[("payment_intent", other.as_str())])).await;
    assert_eq!((refund.status, &refund.body["status"]), (200, &json!("failed")));
    assert_eq!(client.books().await["totals"]["usd"]["refunded"], 0);
}

#[tokio::test]
async fn fail_and_rate_limit_do_nothing_and_let_the_retry_through() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    for (card, status) in [("pm_card_visa__fail", 500), ("pm_card_visa__rate-limit", 429)] {
        let before = payments(&client.books().await);
        assert_eq!(send(client.pay(card).header("idempotency-key", card)).await.status, status);
        assert_eq!(payments(&client.books().await), before);
        let retry = send(client.pay(card).header("idempotency-key", card)).await;
        assert_eq!((retry.status, retry.was_replayed()), (200, false));
        assert_eq!(send(client.pay(card)).await.status, status, "without a key each try is struck");
    }
}

#[tokio::test]
async fn drop_answer_charges_keeps_the_answer_and_hangs_up() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    let pay = || client.pay_for("pm_card_visa__drop-answer", "lost").header("idempotency-key", "k");
    assert!(try_send(pay()).await.is_err());
    let query = [("query", "metadata['order']:'lost'")];
    let found = send(client.get("/v1/payment_intents/search").query(&query)).await;
    let retry = send(pay()).await;
    assert!(retry.was_replayed());
    assert_eq!(found.body["data"][0]["id"], retry.body["id"]);
    assert_eq!(payments(&client.books().await), 1);

    let look_up = client.get("/v1/payment_intents").header("sandbox-fault", "drop-answer");
    assert!(try_send(look_up).await.is_err(), "reads are struck as well");
}

#[tokio::test]
async fn a_later_request_is_struck_if_the_payment_says_so() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    let intent = send(client.pay("pm_card_visa__capture.drop-answer")).await.id().to_owned();
    assert!(try_send(client.capture(&intent).header("idempotency-key", "k")).await.is_err());
    assert_eq!(client.books().await["totals"]["usd"]["captured"], 5_000);
    let retry = send(client.capture(&intent).header("idempotency-key", "k")).await;
    assert_eq!((retry.was_replayed(), &retry.body["status"]), (true, &json!("succeeded")));
}

#[tokio::test]
async fn fail_after_charges_and_keeps_the_500() {
    let sandbox = Sandbox::start().await;
    let pay = || sandbox.client.pay("pm_card_visa__fail-after").header("idempotency-key", "k");
    assert_eq!(send(pay()).await.status, 500);
    let retry = send(pay()).await;
    assert_eq!((retry.status, retry.was_replayed()), (500, true));
    assert_eq!(sandbox.client.books().await["totals"]["usd"]["authorized"], 5_000);
}

#[tokio::test]
async fn forget_key_charges_again() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    let pay = || client.pay("pm_card_visa__forget-key__drop-answer").header("idempotency-key", "k");
    assert!(try_send(pay()).await.is_err());
    let second = send(pay()).await;
    assert_eq!((second.status, second.was_replayed()), (200, false));
    assert_eq!(payments(&client.books().await), 2);
    assert!(send(pay()).await.was_replayed(), "it forgets once");
}

#[tokio::test]
async fn webhook_early_comes_before_the_answer() {
    let mut sandbox = Sandbox::start().await;
    let answer = send(sandbox.client.pay("pm_card_visa__webhook-early")).await;
    let delivery = sandbox.webhooks.now().expect("it came first");
    assert_eq!(delivery.event["data"]["object"]["id"], answer.body["id"]);
}

#[tokio::test]
async fn webhook_only_comes_instead_of_the_answer() {
    let mut sandbox = Sandbox::start().await;
    assert!(try_send(sandbox.client.pay("pm_card_visa__webhook-only")).await.is_err());
    let delivery = sandbox.webhooks.now().expect("it came before the connection was closed");
    assert_eq!(delivery.event["data"]["object"]["id"], sandbox.client.books().await["payments"][0]["payment_intent"]);
}

#[tokio::test]
async fn webhook_twice_is_the_same_event_twice() {
    let mut sandbox = Sandbox::start().await;
    send(sandbox.client.pay("pm_card_visa__webhook-twice")).await;
    let (first, second) = (sandbox.webhooks.next().await, sandbox.webhooks.next().await);
    assert_eq!(first.payload, second.payload);
}

#[tokio::test]
async fn webhook_out_of_order_is_overtaken_by_the_next() {
    let mut sandbox = Sandbox::start().await;
    let intent = send(sandbox.client.pay("pm_card_visa__webhook-out-of-order")).await.id().to_owned();
    send(sandbox.client.capture(&intent)).await;
    let kinds = sandbox.webhooks.kinds(2).await;
    assert_eq!(kinds, ["payment_intent.succeeded", "payment_intent.amount_capturable_updated"]);
}

#[tokio::test]
async fn faults_by_chance_repeat_with_the_seed_and_are_counted() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    let mut runs = Vec::new();
    for _ in 0..2 {
        client.change_settings(json!({ "seed": 7, "rates": { "fail": 0.3, "rate-limit": 0.2 } })).await;
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(send(client.pay("pm_card_visa")).await.status);
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    let count = |status| runs.concat().iter().filter(|seen| **seen == status).count();
    assert!(count(500) > 5 && count(429) > 5 && count(200) > 20, "{:?}", runs[0]);
    let stats = client.stats().await;
    assert_eq!(stats["faults"]["fail"], count(500));
    assert_eq!(stats["answers"]["429"], count(429));
}
