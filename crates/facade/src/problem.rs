//! Problem details (RFC 9457): the one form in which anything that went wrong is told.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::codes::{self, Code};

/// `Content-Type` of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The most errors that one document lists.
const ERRORS_MAX: usize = 50;

/// What went wrong. As a response it is only a status and a mark; the edge of the router writes the document, because only
/// there trace and request id are known.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: Option<Cow<'static, str>>,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is wrong with one place in the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body; empty: the body as a whole.
    pub pointer: String,
    /// For people; never repeats what stands there.
    pub message: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl Problem {
    /// A problem with nothing but its code.
    pub fn new(code: Code) -> Self {
        Self { code, detail: None, errors: Vec::new(), headers: Vec::new() }
    }

    /// The body does not have the required form.
    pub fn invalid(errors: impl IntoIterator<Item = FieldError>) -> Self {
        let errors = errors.into_iter().take(ERRORS_MAX).collect();
        Self { errors, ..Self::new(codes::REQUEST_INVALID) }
    }

    /// With a sentence about this occurrence. It is public: no payload, no person's data, no address of a server.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With a header field of the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The document.
    pub(crate) fn document<'a>(&'a self, trace_id: &'a str, request_id: &'a str) -> Document<'a> {
        Document {
            kind: page_of(self.code.name),
            code: self.code.name,
            title: self.code.title,
            status: self.code.status.as_u16(),
            detail: self.detail.as_deref(),
            errors: &self.errors,
            trace_id,
            request_id,
        }
    }
}

/// The address of a code's page.
pub(crate) fn page_of(code: &str) -> String {
    format!("/problems/{code}")
}

/// A problem document as it is sent.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    code: &'a str,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    trace_id: &'a str,
    request_id: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status: StatusCode = self.code.status;
        let mut response = status.into_response();
        response.headers_mut().extend(self.headers.iter().cloned());
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}
