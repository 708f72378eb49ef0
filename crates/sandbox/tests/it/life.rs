//! Payments from beginning to end, reads, and what is refused.

use crate::support::{Client, KEY, SECRET, Sandbox, send};
use serde_json::json;
use sha2::{Digest, Sha256};

#[tokio::test]
async fn a_payment_is_authorized_captured_refunded_and_accounted_for() {
    let mut sandbox = Sandbox::start().await;
    let client = &sandbox.client;

    let authorized = send(client.pay("pm_card_visa")).await;
    assert_eq!((authorized.status, &authorized.body["status"]), (200, &json!("requires_capture")));
    assert_eq!(authorized.body["amount_capturable"], 5_000);
    let intent = authorized.id().to_owned();

    let expand = [("amount_to_capture", "4000"), ("expand[]", "latest_charge.balance_transaction")];
    let captured = send(client.post(&format!("/v1/payment_intents/{intent}/capture"), &expand)).await;
    assert_eq!((&captured.body["status"], &captured.body["amount_received"]), (&json!("succeeded"), &json!(4_000)));
    assert_eq!(captured.body["latest_charge"]["balance_transaction"]["fee"], 146);

    let form = [("payment_intent", intent.as_str()), ("amount", "1500"), ("reason", "requested_by_customer")];
    let refunded = send(client.post("/v1/refunds", &form)).await;
    assert_eq!((&refunded.body["status"], &refunded.body["amount"]), (&json!("succeeded"), &json!(1_500)));
    let read = send(client.get(&format!("/v1/refunds/{}", refunded.id()))).await;
    assert_eq!(read.body, refunded.body);

    let expected = json!({
        "authorized": 5_000, "captured": 4_000, "refunded": 1_500, "fees": 146, "disputed": 0, "balance": 2_354,
    });
    let books = client.books().await;
    assert_eq!(books["totals"]["usd"], expected);
    assert_eq!(books["payments"][0]["metadata"]["order"], "order-1");
    let transactions = send(client.get("/v1/balance_transactions")).await.body["data"].clone();
    let nets: Vec<i64> = transactions.as_array().unwrap().iter().map(|row| row["net"].as_i64().unwrap()).collect();
    assert_eq!(nets, [-1_500, 3_854]);

    let kinds = sandbox.webhooks.kinds(3).await;
    assert_eq!(kinds, ["payment_intent.amount_capturable_updated", "payment_intent.succeeded", "charge.refunded"]);
}

#[tokio::test]
async fn a_canceled_payment_lets_the_money_go() {
    let mut sandbox = Sandbox::start().await;
    let intent = send(sandbox.client.pay("pm_card_visa")).await.id().to_owned();
    let path = format!("/v1/payment_intents/{intent}/cancel");
    let canceled = send(sandbox.client.post(&path, &[("cancellation_reason", "abandoned")])).await;
    assert_eq!(canceled.body["status"], "canceled");
    assert_eq!(canceled.body["cancellation_reason"], "abandoned");
    assert_eq!(sandbox.client.books().await["totals"]["usd"]["balance"], 0);
    let again = send(sandbox.client.post(&path, &[])).await;
    assert_eq!((again.status, again.error("code")), (400, &json!("payment_intent_unexpected_state")));
    assert_eq!(sandbox.webhooks.kinds(2).await[1], "payment_intent.canceled");
}

#[tokio::test]
async fn a_declined_card_is_a_card_error_with_its_payment() {
    let mut sandbox = Sandbox::start().await;
    let declined = send(sandbox.client.pay("pm_card_visa_chargeDeclinedInsufficientFunds")).await;
    assert_eq!(declined.status, 402);
    assert_eq!(declined.error("type"), "card_error");
    assert_eq!(declined.error("code"), "card_declined");
    assert_eq!(declined.error("decline_code"), "insufficient_funds");
    assert_eq!(declined.error("payment_intent")["status"], "requires_payment_method");
    assert_eq!(sandbox.webhooks.next().await.kind(), "payment_intent.payment_failed");
    assert_eq!(sandbox.client.books().await["totals"]["usd"]["authorized"], 0);
}

#[tokio::test]
async fn disputes_open_and_close() {
    let mut sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    let intent = send(client.pay("pm_card_visa")).await.id().to_owned();
    send(client.capture(&intent)).await;
    let opened = client.open_dispute(&intent).await;
    assert_eq!((opened.status, &opened.body["status"]), (200, &json!("needs_response")));
    assert_eq!(client.books().await["totals"]["usd"]["disputed"], 5_000);
    let closed = send(client.post(&format!("/sandbox/disputes/{}/close?won=true", opened.id()), &[])).await;
    assert_eq!(closed.body["status"], "won");
    let read = send(client.get(&format!("/v1/disputes/{}", opened.id()))).await;
    assert_eq!(read.body, closed.body);
    assert_eq!(client.books().await["totals"]["usd"]["disputed"], 0);
    let kinds = sandbox.webhooks.kinds(4).await;
    assert_eq!(kinds[2..], ["charge.dispute.created", "charge.dispute.closed"]);
}

#[tokio::test]
async fn payments_are_found_by_metadata_and_listed_newest_first() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    let mut ids = Vec::new();
    for order in ["a", "b", "c"] {
        ids.push(send(client.pay_for("pm_card_visa", order)).await.id().to_owned());
    }
    ids.reverse();
    let listed = |page: &serde_json::Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = send(client.get("/v1/payment_intents?limit=2")).await.body;
    assert_eq!((listed(&first), &first["has_more"]), (ids[..2].to_vec(), &json!(true)));
    let rest = send(client.get(&format!("/v1/payment_intents?limit=2&starting_after={}", ids[1]))).await.body;
    assert_eq!((listed(&rest), &rest["has_more"]), (ids[2..].to_vec(), &json!(false)));
    let none = send(client.get("/v1/payment_intents?created[lt]=1000")).await.body;
    assert!(listed(&none).is_empty());

    let query = "metadata['order']:'b' AND status:'requires_capture'";
    let found = send(client.get("/v1/payment_intents/search").query(&[("query", query)])).await.body;
    assert_eq!((&found["object"], listed(&found)), (&json!("search_result"), vec![ids[1].clone()]));

    send(client.capture(&ids[0])).await;
    let refund = send(client.post("/v1/refunds", &[("payment_intent", &ids[0])])).await;
    let of_payment = send(client.get(&format!("/v1/refunds?payment_intent={}", ids[0]))).await.body;
    assert_eq!(listed(&of_payment), [refund.id()]);
    let of_other = send(client.get(&format!("/v1/refunds?payment_intent={}", ids[1]))).await.body;
    assert!(listed(&of_other).is_empty());
    let moved = send(client.get(&format!("/v1/balance_transactions?source={}", refund.id()))).await.body;
    assert_eq!(moved["data"][0]["amount"], -5_000);
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_stripes_envelope() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    let intents = format!("{}/v1/payment_intents", client.base);
    let with_card = [("amount", "1"), ("currency", "usd"), ("description", "card 4242 is 4242424242424242")];
    let large = "x".repeat(65 * 1024);
    let json_body = client.http.post(&intents).bearer_auth(KEY).header("content-type", "application/json").body("{}");
    for (request, status, code) in [
        (client.post("/v1/payment_intents", &with_card), 400, json!("card_number_refused")),
        (client.post("/v1/payment_intents", &[("amount", "1")]), 400, json!("parameter_missing")),
        (client.post("/v1/payment_intents", &[("description", &large)]), 413, json!("request_too_large")),
        (client.pay("pm_unheard_of"), 400, json!("resource_missing")),
        (json_body, 400, json!("content_type_invalid")),
        (client.pay("pm_card_visa").header("idempotency-key", "k".repeat(256)), 400, json!("idempotency_key_invalid")),
        (client.pay("pm_card_visa").header("sandbox-fault", "explode"), 400, json!("sandbox_fault_unknown")),
        (client.get("/v1/payment_intents/pi_none"), 404, json!("resource_missing")),
        (client.get("/v1/payment_intents?limit=101"), 400, json!("parameter_invalid_integer")),
        (client.get("/v1/unheard_of"), 404, json!(null)),
        (client.http.get(&intents).bearer_auth("sk_test_other"), 401, json!(null)),
        (client.http.get(&intents), 401, json!(null)),
        (client.http.get(format!("{}/sandbox/books", client.base)), 401, json!(null)),
    ] {
        let refused = send(request).await;
        assert_eq!((refused.status, refused.error("code")), (status, &code), "{}", refused.body);
        assert!(!refused.body.to_string().contains("4242"));
        assert!(refused.headers["request-id"].to_str().unwrap().starts_with("req_"));
    }
    assert_eq!(client.books().await["payments"], json!([]));
    assert_eq!(send(client.http.get(&intents).basic_auth(KEY, Some(""))).await.status, 200);
    for probe in ["/livez", "/readyz"] {
        assert_eq!(send(client.http.get(format!("{}{probe}", client.base))).await.status, 200);
    }
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let sandbox = Sandbox::start().await;
    let client = &sandbox.client;
    let changed = client.change_settings(json!({ "rates": { "slow": 0.5 }, "fees": { "fixed_minor": 10 } })).await;
    assert_eq!((&changed.body["rates"]["slow"], &changed.body["fees"]["fixed_minor"]), (&json!(0.5), &json!(10)));
    assert_eq!(changed.body["key_lifetime_seconds"], 86_400, "what isn't named stays");
    for refused in [json!({ "rates": { "slow": 2 } }), json!({ "rates": { "explode": 0.1 } }), json!({ "sed": 1 })] {
        assert_eq!(client.change_settings(refused).await.status, 400);
    }
    assert_eq!(send(client.get("/sandbox/faults")).await.body, changed.body);
}

/// HMAC by its definition (RFC 2104), so that the signature isn't checked by what made it.
fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    let padded = |pad: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).unwrap_or(&0) ^ pad).collect() };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    hex::encode(Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize())
}

#[tokio::test]
async fn a_webhook_is_signed_and_holds_the_object() {
    let mut sandbox = Sandbox::start().await;
    let answer = send(sandbox.client.pay("pm_card_visa").header("idempotency-key", "key-1")).await;
    let delivery = sandbox.webhooks.next().await;
    let (time, signature) = delivery.signature.split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    assert_eq!(signature, hmac_sha256(SECRET.as_bytes(), format!("{time}.{}", delivery.payload).as_bytes()));
    assert_eq!(delivery.event["data"]["object"], answer.body);
    assert_eq!(delivery.event["request"]["idempotency_key"], "key-1");
    assert_eq!(delivery.event["request"]["id"], answer.headers["request-id"].to_str().unwrap());
}

#[tokio::test]
async fn a_webhook_is_tried_again_in_order_also_after_a_restart() {
    let mut sandbox = Sandbox::start().await;
    sandbox.webhooks.refuse(usize::MAX);
    let intent = send(sandbox.client.pay("pm_card_visa")).await.id().to_owned();
    send(sandbox.client.capture(&intent)).await;
    let first = sandbox.webhooks.next().await;
    let again = sandbox.webhooks.next().await;
    assert_eq!(first.event["id"], again.event["id"]);

    let mut sandbox = sandbox.restart().await;
    sandbox.webhooks.refuse(0);
    loop {
        let delivery = sandbox.webhooks.next().await;
        if delivery.kind() == "payment_intent.succeeded" {
            break;
        }
        assert_eq!(delivery.event["id"], first.event["id"]);
    }
}

#[tokio::test]
async fn a_stopped_sandbox_starts_where_it_was() {
    let sandbox = Sandbox::start().await;
    let intent = send(sandbox.client.pay("pm_card_visa")).await.id().to_owned();
    send(sandbox.client.capture(&intent)).await;
    let before = sandbox.client.books().await;
    let sandbox = sandbox.restart().await;
    assert_eq!(sandbox.client.books().await, before);
    let other = send(Client::new(sandbox.running.addr).pay("pm_card_visa")).await;
    assert_ne!(other.id(), intent);
}
