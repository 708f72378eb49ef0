//! Notices of the payment provider.

use api::{NOTICE_MAX_BYTES, NOTICE_TOPIC, PAYMENT_BY_REFERENCE, TOLERANCE_SECONDS, sign};
use axum::body::Body;
use daybook_events::{ProviderNotice, key};
use daybook_facade::testing::NOW_SECONDS;
use daybook_facade::{NotPublished, Secret};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Api, WEBHOOK_SECRET, request};

const PAYMENT: Uuid = Uuid::from_u128(0x9a7);

fn notice(object: Value) -> String {
    json!({"id": "evt_1", "type": "charge.refunded", "data": {"object": object}}).to_string()
}

fn of_payment() -> String {
    notice(json!({"id": "ch_1", "metadata": {"payment_id": PAYMENT}}))
}

fn signed(body: &str, secret: &str, at: i64) -> Request<Body> {
    let signature = sign(&Secret::new(secret.to_owned()), at, body.as_bytes());
    request(Method::POST, "/webhooks/payments")
        .header("stripe-signature", signature)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

fn good(body: &str) -> Request<Body> {
    signed(body, WEBHOOK_SECRET, NOW_SECONDS)
}

#[tokio::test]
async fn a_signed_notice_goes_into_the_book_as_it_came() {
    let api = Api::new();
    assert_eq!(api.send(good(&of_payment())).await.status, StatusCode::NO_CONTENT);
    let published = api.memory.published();
    assert_eq!((published[0].topic, &published[0].key[..]), (NOTICE_TOPIC, &key::of(PAYMENT)[..]));
    let [notice] = <[ProviderNotice; 1]>::try_from(api.memory.messages()).unwrap();
    assert_eq!((notice.key_text, notice.notice_id.as_str()), (PAYMENT.to_string(), "evt_1"));
    assert_eq!(notice.body, of_payment().into_bytes());

    api.send(good(&of_payment())).await;
    let ids: Vec<Uuid> = api.memory.published().iter().map(|message| message.header.message_id).collect();
    assert_eq!(ids[0], ids[1], "sent twice it is one");
}

#[tokio::test]
async fn what_is_not_signed_or_old_is_refused() {
    let api = Api::new();
    let body = of_payment();
    let unsigned = request(Method::POST, "/webhooks/payments").body(Body::from(body.clone())).unwrap();
    let mut altered = good(&body);
    *altered.body_mut() = Body::from(body.replace("evt_1", "evt_2"));
    let old = signed(&body, WEBHOOK_SECRET, NOW_SECONDS - TOLERANCE_SECONDS - 1);
    for request in [unsigned, altered, old, signed(&body, "another", NOW_SECONDS)] {
        api.send(request).await.expect_problem(401, "signature-invalid");
    }
    assert!(api.memory.published().is_empty());
}

#[tokio::test]
async fn a_dispute_is_matched_by_the_providers_reference() {
    let api = Api::new();
    let dispute = notice(json!({"id": "dp_1", "metadata": {}, "payment_intent": "pi_1"}));
    api.send(good(&dispute)).await.expect_problem(503, "unavailable");
    api.memory.put_rows(PAYMENT_BY_REFERENCE, vec![json!({"payment_id": PAYMENT})]);
    assert_eq!(api.send(good(&dispute)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.memory.messages::<ProviderNotice>()[0].key_text, PAYMENT.to_string());
}

#[tokio::test]
async fn what_is_of_no_payment_is_passed_over() {
    let api = Api::new();
    assert_eq!(api.send(good(&notice(json!({"id": "cus_1"})))).await.status, StatusCode::NO_CONTENT);
    assert!(api.memory.published().is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_or_kept_is_told() {
    let api = Api::new();
    api.send(good("{")).await.expect_problem(400, "json-malformed");
    let huge = of_payment() + &" ".repeat(NOTICE_MAX_BYTES);
    api.send(good(&huge)).await.expect_problem(413, "body-too-large");
    api.memory.fail(Some(NotPublished::NotKnown));
    api.send(good(&of_payment())).await.expect_problem(503, "unavailable");
}
