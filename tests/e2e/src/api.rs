//! The public API, as one caller sees it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::until::{PATIENCE, until};

/// How long an answer is held back for the outcome, in seconds.
const WAIT_S: u32 = 20;
/// How long a token is valid.
const TOKEN_S: i64 = 3_600;

/// What a token says.
#[derive(Clone, Debug)]
pub struct Claims {
    pub person: Uuid,
    pub organization: Option<Uuid>,
    pub scope: String,
    /// Seconds from now.
    pub expires_in_s: i64,
}

impl Claims {
    pub fn of(person: Uuid, scope: &str) -> Self {
        Self { person, organization: None, scope: scope.to_owned(), expires_in_s: TOKEN_S }
    }

    /// A token signed with this secret.
    ///
    /// # Panics
    /// When the clock is before 1970.
    pub fn sign(&self, secret: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs();
        let now = i64::try_from(now).expect("the clock is before the end of time");
        let mut claims = json!({
            "iss": "daybook", "aud": "daybook", "sub": self.person, "scope": self.scope,
            "iat": now.min(now + self.expires_in_s), "exp": now + self.expires_in_s,
        });
        if let Some(organization) = self.organization {
            claims["org"] = json!(organization);
        }
        let header = Header { typ: Some("at+jwt".to_owned()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&header, &claims, &key).expect("claims can be signed")
    }
}

/// One caller of the API.
#[derive(Clone)]
pub struct Api {
    pub http: Client,
    pub url: String,
    /// Empty: none is sent.
    pub token: String,
}

/// A command.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: Method,
    /// Under `/api/v1`.
    pub path: String,
    pub key: String,
    pub body: Value,
    pub wait_s: Option<u32>,
}

impl Ask {
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, path: path.into(), key: Uuid::new_v4().to_string(), body, wait_s: None }
    }

    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::PUT, ..Self::post(path, body) }
    }

    #[must_use]
    pub fn waiting(self) -> Self {
        Self { wait_s: Some(WAIT_S), ..self }
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    fn read(response: Response) -> Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text()?;
        Ok(Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The code of a problem document.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The operation that a command became.
    ///
    /// # Errors
    /// When it names none.
    pub fn operation_id(&self) -> Result<Uuid> {
        let id = self.header("location").and_then(|location| location.rsplit('/').next());
        Ok(id.with_context(|| format!("an answer without a location: {} {}", self.status, self.body))?.parse()?)
    }
}

impl Api {
    /// A request to a path from the root, with the token if there is one.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    /// # Errors
    /// When no answer comes.
    pub fn get(&self, path: &str) -> Result<Answer> {
        Answer::read(self.request(Method::GET, &format!("/api/v1{path}")).send()?)
    }

    /// # Errors
    /// When no answer comes.
    pub fn send(&self, ask: &Ask) -> Result<Answer> {
        let mut request = self
            .request(ask.method.clone(), &format!("/api/v1{}", ask.path))
            .header("idempotency-key", &ask.key)
            .json(&ask.body);
        if let Some(seconds) = ask.wait_s {
            request = request.header("prefer", format!("wait={seconds}"));
        }
        Answer::read(request.send()?)
    }

    /// # Errors
    /// When no answer comes.
    pub fn answer(&self, request: RequestBuilder) -> Result<Answer> {
        Answer::read(request.send()?)
    }

    /// Sends a command and waits until it is closed. Answers the operation.
    ///
    /// # Errors
    /// When it is not accepted, or not closed in time.
    pub fn close(&self, ask: Ask) -> Result<Value> {
        let answer = self.send(&ask.waiting())?;
        ensure!(matches!(answer.status, 200 | 202), "not accepted: {} {}", answer.status, answer.body);
        self.closed(answer.operation_id()?)
    }

    /// Sends a command that must succeed. Answers the data of its closing event.
    ///
    /// # Errors
    /// When it does not succeed.
    pub fn succeed(&self, ask: Ask) -> Result<Value> {
        let operation = self.close(ask)?;
        ensure!(operation["status"] == "succeeded", "it did not succeed: {operation}");
        Ok(operation["result"]["data"].clone())
    }

    /// Waits until an operation is closed.
    ///
    /// # Errors
    /// When it is not closed in time.
    pub fn closed(&self, operation_id: Uuid) -> Result<Value> {
        let what = format!("operation {operation_id} is closed");
        let mut last = Value::Null;
        let found = until(&what, 2 * PATIENCE, || {
            last = self.get(&format!("/operations/{operation_id}"))?.body;
            Ok(is_closed(&last).then(|| last.clone()))
        });
        found.with_context(|| format!("at last it was {last}"))
    }
}

fn is_closed(operation: &Value) -> bool {
    matches!(operation["status"].as_str(), Some("succeeded" | "failed"))
}
