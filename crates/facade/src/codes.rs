//! Every code that the API itself answers. Each has a page in `docs/problems`; a test compares the two.

use http::StatusCode;

/// What went wrong, for machines; the status that goes with it, and a title for people that never varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// In kebab case.
    pub name: &'static str,
    /// Of the answer.
    pub status: StatusCode,
    /// One sentence, without a stop.
    pub title: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $constant:ident = $status:ident $name:literal $title:literal;)+) => {
        $(
            $(#[$doc])*
            #[doc = $title]
            pub const $constant: Code = Code { name: $name, status: StatusCode::$status, title: $title };
        )+

        /// All of them.
        pub const CODES: &[Code] = &[$($constant),+];
    };
}

codes! {
    IDEMPOTENCY_KEY_MISSING = BAD_REQUEST "idempotency-key-missing" "A command needs an Idempotency-Key";
    IDEMPOTENCY_KEY_INVALID = BAD_REQUEST "idempotency-key-invalid" "The Idempotency-Key is not usable";
    IDEMPOTENCY_KEY_REUSED = UNPROCESSABLE_ENTITY "idempotency-key-reused" "The Idempotency-Key was used for another request";
    JSON_MALFORMED = BAD_REQUEST "json-malformed" "The body is not JSON";
    REQUEST_INVALID = UNPROCESSABLE_ENTITY "request-invalid" "The request does not have the required form";
    PARAMETER_INVALID = BAD_REQUEST "parameter-invalid" "A parameter of the request is not usable";
    CURSOR_INVALID = BAD_REQUEST "cursor-invalid" "The cursor does not belong to this list";
    IF_MATCH_INVALID = BAD_REQUEST "if-match-invalid" "The If-Match is not an ETag of this resource";
    CARD_NUMBER_REFUSED = BAD_REQUEST "card-number-refused" "Card numbers are not taken here";
    TEXT_INVALID = BAD_REQUEST "text-invalid" "A text holds a character that cannot be stored";
    TOKEN_MISSING = UNAUTHORIZED "token-missing" "A bearer token is needed";
    TOKEN_INVALID = UNAUTHORIZED "token-invalid" "The bearer token is not accepted";
    TOKEN_EXPIRED = UNAUTHORIZED "token-expired" "The bearer token has expired";
    SIGNATURE_INVALID = UNAUTHORIZED "signature-invalid" "The signature of the notice is not accepted";
    SCOPE_MISSING = FORBIDDEN "scope-missing" "The token lacks a scope";
    NOT_YOURS = FORBIDDEN "not-yours" "This belongs to somebody else";
    NOT_FOUND = NOT_FOUND "not-found" "There is nothing here";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED "method-not-allowed" "This address does not take this method";
    REQUEST_TIMEOUT = REQUEST_TIMEOUT "request-timeout" "The request did not arrive in time";
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE "body-too-large" "The body is too large";
    MEDIA_TYPE_UNSUPPORTED = UNSUPPORTED_MEDIA_TYPE "media-type-unsupported" "The body must be application/json";
    REQUEST_REFUSED = BAD_REQUEST "request-refused" "The request is not understood";
    RATE_LIMITED = TOO_MANY_REQUESTS "rate-limited" "There were too many requests of this caller";
    OVERLOADED = TOO_MANY_REQUESTS "overloaded" "There is more to do than can be done now";
    TOO_MANY_STREAMS = SERVICE_UNAVAILABLE "too-many-streams" "Too many event streams are open";
    NOT_KNOWN_TO_BE_ACCEPTED = SERVICE_UNAVAILABLE "not-known-to-be-accepted" "It is not known whether the command was accepted";
    NOT_ACCEPTED = SERVICE_UNAVAILABLE "not-accepted" "The command was not accepted";
    NOT_YET_VISIBLE = SERVICE_UNAVAILABLE "not-yet-visible" "What was asked to be waited for is not visible yet";
    UNAVAILABLE = SERVICE_UNAVAILABLE "unavailable" "Something that is needed for the answer cannot be reached";
    TIMED_OUT = SERVICE_UNAVAILABLE "answer-timed-out" "The answer took too long";
    INTERNAL = INTERNAL_SERVER_ERROR "internal" "Something went wrong on our side";
}

/// The code for an answer that has a status and nothing more.
pub(crate) fn of_status(status: StatusCode) -> Code {
    match status {
        StatusCode::NOT_FOUND => NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED => METHOD_NOT_ALLOWED,
        StatusCode::REQUEST_TIMEOUT => REQUEST_TIMEOUT,
        StatusCode::PAYLOAD_TOO_LARGE => BODY_TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => MEDIA_TYPE_UNSUPPORTED,
        StatusCode::UNAUTHORIZED => TOKEN_INVALID,
        status if status.is_client_error() => REQUEST_REFUSED,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        _ => INTERNAL,
    }
}
