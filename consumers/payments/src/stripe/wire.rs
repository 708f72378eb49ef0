//! The shapes of Stripe's JSON, as far as they are looked at, and what they mean here.

use std::collections::BTreeMap;

use daybook_events::{Currency, Money};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::ProviderAnswer;
use crate::effects::PROVIDER_ERROR;

/// A PaymentIntent.
#[derive(Debug, Deserialize)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) amount_received: i64,
    pub(crate) currency: String,
    #[serde(default)]
    pub(crate) cancellation_reason: Option<String>,
    #[serde(default)]
    pub(crate) last_payment_error: Option<ErrorBody>,
    #[serde(default, deserialize_with = "expanded")]
    latest_charge: Option<Charge>,
}

/// The object where it was asked to be expanded, nothing where there is only its id.
fn expanded<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    if !value.is_object() {
        return Ok(None);
    }
    serde_json::from_value(value).map(Some).map_err(serde::de::Error::custom)
}

#[derive(Debug, Deserialize)]
pub(crate) struct Charge {
    #[serde(default)]
    pub(crate) captured: bool,
    #[serde(default)]
    pub(crate) amount_refunded: i64,
    #[serde(default)]
    pub(crate) payment_intent: Option<String>,
    #[serde(default, deserialize_with = "expanded")]
    balance_transaction: Option<BalanceTransaction>,
}

#[derive(Debug, Deserialize)]
struct BalanceTransaction {
    fee: i64,
    currency: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Refund {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dispute {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) reason: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) payment_intent: Option<String>,
    #[serde(default)]
    balance_transactions: Vec<BalanceTransaction>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Failure {
    pub(crate) error: ErrorBody,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ErrorBody {
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) code: Option<String>,
    #[serde(default)]
    pub(crate) decline_code: Option<String>,
    #[serde(default)]
    pub(crate) payment_intent: Option<Box<Intent>>,
}

impl Dispute {
    pub(crate) fn fees_minor(&self) -> i64 {
        self.balance_transactions.iter().map(|transaction| transaction.fee).sum()
    }
}

impl Intent {
    /// What was captured and what the provider keeps of it; needs the expanded charge.
    pub(crate) fn capture(&self) -> Option<ProviderAnswer> {
        let transaction = self.latest_charge.as_ref()?.balance_transaction.as_ref()?;
        Some(ProviderAnswer::Captured {
            amount: Money::new(self.amount_received, currency(&self.currency)?),
            fee: Money::new(transaction.fee, currency(&transaction.currency)?),
        })
    }
}

/// Stripe writes currencies in small letters.
pub(crate) fn currency(code: &str) -> Option<Currency> {
    code.to_ascii_uppercase().parse().ok()
}

/// What a PaymentIntent says about its authorization; `None` where that has not been tried.
pub(crate) fn authorization(intent: &Intent) -> Option<ProviderAnswer> {
    let declined = |code: &str| ProviderAnswer::Declined { code: code.to_owned(), reference: Some(intent.id.clone()) };
    match (intent.status.as_str(), &intent.last_payment_error) {
        ("requires_capture" | "succeeded", _) => Some(ProviderAnswer::Authorized { reference: intent.id.clone() }),
        ("requires_action", _) => Some(declined("authentication-required")),
        ("requires_payment_method", Some(error)) => Some(declined(decline_code(error))),
        ("canceled", _) => Some(declined(PROVIDER_ERROR)),
        _ => None,
    }
}

/// Our code for a card error.
pub(crate) fn decline_code(error: &ErrorBody) -> &'static str {
    match (error.code.as_deref(), error.decline_code.as_deref()) {
        (_, Some("insufficient_funds")) => "insufficient-funds",
        (Some("expired_card"), _) | (_, Some("expired_card")) => "expired-card",
        (Some("authentication_required"), _) | (_, Some("authentication_required")) => "authentication-required",
        (Some("resource_missing" | "payment_method_unactivated" | "token_already_used"), _) => "invalid-token",
        (Some("processing_error"), _) => PROVIDER_ERROR,
        _ if error.kind == "card_error" => "card-declined",
        _ => PROVIDER_ERROR,
    }
}
