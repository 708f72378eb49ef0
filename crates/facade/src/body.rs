//! Bodies: of bounded size and time, JSON, free of what must not come in, and of the form that the route asks for.

use axum::body::Body;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::codes;
use crate::guard::{check_text, holds_card_number};
use crate::pointer::pointer_at;
use crate::problem::{FieldError, Problem};

/// Reads the whole body.
///
/// # Errors
/// `body-too-large`, `request-timeout`, or `request-refused` when the client breaks off.
pub(crate) async fn read(headers: &HeaderMap, body: Body, max_bytes: usize, by: Instant) -> Result<Vec<u8>, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let too_large = || Problem::new(codes::BODY_TOO_LARGE).detail(format!("At most {max_bytes} bytes are taken."));
    if announced.is_some_and(|bytes| usize::try_from(bytes).is_ok_and(|bytes| bytes > max_bytes)) {
        return Err(too_large());
    }
    match timeout_at(by, Limited::new(body, max_bytes).collect()).await {
        Err(_) => Err(codes::REQUEST_TIMEOUT.into()),
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a body did not arrive");
            Err(codes::REQUEST_TIMEOUT.into())
        }
    }
}

/// The body is announced as JSON.
///
/// # Errors
/// `media-type-unsupported`.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let announced = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut pieces = announced.split(';').map(str::trim);
    let is_json = pieces.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let is_utf8 = pieces.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if is_json && is_utf8 { Ok(()) } else { Err(codes::MEDIA_TYPE_UNSUPPORTED.into()) }
}

/// JSON that was checked for what must not come in.
pub(crate) struct Json<'a> {
    text: &'a str,
    pub(crate) value: Value,
}

impl<'a> Json<'a> {
    /// # Errors
    /// `card-number-refused`, `text-invalid`, `json-malformed`.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Problem> {
        // First, so that a broken document with a card number in it is told as what matters.
        if holds_card_number(bytes) {
            return Err(codes::CARD_NUMBER_REFUSED.into());
        }
        let malformed = |detail: String| Problem::new(codes::JSON_MALFORMED).detail(detail);
        let text = std::str::from_utf8(bytes)
            .map_err(|error| malformed(format!("Byte {} is not UTF-8.", error.valid_up_to())))?;
        if text.contains('\0') {
            return Err(codes::TEXT_INVALID.into());
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|error| malformed(format!("Line {}, column {}.", error.line(), error.column())))?;
        check_values(&value)?;
        Ok(Self { text, value })
    }

    /// The request that it holds.
    ///
    /// # Errors
    /// `request-invalid`, naming the place.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_str(self.text).map_err(|error| {
            let pointer = pointer_at(self.text, error.line(), error.column());
            Problem::invalid([FieldError::new(pointer, without_values(&error.to_string()))])
        })
    }
}

/// Texts may hide what they hold behind escapes, so what is checked is what they mean.
fn check_values(value: &Value) -> Result<(), Problem> {
    match value {
        Value::String(text) => check_text(text),
        Value::Array(items) => items.iter().try_for_each(check_values),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            check_text(name)?;
            check_values(value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// What serde says, without what the client wrote: that may be anything, a person's data included.
fn without_values(message: &str) -> String {
    let said = message.rsplit_once(" at line ").map_or(message, |(said, _)| said);
    if said.starts_with("missing field ") || said.starts_with("duplicate field ") {
        return said.to_owned();
    }
    let what = if said.starts_with("unknown field ") { "unknown field" } else { "does not fit" };
    match said.rsplit_once("expected ") {
        Some((_, expected)) => format!("{what}: expected {expected}"),
        None if said.starts_with("UUID parsing failed") => format!("{what}: expected a UUID"),
        None => what.to_owned(),
    }
}

/// The same text for the same JSON, whatever the order of fields and the white space.
pub(crate) fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            out.push(b'{');
            for (name, value) in sorted {
                write(name, out);
                out.push(b':');
                canonical(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        plain => write(plain, out),
    }
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("texts, numbers and booleans have a form in JSON, and memory takes it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its type matters")]
        price: Price,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Price {
        #[expect(dead_code, reason = "only its type matters")]
        amount: i64,
    }

    fn errors(text: &str) -> Vec<FieldError> {
        Json::parse(text.as_bytes()).unwrap().read::<Sample>().unwrap_err().errors
    }

    #[test]
    fn a_wrong_value_is_told_by_its_place_and_not_repeated() {
        let found = errors(r#"{"price": {"amount": "jane@example.org"}}"#);
        assert_eq!(found, [FieldError::new("/price/amount", "does not fit: expected i64")]);
    }

    #[test]
    fn missing_and_unknown_fields_are_told() {
        assert_eq!(errors(r#"{"price": {}}"#), [FieldError::new("/price", "missing field `amount`")]);
        let found = errors(r#"{"jane": 1}"#);
        assert_eq!(found, [FieldError::new("/jane", "unknown field: expected `price`")]);
    }

    #[test]
    fn what_is_hidden_behind_escapes_is_found() {
        let code = |text: &str| Json::parse(text.as_bytes()).map(|_| ()).map_err(|problem| problem.code());
        assert_eq!(code(r#"{"a": "\u0034242424242424242"}"#), Err(codes::CARD_NUMBER_REFUSED));
        assert_eq!(code(r#"{"a": "x\u0000"}"#), Err(codes::TEXT_INVALID));
        assert_eq!(code(r#"{"a": 4242424242424242}"#), Err(codes::CARD_NUMBER_REFUSED));
        assert_eq!(code(r#"{"a": "#), Err(codes::JSON_MALFORMED));
        assert_eq!(code(r#"{"a": 1}"#), Ok(()));
    }

    #[test]
    fn order_and_white_space_make_no_other_request() {
        let text = |json: &str| {
            let mut out = Vec::new();
            canonical(&serde_json::from_str(json).unwrap(), &mut out);
            out
        };
        assert_eq!(text(r#"{"a":1,"b":[true,"x"]}"#), text("{ \"b\": [true, \"x\"],\n\"a\": 1}"));
        assert_ne!(text(r#"{"a":1}"#), text(r#"{"a":"1"}"#));
    }
}
