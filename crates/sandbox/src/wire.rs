//! Stripe's JSON of each object.

use crate::books::{
    Account, Books, Charge, Dispute, DisputeStatus, Fact, Intent, IntentStatus, Refund, Transaction, TransactionKind,
};
use crate::cards::Decline;
use crate::faults;
use crate::form::Form;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The version of Stripe's API whose shapes these are.
pub const API_VERSION: &str = "2025-03-31.basil";
const EVIDENCE_DAYS: u64 = 7;
const SECONDS_PER_DAY: u64 = 86_400;

/// Fields of a payment intent that the sandbox has no use for.
const INTENT_NULLS: &[&str] = &[
    "allowed_payment_method_types",
    "customer_account",
    "excluded_payment_method_types",
    "managed_payments",
    "application",
    "application_fee_amount",
    "automatic_payment_methods",
    "customer",
    "next_action",
    "on_behalf_of",
    "payment_method_configuration_details",
    "processing",
    "receipt_email",
    "review",
    "setup_future_usage",
    "shipping",
    "statement_descriptor",
    "transfer_data",
    "transfer_group",
];
/// Fields of a charge that the sandbox has no use for.
const CHARGE_NULLS: &[&str] = &[
    "application",
    "application_fee",
    "application_fee_amount",
    "calculated_statement_descriptor",
    "customer",
    "failure_balance_transaction",
    "on_behalf_of",
    "receipt_email",
    "receipt_number",
    "receipt_url",
    "review",
    "shipping",
    "source_transfer",
    "statement_descriptor",
    "transfer_data",
    "transfer_group",
];

/// Stripe shows every field of an object, also those without a value.
fn with_nulls(mut shown: Value, names: &[&str]) -> Value {
    for name in names {
        shown[*name] = Value::Null;
    }
    shown
}

/// Which ids the caller wants replaced by their objects (`expand[]=latest_charge.balance_transaction`).
#[derive(Clone, Debug, Default)]
pub struct Expand {
    paths: BTreeSet<String>,
}

impl Expand {
    pub fn of(form: &Form) -> Expand {
        Expand { paths: form.list("expand").map(str::to_owned).collect() }
    }

    /// The same for the elements of a list, whose paths begin with `data.`.
    pub fn of_list(form: &Form) -> Expand {
        Expand::of(form).below("data")
    }

    fn wants(&self, name: &str) -> bool {
        self.paths.iter().any(|path| path.split('.').next() == Some(name))
    }

    fn below(&self, name: &str) -> Expand {
        let below = |path: &String| path.strip_prefix(name)?.strip_prefix('.').map(str::to_owned);
        Expand { paths: self.paths.iter().filter_map(below).collect() }
    }
}

pub fn intent(books: &Books, intent: &Intent, expand: &Expand) -> Value {
    let charge = books.charge_of(intent);
    let capturable = if intent.status == IntentStatus::RequiresCapture { intent.amount } else { 0 };
    let latest_charge = match charge {
        Some(charge) if expand.wants("latest_charge") => self::charge(books, charge, &expand.below("latest_charge")),
        _ => json!(intent.charge),
    };
    let shown = json!({
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": capturable,
        "amount_details": { "tip": {} },
        "amount_received": charge.map_or(0, |charge| charge.captured),
        "canceled_at": intent.canceled_at_s,
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": if intent.manual_capture { "manual" } else { "automatic" },
        "client_secret": format!("{}_secret_sandbox", intent.id),
        "confirmation_method": "automatic",
        "created": intent.created_s,
        "currency": intent.currency,
        "description": intent.description,
        "last_payment_error": intent.last_decline.as_ref().map(|decline| last_error(decline, intent)),
        "latest_charge": latest_charge,
        "livemode": false,
        "metadata": intent.metadata,
        "payment_method": intent.payment_method,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "statement_descriptor_suffix": intent.statement_descriptor_suffix,
        "status": intent.status.name(),
    });
    with_nulls(shown, INTENT_NULLS)
}

fn last_error(decline: &Decline, intent: &Intent) -> Value {
    json!({
        "type": "card_error",
        "code": decline.code,
        "decline_code": decline.decline_code,
        "message": decline.message,
        "charge": intent.charge,
    })
}

pub fn charge(books: &Books, charge: &Charge, expand: &Expand) -> Value {
    let intent = books.intents.get(&charge.intent);
    let released = intent.is_some_and(|intent| intent.status == IntentStatus::Canceled) && charge.decline.is_none();
    let refunded = if released { charge.amount } else { charge.refunded };
    let refunds = charge.refunds.iter().rev().filter_map(|id| books.refunds.get(id));
    let refunds: Vec<Value> = refunds.map(|refund| self::refund(books, refund, &Expand::default())).collect();
    let brand = brand(&charge.payment_method);
    let shown = json!({
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": charge.captured,
        "amount_refunded": refunded,
        "balance_transaction": transaction_or_id(books, charge.transaction.as_deref(), expand),
        "billing_details": { "address": null, "email": null, "name": null, "phone": null, "tax_id": null },
        "captured": charge.captured > 0,
        "created": charge.created_s,
        "currency": intent.map(|intent| intent.currency.as_str()),
        "description": intent.and_then(|intent| intent.description.as_deref()),
        "dispute": charge.dispute,
        "disputed": charge.dispute.is_some(),
        "failure_code": charge.decline.as_ref().map(|decline| &decline.code),
        "failure_message": charge.decline.as_ref().map(|decline| &decline.message),
        "fraud_details": {},
        "livemode": false,
        "metadata": intent.map(|intent| &intent.metadata),
        "outcome": {
            "network_status": if charge.decline.is_none() { "approved_by_network" } else { "declined_by_network" },
            "reason": charge.decline.as_ref().map(|decline| &decline.decline_code),
            "type": if charge.decline.is_none() { "authorized" } else { "issuer_declined" },
        },
        "paid": charge.decline.is_none(),
        "payment_intent": charge.intent,
        "payment_method": charge.payment_method,
        "payment_method_details": { "type": "card", "card": { "brand": brand, "network": brand } },
        "refunded": refunded == charge.amount,
        "refunds": {
            "object": "list",
            "data": refunds,
            "has_more": false,
            "url": format!("/v1/charges/{}/refunds", charge.id),
        },
        "statement_descriptor_suffix": intent.and_then(|intent| intent.statement_descriptor_suffix.as_deref()),
        "status": if charge.decline.is_none() { "succeeded" } else { "failed" },
    });
    with_nulls(shown, CHARGE_NULLS)
}

/// `pm_card_mastercard_debit__slow` is a `mastercard`.
fn brand(payment_method: &str) -> &str {
    let (token, _) = faults::split_token(payment_method);
    let name = token.strip_prefix("pm_card_").unwrap_or(token);
    match name.split('_').next() {
        Some(brand @ ("mastercard" | "amex" | "discover" | "diners" | "jcb" | "unionpay")) => brand,
        _ => "visa",
    }
}

fn transaction_or_id(books: &Books, id: Option<&str>, expand: &Expand) -> Value {
    match id.and_then(|id| books.transactions.get(id)) {
        Some(row) if expand.wants("balance_transaction") => transaction(row),
        _ => json!(id),
    }
}

pub fn refund(books: &Books, refund: &Refund, expand: &Expand) -> Value {
    let moved = refund.transaction.is_some();
    let mut shown = json!({
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": transaction_or_id(books, refund.transaction.as_deref(), expand),
        "charge": refund.charge,
        "created": refund.created_s,
        "currency": refund.currency,
        "customer": null,
        "customer_account": null,
        "destination_details": { "type": "card", "card": { "type": "refund" } },
        "metadata": refund.metadata,
        "payment_intent": refund.intent,
        "payment_method": null,
        "reason": refund.reason,
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": if moved { "succeeded" } else { "failed" },
        "transfer_reversal": null,
    });
    if !moved {
        shown["failure_reason"] = json!("declined");
    }
    shown
}

pub fn dispute(books: &Books, dispute: &Dispute) -> Value {
    let brand = books.charges.get(&dispute.charge).map(|charge| brand(&charge.payment_method));
    let transactions: Vec<Value> = books.transactions_of(&dispute.id).into_iter().map(transaction).collect();
    json!({
        "id": dispute.id,
        "object": "dispute",
        "amount": dispute.amount,
        "balance_transactions": transactions,
        "charge": dispute.charge,
        "created": dispute.created_s,
        "currency": dispute.currency,
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": dispute.created_s + EVIDENCE_DAYS * SECONDS_PER_DAY,
            "enhanced_eligibility": {},
            "has_evidence": false,
            "past_due": false,
            "submission_count": 0,
        },
        "is_charge_refundable": false,
        "livemode": false,
        "metadata": {},
        "payment_intent": dispute.intent,
        "payment_method_details": {
            "type": "card",
            "card": { "brand": brand, "case_type": "chargeback", "network": brand, "network_reason_code": null },
        },
        "reason": dispute.reason,
        "status": match dispute.status {
            DisputeStatus::NeedsResponse => "needs_response",
            DisputeStatus::Won => "won",
            DisputeStatus::Lost => "lost",
        },
    })
}

pub fn transaction(transaction: &Transaction) -> Value {
    let (kind, category) = match transaction.kind {
        TransactionKind::Charge => ("charge", "charge"),
        TransactionKind::Refund => ("refund", "refund"),
        TransactionKind::Dispute => ("adjustment", "dispute"),
        TransactionKind::DisputeReversal => ("adjustment", "dispute_reversal"),
    };
    let fee_details = match transaction.fee {
        0 => json!([]),
        fee => json!([{
            "amount": fee,
            "application": null,
            "currency": transaction.currency,
            "description": "Processing fees",
            "type": "stripe_fee",
        }]),
    };
    json!({
        "id": transaction.id,
        "object": "balance_transaction",
        "amount": transaction.amount,
        "available_on": transaction.created_s,
        "balance_type": "payments",
        "created": transaction.created_s,
        "currency": transaction.currency,
        "description": null,
        "exchange_rate": null,
        "fee": transaction.fee,
        "fee_details": fee_details,
        "net": transaction.amount - transaction.fee,
        "reporting_category": category,
        "source": transaction.source,
        "status": "available",
        "type": kind,
    })
}

/// A page of a list.
pub fn list(url: &str, data: Vec<Value>, has_more: bool) -> Value {
    json!({ "object": "list", "data": data, "has_more": has_more, "url": url })
}

/// One line of the judge's list.
pub fn book_entry(books: &Books, intent: &Intent) -> Value {
    let account = Account::of(books, intent);
    json!({
        "payment_intent": intent.id,
        "charge": intent.charge,
        "status": intent.status.name(),
        "created": intent.created_s,
        "currency": intent.currency,
        "metadata": intent.metadata,
        "amount": intent.amount,
        "authorized": account.authorized,
        "captured": account.captured,
        "refunded": account.refunded,
        "fees": account.fees,
        "disputed": account.disputed,
        "balance": account.balance,
    })
}

/// What the world is told of a fact.
pub struct Notice {
    pub kind: &'static str,
    /// The payment it is about: notices of one payment are delivered in order.
    pub intent: String,
    pub object: Value,
}

/// The notice of a fact that was already applied, if it has one.
pub fn notice(books: &Books, fact: &Fact) -> Option<Notice> {
    let (kind, intent, object) = match fact {
        Fact::IntentCreated(_) => return None,
        Fact::Authorized { intent, .. } => {
            let manual = books.intents.get(intent)?.manual_capture;
            ("payment_intent.amount_capturable_updated", intent, manual.then(|| intent_object(books, intent))??)
        }
        Fact::Declined { intent, .. } => ("payment_intent.payment_failed", intent, intent_object(books, intent)?),
        Fact::Captured { intent, .. } => ("payment_intent.succeeded", intent, intent_object(books, intent)?),
        Fact::Canceled { intent, .. } => ("payment_intent.canceled", intent, intent_object(books, intent)?),
        Fact::Refunded(refund) if refund.transaction.is_none() => {
            ("refund.failed", &refund.intent, self::refund(books, refund, &Expand::default()))
        }
        Fact::Refunded(refund) => {
            let charge = books.charges.get(&refund.charge)?;
            ("charge.refunded", &refund.intent, self::charge(books, charge, &Expand::default()))
        }
        Fact::DisputeOpened(Dispute { id, .. }) | Fact::DisputeClosed { dispute: id, .. } => {
            let closed = matches!(fact, Fact::DisputeClosed { .. });
            let row = books.disputes.get(id)?;
            let kind = if closed { "charge.dispute.closed" } else { "charge.dispute.created" };
            (kind, &row.intent, dispute(books, row))
        }
    };
    Some(Notice { kind, intent: intent.clone(), object })
}

fn intent_object(books: &Books, id: &str) -> Option<Value> {
    books.intents.get(id).map(|row| intent(books, row, &Expand::default()))
}

/// The event that carries a notice.
pub fn event(id: &str, created_s: u64, notice: &Notice, request_id: &str, idempotency_key: Option<&str>) -> Value {
    json!({
        "id": id,
        "object": "event",
        "api_version": API_VERSION,
        "created": created_s,
        "data": { "object": notice.object },
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": request_id, "idempotency_key": idempotency_key },
        "type": notice.kind,
    })
}
