//! What the provider tells by itself: its webhooks, which come early, twice, late and out of order. So each is judged by
//! what it says is so now, against what is known; what adds nothing is passed over.

use daybook_consumer::Noticed;
use daybook_events::{
    AuthorizationVoided, Currency, DisputeClosed, DisputeOpened, Money, PaymentEvent, PaymentRefunded, RefundId,
    derive_id,
};
use serde::Deserialize;

use crate::stripe::wire;
use crate::{DISPUTES_MAX, Dispute, Payment, ProviderAnswer, ProviderRequest, REFUNDS_MAX, Stage, Terms, effects};

/// A webhook's envelope; the object depends on the type.
#[derive(Deserialize)]
struct Webhook<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: &'a serde_json::value::RawValue,
}

/// What a webhook comes to. What cannot be read says nothing: the signature was checked where it came in, so it is
/// of a kind that is not for us.
pub(crate) fn hear(payment: &Payment, pending: Option<ProviderRequest>, body: &[u8]) -> Noticed<PaymentEvent> {
    let Ok(webhook) = serde_json::from_slice::<Webhook<'_>>(body) else {
        return Noticed::nothing();
    };
    let object = webhook.data.object.get();
    match webhook.kind.as_str() {
        "payment_intent.amount_capturable_updated" | "payment_intent.payment_failed" | "payment_intent.canceled" => {
            read(object).map(|intent| of_intent(payment, pending, &intent))
        }
        "charge.refunded" if pending.is_none() => {
            read(object).and_then(|charge| by_hand(payment, &charge)).map(Noticed::facts)
        }
        "charge.dispute.created" | "charge.dispute.closed" => {
            read(object).and_then(|dispute| disputed(payment, &dispute)).map(Noticed::facts)
        }
        _ => None,
    }
    .unwrap_or_else(Noticed::nothing)
}

fn read<'a, T: Deserialize<'a>>(object: &'a str) -> Option<T> {
    serde_json::from_str(object).ok()
}

/// Tells the outcome of an authorization or a void whose answer may be lost; or that an authorization has lapsed.
fn of_intent(payment: &Payment, pending: Option<ProviderRequest>, intent: &wire::Intent) -> Noticed<PaymentEvent> {
    let is_other = |reference: &str| reference != intent.id;
    match (pending, intent.status.as_str()) {
        (Some(request @ ProviderRequest::Authorize(_)), _) => match wire::authorization(intent) {
            Some(answer) => Noticed::outcome(effects::outcome(payment, request, answer)),
            None => Noticed::nothing(),
        },
        (Some(ProviderRequest::Void(ask)), "canceled") if !is_other(&ask.reference) => {
            let request = ProviderRequest::Void(ask);
            Noticed::outcome(effects::outcome(payment, request, ProviderAnswer::Voided))
        }
        (None, "canceled") => Noticed::facts(lapsed(payment, intent).into_iter().collect()),
        _ => Noticed::nothing(),
    }
}

fn lapsed(payment: &Payment, intent: &wire::Intent) -> Option<PaymentEvent> {
    match &payment.stage {
        Stage::Authorized(authorized) if authorized.provider_reference == intent.id => Some(
            AuthorizationVoided {
                payment_id: authorized.payment_id,
                organization_id: authorized.organization_id,
                amount: authorized.amount,
                provider_reference: authorized.provider_reference.clone(),
            }
            .into(),
        ),
        _ => None,
    }
}

/// More was refunded than we asked for: somebody did it by hand at the provider. The charge tells the total, so an
/// old notice, or one of our own refunds, adds nothing. While a request is under way nothing can be told apart.
fn by_hand(payment: &Payment, charge: &wire::Charge) -> Option<Vec<PaymentEvent>> {
    let (Stage::Captured(captured), Some(terms)) = (&payment.stage, &payment.terms) else { return None };
    let is_ours = charge.payment_intent.as_deref() == Some(&captured.provider_reference);
    let added_minor = charge.amount_refunded - payment.refunded_minor();
    if !is_ours || !charge.captured || added_minor <= 0 || payment.refunds.len() >= REFUNDS_MAX {
        return None;
    }
    let currency = captured.amount.currency;
    let total = charge.amount_refunded.to_be_bytes();
    let refund_id = derive_id("refund-by-hand", &[terms.payment_id.uuid().as_bytes(), &total]);
    let refunded = PaymentRefunded {
        payment_id: terms.payment_id,
        organization_id: terms.organization_id,
        payer_id: terms.payer_id,
        refund_id: RefundId::new(refund_id),
        amount: Money::new(added_minor, currency),
        remaining: Money::new(payment.remaining_minor() - added_minor, currency),
        provider_reference: captured.provider_reference.clone(),
    };
    Some(vec![refunded.into()])
}

/// A dispute that is heard of for the first time is opened, also when the notice is that of its end.
fn disputed(payment: &Payment, dispute: &wire::Dispute) -> Option<Vec<PaymentEvent>> {
    let terms = payment.terms.as_ref()?;
    let is_other = |reference: &str| dispute.payment_intent.as_deref() != Some(reference);
    if payment.reference().is_some_and(is_other) || payment.disputes.len() >= DISPUTES_MAX {
        return None;
    }
    let currency = wire::currency(&dispute.currency)?;
    let mut events = Vec::new();
    let known = payment.disputes.get(&dispute.id);
    if known.is_none() {
        events.push(opened(terms, dispute, currency));
    }
    let won = match dispute.status.as_str() {
        "won" => Some(true),
        "lost" => Some(false),
        _ => None,
    };
    if let (Some(won), None) = (won, known.and_then(|dispute| dispute.won)) {
        events.push(closed(terms, dispute, known, currency, won));
    }
    Some(events)
}

fn opened(terms: &Terms, dispute: &wire::Dispute, currency: Currency) -> PaymentEvent {
    DisputeOpened {
        payment_id: terms.payment_id,
        organization_id: terms.organization_id,
        dispute_id: dispute.id.clone(),
        amount: Money::new(dispute.amount, currency),
        fee: Money::new(dispute.fees_minor(), currency),
        code: dispute.reason.clone(),
    }
    .into()
}

/// The fee is what came on top since the dispute was opened, so that the fees of both events add up.
fn closed(
    terms: &Terms,
    dispute: &wire::Dispute,
    known: Option<&Dispute>,
    currency: Currency,
    won: bool,
) -> PaymentEvent {
    let fee_before = known.map_or(dispute.fees_minor(), |known| known.fee_minor);
    DisputeClosed {
        payment_id: terms.payment_id,
        organization_id: terms.organization_id,
        dispute_id: dispute.id.clone(),
        amount: Money::new(known.map_or(dispute.amount, |known| known.amount_minor), currency),
        fee: Money::new((dispute.fees_minor() - fee_before).max(0), currency),
        won,
    }
    .into()
}
