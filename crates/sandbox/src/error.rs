//! Errors as the API shows them: Stripe's envelope and status codes.

use crate::cards::Decline;
use serde::Serialize;
use serde_json::Value;

/// An error answer. Its texts never repeat what the caller sent.
#[derive(Clone, Debug, Serialize)]
pub struct ApiError {
    #[serde(skip)]
    pub status: u16,
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    pub message: String,
    #[serde(flatten)]
    card: Option<Box<CardError>>,
}

/// What a card error says besides; boxed, since most errors are none.
#[derive(Clone, Debug, Serialize)]
struct CardError {
    decline_code: Option<String>,
    charge: Option<String>,
    /// The payment intent that the error leaves behind.
    payment_intent: Value,
}

const INVALID_REQUEST: &str = "invalid_request_error";
const API_ERROR: &str = "api_error";
const IDEMPOTENCY: &str = "idempotency_error";

impl ApiError {
    fn new(status: u16, kind: &'static str, code: Option<&str>, message: &str) -> Self {
        ApiError { status, kind, code: code.map(str::to_owned), param: None, message: message.to_owned(), card: None }
    }

    /// 400: the request cannot be carried out as it is.
    pub fn invalid(code: &str, message: &str) -> Self {
        ApiError::new(400, INVALID_REQUEST, Some(code), message)
    }

    /// 400: one parameter is missing or not what it must be.
    pub fn parameter(code: &str, name: &str) -> Self {
        let mut error = ApiError::invalid(code, &format!("The parameter {name} is missing or invalid."));
        error.param = Some(name.to_owned());
        error
    }

    pub fn card_number_refused() -> Self {
        ApiError::invalid("card_number_refused", "The request holds a card number. Send a payment method token.")
    }

    /// 400: the object is in a state that doesn't allow this.
    pub fn unexpected_state(status: &str, wanted: &str) -> Self {
        ApiError::invalid(
            "payment_intent_unexpected_state",
            &format!("The payment intent has the status {status}; this needs {wanted}."),
        )
    }

    /// 404: no such object.
    pub fn missing(what: &str) -> Self {
        let mut error = ApiError::new(404, INVALID_REQUEST, Some("resource_missing"), &format!("No such {what}."));
        error.param = Some("id".to_owned());
        error
    }

    /// 404: no such route.
    pub fn unknown_route() -> Self {
        ApiError::new(404, INVALID_REQUEST, None, "Unrecognized request URL.")
    }

    /// 401: no or a wrong API key.
    pub fn unauthorized() -> Self {
        ApiError::new(401, INVALID_REQUEST, None, "The API key is missing or wrong.")
    }

    /// 413: the body is larger than the limit.
    pub fn too_large() -> Self {
        ApiError::new(413, INVALID_REQUEST, Some("request_too_large"), "The request's body is too large.")
    }

    /// 402: the card was declined.
    pub fn declined(decline: &Decline, charge: Option<String>, payment_intent: Value) -> Self {
        let mut error = ApiError::new(402, "card_error", Some(&decline.code), &decline.message);
        error.card = Some(Box::new(CardError {
            decline_code: decline.decline_code.as_deref().map(str::to_owned),
            charge,
            payment_intent,
        }));
        error
    }

    /// 409: another request with the same key is being worked on.
    pub fn key_in_use() -> Self {
        ApiError::new(
            409,
            IDEMPOTENCY,
            Some("idempotency_key_in_use"),
            "Another request with this idempotency key is in progress.",
        )
    }

    /// 400: the key was used for something else before.
    pub fn key_reused() -> Self {
        ApiError::new(
            400,
            IDEMPOTENCY,
            None,
            "Keys for idempotent requests can only be used with the parameters they were first used with.",
        )
    }

    /// 429: slow down.
    pub fn rate_limited() -> Self {
        ApiError::new(429, INVALID_REQUEST, Some("rate_limit"), "Too many requests; try again later.")
    }

    /// 500: something is wrong on this side.
    pub fn internal() -> Self {
        ApiError::new(500, API_ERROR, None, "An unexpected error occurred.")
    }

    /// 503: the store no longer takes what is written.
    pub fn store_failed() -> Self {
        ApiError::new(503, API_ERROR, None, "The sandbox cannot write to its store.")
    }

    /// The body: `{"error": {...}}`.
    pub fn body(&self) -> Value {
        serde_json::json!({ "error": self })
    }
}
