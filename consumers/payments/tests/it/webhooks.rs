use daybook_consumer::Noticed;
use daybook_events::{
    DisputeClosed, DisputeOpened, PaymentEvent, PaymentRefunded, ProviderNotice, RefundId, Timestamp, derive_id,
};
use serde_json::{Value, json};

use crate::fixtures::*;

fn notice(kind: &str, object: &Value) -> ProviderNotice {
    ProviderNotice {
        key_text: PAYMENT.to_string(),
        provider: "stripe".to_owned(),
        notice_id: "evt_1".to_owned(),
        body: json!({ "id": "evt_1", "type": kind, "data": { "object": object } }).to_string().into_bytes(),
        received_at: Timestamp(0),
    }
}

fn intent(status: &str) -> Value {
    json!({ "id": REFERENCE, "status": status, "currency": "usd", "latest_charge": "ch_1" })
}

fn charge(amount_refunded: i64) -> Value {
    json!({ "id": "ch_1", "payment_intent": REFERENCE, "captured": true, "amount_refunded": amount_refunded })
}

fn dispute(status: &str) -> Value {
    json!({
        "id": "dp_1", "amount": 12_500, "currency": "usd", "reason": "fraudulent", "status": status,
        "payment_intent": REFERENCE, "balance_transactions": [{ "fee": 1_500, "currency": "usd" }],
    })
}

fn heard(events: Vec<PaymentEvent>, kind: &str, object: &Value) -> Noticed<PaymentEvent> {
    payment(events).noticed(&notice(kind, object))
}

#[test]
fn a_webhook_tells_the_outcome_of_an_authorization_whose_answer_was_lost() {
    let capturable = "payment_intent.amount_capturable_updated";
    let requested = || vec![authorization_requested().into()];
    assert_eq!(
        heard(requested(), capturable, &intent("requires_capture")),
        Noticed::outcome(vec![authorized().into()])
    );
    assert_eq!(heard(with_authorization(), capturable, &intent("requires_capture")), Noticed::nothing());

    let mut declined = intent("requires_payment_method");
    declined["last_payment_error"] = json!({ "type": "card_error", "code": "expired_card" });
    let heard = heard(requested(), "payment_intent.payment_failed", &declined);
    let [PaymentEvent::PaymentDeclined(declined)] = heard.events.as_slice() else { panic!("{heard:?}") };
    assert_eq!((declined.code.as_str(), heard.concludes), ("expired-card", true));
}

#[test]
fn a_webhook_tells_the_outcome_of_a_void_or_that_an_authorization_lapsed() {
    let gone = "payment_intent.canceled";
    let mut voiding = with_authorization();
    voiding.push(void_requested().into());
    let outcome = vec![voided().into(), canceled("voided", "not-completed").into()];
    assert_eq!(heard(voiding, gone, &intent("canceled")), Noticed::outcome(outcome));
    assert_eq!(heard(with_authorization(), gone, &intent("canceled")), Noticed::facts(vec![voided().into()]));
    assert_eq!(heard(with_capture(), gone, &intent("canceled")), Noticed::nothing());
}

#[test]
fn a_refund_by_hand_is_a_fact_and_our_own_is_not_counted_twice() {
    let by_hand = PaymentRefunded {
        refund_id: RefundId::new(derive_id("refund-by-hand", &[PAYMENT.uuid().as_bytes(), &4_000_i64.to_be_bytes()])),
        ..refunded(1_500, 8_500)
    };
    let with_refund = || {
        let mut events = with_capture();
        events.push(refunded(2_500, 10_000).into());
        events
    };
    assert_eq!(heard(with_refund(), "charge.refunded", &charge(2_500)), Noticed::nothing());
    assert_eq!(heard(with_refund(), "charge.refunded", &charge(4_000)), Noticed::facts(vec![by_hand.into()]));

    let mut refunding = with_capture();
    refunding.push(refund_requested(2_500).into());
    assert_eq!(heard(refunding, "charge.refunded", &charge(2_500)), Noticed::nothing());

    let released = json!({ "payment_intent": REFERENCE, "captured": false, "amount_refunded": 12_500 });
    assert_eq!(heard(with_capture(), "charge.refunded", &released), Noticed::nothing());
}

#[test]
fn a_dispute_is_opened_and_closed_once_in_whatever_order_its_notices_come() {
    let opened = || DisputeOpened {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        dispute_id: "dp_1".to_owned(),
        amount: usd(12_500),
        fee: usd(1_500),
        code: "fraudulent".to_owned(),
    };
    let closed = || DisputeClosed {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        dispute_id: "dp_1".to_owned(),
        amount: usd(12_500),
        fee: usd(0),
        won: false,
    };
    let with = |more: &[PaymentEvent]| {
        let mut events = with_capture();
        events.extend_from_slice(more);
        events
    };
    let (created, ended) = ("charge.dispute.created", "charge.dispute.closed");
    let (open, lost) = (dispute("needs_response"), dispute("lost"));
    assert_eq!(heard(with(&[]), created, &open), Noticed::facts(vec![opened().into()]));
    assert_eq!(heard(with(&[opened().into()]), created, &open).events, []);
    assert_eq!(heard(with(&[opened().into()]), ended, &lost), Noticed::facts(vec![closed().into()]));
    let both = vec![opened().into(), closed().into()];
    assert_eq!(heard(with(&[]), ended, &lost), Noticed::facts(both.clone()));
    assert_eq!(heard(with(&both), created, &open).events, []);
    assert_eq!(heard(with(&both), ended, &lost).events, []);

    let given = payment(with(&both));
    assert_eq!(given.state().remaining_minor(), 0, "what was lost to a dispute is not there to refund");
}

#[test]
fn what_is_not_for_us_says_nothing() {
    let other = json!({ "id": "pi_other", "status": "canceled", "currency": "usd" });
    assert_eq!(heard(with_authorization(), "payment_intent.canceled", &other), Noticed::nothing());
    assert_eq!(heard(with_capture(), "invoice.paid", &json!({})), Noticed::nothing());
    assert_eq!(heard(with_capture(), "charge.refunded", &json!({ "amount_refunded": "many" })), Noticed::nothing());
    let garbage = ProviderNotice { body: b"\xff not json".to_vec(), ..notice("charge.refunded", &charge(1)) };
    assert_eq!(payment(with_capture()).noticed(&garbage), Noticed::nothing());
}
