//! HTTP to the provider: what was surely not sent is told from what may have arrived.

use std::time::Duration;

use daybook_consumer::Attempt;
use reqwest::{Client, RequestBuilder, Url};
use serde::de::DeserializeOwned;

use super::form::Form;

/// The most bytes of an answer that are read.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the provider is, and how to talk to it.
#[derive(Clone)]
pub struct Settings {
    /// Without a path: `https://api.stripe.com`.
    pub url: String,
    /// The secret key.
    pub api_key: String,
    /// How long a call may take; shorter than the engine's own bound on it.
    pub timeout: Duration,
    /// How long after a call a search may not show it yet.
    pub settle: Duration,
}

/// The adapter cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the provider's address is no http or https URL")]
    Url,
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

pub(super) struct Transport {
    client: Client,
    url: Url,
    api_key: String,
}

/// An answer of the provider, whatever it says.
pub(super) struct Answer {
    pub(super) status: u16,
    is_replayed: bool,
    body: Vec<u8>,
}

impl Answer {
    /// An internal error that was given before and is only repeated.
    pub(super) fn is_kept_failure(&self) -> bool {
        self.is_replayed && self.status >= 500
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl Transport {
    pub(super) fn new(settings: Settings) -> Result<Self, Error> {
        let url = Url::parse(&settings.url).map_err(|_| Error::Url)?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(Error::Url);
        }
        install_crypto_provider();
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(settings.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(Error::Client)?;
        Ok(Self { client, url, api_key: settings.api_key })
    }

    pub(super) async fn post<T>(&self, path: &str, form: Form, key: &str) -> Result<Answer, Attempt<T>> {
        let request = self.client.post(self.at(path)).form(&form).header("Idempotency-Key", key);
        self.send(request).await
    }

    pub(super) async fn get<T>(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Answer, Attempt<T>> {
        self.send(self.client.get(self.at(path)).query(parameters)).await
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }

    async fn send<T>(&self, request: RequestBuilder) -> Result<Answer, Attempt<T>> {
        let unknown = |error: reqwest::Error| lost(&error);
        let mut response = request.bearer_auth(&self.api_key).send().await.map_err(unknown)?;
        let status = response.status().as_u16();
        let is_replayed = response.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unknown)? {
            if body.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(Attempt::Unknown { code: "provider-answer-too-long" });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, is_replayed, body })
    }
}

/// No connection, no request: only then nothing can have happened.
fn lost<T>(error: &reqwest::Error) -> Attempt<T> {
    if error.is_connect() || error.is_builder() {
        Attempt::Refused { code: "provider-unreachable" }
    } else if error.is_timeout() {
        Attempt::Unknown { code: "provider-timeout" }
    } else {
        Attempt::Unknown { code: "provider-connection-lost" }
    }
}

/// The client insists on one, even for plain HTTP. The process's own, if it has one, stays.
fn install_crypto_provider() {
    let is_missing = rustls::crypto::CryptoProvider::get_default().is_none();
    if is_missing && rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("another thread installed the process's crypto provider first");
    }
}
