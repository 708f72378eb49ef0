//! From forms to commands: what a valid request is. Refusals here are never recorded under an idempotency key.

use crate::books::Metadata;
use crate::decide::{self, Command, NewIntent, NewRefund, RefundTarget};
use crate::error::ApiError;
use crate::faults::{self, Wish};
use crate::form::Form;

/// Stripe's own limit: eight digits of minor units.
pub const MAX_AMOUNT: u64 = 99_999_999;
/// The metadata key that asks for a fault.
pub const FAULT_KEY: &str = "sandbox_fault";

const MAX_METADATA: usize = 50;
const MAX_METADATA_KEY: usize = 40;
const MAX_METADATA_VALUE: usize = 500;
const MAX_DESCRIPTION: usize = 1_000;
const MAX_SUFFIX: usize = 22;
const MAX_TOKEN: usize = 255;

const CREATE: &[&str] = &[
    "amount",
    "automatic_payment_methods",
    "capture_method",
    "confirm",
    "confirmation_method",
    "currency",
    "customer",
    "description",
    "error_on_requires_action",
    "expand",
    "metadata",
    "off_session",
    "payment_method",
    "payment_method_types",
    "receipt_email",
    "return_url",
    "statement_descriptor",
    "statement_descriptor_suffix",
];
const CONFIRM: &[&str] = &["payment_method", "capture_method", "expand", "off_session", "return_url"];
const CAPTURE: &[&str] = &["amount_to_capture", "expand", "statement_descriptor_suffix"];
const CANCEL: &[&str] = &["cancellation_reason", "expand"];
const CANCEL_REASONS: &[&str] = &["duplicate", "fraudulent", "requested_by_customer", "abandoned"];
const REFUND: &[&str] = &["payment_intent", "charge", "amount", "reason", "metadata", "expand"];
const REFUND_REASONS: &[&str] = &["duplicate", "fraudulent", "requested_by_customer"];

/// `POST /v1/payment_intents`.
pub fn create(form: &Form) -> Result<Command, ApiError> {
    form.expect_only(CREATE)?;
    let confirm = form.boolean("confirm")?;
    let payment_method = payment_method(form)?;
    if confirm && payment_method.is_none() {
        return Err(ApiError::parameter("parameter_missing", "payment_method"));
    }
    Ok(Command::Create(NewIntent {
        amount: amount(form, "amount")?.ok_or_else(|| ApiError::parameter("parameter_missing", "amount"))?,
        currency: currency(form)?,
        manual_capture: match form.text("capture_method") {
            Some("manual") => true,
            None | Some("automatic" | "automatic_async") => false,
            Some(_) => return Err(ApiError::parameter("parameter_invalid", "capture_method")),
        },
        payment_method,
        confirm,
        metadata: metadata(form)?,
        description: bounded(form, "description", MAX_DESCRIPTION)?,
        statement_descriptor_suffix: bounded(form, "statement_descriptor_suffix", MAX_SUFFIX)?,
    }))
}

/// `POST /v1/payment_intents/{id}/confirm`.
pub fn confirm(intent: String, form: &Form) -> Result<Command, ApiError> {
    form.expect_only(CONFIRM)?;
    Ok(Command::Confirm { intent, payment_method: payment_method(form)? })
}

/// `POST /v1/payment_intents/{id}/capture`.
pub fn capture(intent: String, form: &Form) -> Result<Command, ApiError> {
    form.expect_only(CAPTURE)?;
    Ok(Command::Capture { intent, amount: amount(form, "amount_to_capture")? })
}

/// `POST /v1/payment_intents/{id}/cancel`.
pub fn cancel(intent: String, form: &Form) -> Result<Command, ApiError> {
    form.expect_only(CANCEL)?;
    Ok(Command::Cancel { intent, reason: one_of(form, "cancellation_reason", CANCEL_REASONS)? })
}

/// `POST /v1/refunds`.
pub fn refund(form: &Form) -> Result<Command, ApiError> {
    form.expect_only(REFUND)?;
    let target = match (form.text("payment_intent"), form.text("charge")) {
        (Some(intent), None) => RefundTarget::Intent(intent.to_owned()),
        (None, Some(charge)) => RefundTarget::Charge(charge.to_owned()),
        _ => return Err(ApiError::parameter("parameter_missing", "payment_intent")),
    };
    Ok(Command::Refund(NewRefund {
        target,
        amount: amount(form, "amount")?,
        reason: one_of(form, "reason", REFUND_REASONS)?,
        metadata: metadata(form)?,
    }))
}

/// The faults that a request asks for in its metadata or payment method.
pub fn wishes(form: &Form) -> Result<Vec<Wish>, ApiError> {
    let metadata = form.nested(&["metadata", FAULT_KEY]);
    let token = form.text("payment_method").map(|token| faults::split_token(token).1);
    metadata.into_iter().chain(token).map(wish).collect()
}

/// One list of faults.
pub fn wish(list: &str) -> Result<Wish, ApiError> {
    Wish::parse(list).map_err(|_| ApiError::invalid("sandbox_fault_unknown", "The request asks for an unknown fault."))
}

fn amount(form: &Form, name: &str) -> Result<Option<u64>, ApiError> {
    match form.number(&[name])? {
        Some(0) => Err(ApiError::parameter("amount_too_small", name)),
        Some(amount) if amount > MAX_AMOUNT => Err(ApiError::parameter("amount_too_large", name)),
        amount => Ok(amount),
    }
}

fn currency(form: &Form) -> Result<String, ApiError> {
    let currency = form.text("currency").ok_or_else(|| ApiError::parameter("parameter_missing", "currency"))?;
    if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        return Err(ApiError::parameter("parameter_invalid", "currency"));
    }
    Ok(currency.to_ascii_lowercase())
}

fn payment_method(form: &Form) -> Result<Option<String>, ApiError> {
    let token = bounded(form, "payment_method", MAX_TOKEN)?;
    token.as_deref().map(decide::card).transpose()?;
    Ok(token)
}

fn metadata(form: &Form) -> Result<Metadata, ApiError> {
    let metadata = form.map("metadata");
    let too_long = |(key, value): (&String, &String)| {
        key.chars().count() > MAX_METADATA_KEY || value.chars().count() > MAX_METADATA_VALUE
    };
    if metadata.len() > MAX_METADATA || metadata.iter().any(too_long) {
        return Err(ApiError::parameter("metadata_too_large", "metadata"));
    }
    Ok(metadata)
}

fn bounded(form: &Form, name: &str, most_letters: usize) -> Result<Option<String>, ApiError> {
    match form.text(name) {
        Some(text) if text.chars().count() > most_letters => Err(ApiError::parameter("parameter_too_long", name)),
        text => Ok(text.map(str::to_owned)),
    }
}

fn one_of(form: &Form, name: &str, known: &[&str]) -> Result<Option<String>, ApiError> {
    match form.text(name) {
        Some(word) if !known.contains(&word) => Err(ApiError::parameter("parameter_invalid", name)),
        word => Ok(word.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(encoded: &str) -> Form {
        Form::decode(encoded.as_bytes()).unwrap()
    }

    fn code(result: Result<Command, ApiError>) -> String {
        result.unwrap_err().code.unwrap()
    }

    #[test]
    fn a_whole_create_request_is_read() {
        let sent =
            "amount=500&currency=USD&capture_method=manual&confirm=true&payment_method=pm_card_visa&metadata[a]=b";
        let Ok(Command::Create(new)) = create(&form(sent)) else { panic!("refused") };
        assert_eq!((new.amount, new.currency.as_str(), new.manual_capture, new.confirm), (500, "usd", true, true));
        assert_eq!(new.metadata["a"], "b");
    }

    #[test]
    fn what_is_missing_or_wrong_has_its_code() {
        for (sent, expected) in [
            ("currency=usd", "parameter_missing"),
            ("amount=0&currency=usd", "amount_too_small"),
            ("amount=100000000&currency=usd", "amount_too_large"),
            ("amount=-5&currency=usd", "parameter_invalid_integer"),
            ("amount=5&currency=dollars", "parameter_invalid"),
            ("amount=5&currency=usd&confirm=true", "parameter_missing"),
            ("amount=5&currency=usd&payment_method=pm_unheard_of", "resource_missing"),
            ("amount=5&currency=usd&color=red", "parameter_unknown"),
        ] {
            assert_eq!(code(create(&form(sent))), expected, "{sent}");
        }
        assert_eq!(code(refund(&form("amount=5"))), "parameter_missing");
        assert_eq!(code(refund(&form("charge=ch_1&reason=bored"))), "parameter_invalid");
    }

    #[test]
    fn an_unknown_fault_is_refused() {
        assert!(wishes(&form("payment_method=pm_card_visa__explode")).is_err());
        assert_eq!(wishes(&form("payment_method=pm_card_visa__fail&metadata[sandbox_fault]=slow")).unwrap().len(), 2);
    }
}
