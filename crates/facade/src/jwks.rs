//! The issuer's public keys (RFC 7517): fetched when needed, kept, fetched anew when a token names a key that is not among them.

use std::sync::Arc;
use std::time::Duration;

use daybook_service::Clock;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;

use crate::codes;
use crate::problem::Problem;

/// How long keys are used before they are asked for again: so long a withdrawn key still counts.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);
/// How soon an unknown key may make us ask again: anybody can name unknown keys.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How long the issuer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest key set that is read, in bytes.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// The most keys that are kept.
const KEYS_MAX: usize = 32;

pub(crate) struct KeySet {
    url: String,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    /// Held while asking, so that many requests make one question.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    keys: Vec<Jwk>,
    fetched_at: Option<Duration>,
    tried_at: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("the issuer does not answer: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the answer is more than {ANSWER_MAX_BYTES} bytes")]
    Large,
    #[error("the answer is no key set")]
    Form,
}

impl KeySet {
    pub(crate) fn new(url: &str, clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        daybook_service::install_tls();
        let client =
            reqwest::Client::builder().timeout(ANSWER_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { url: url.to_owned(), client, clock, kept: Mutex::default() })
    }

    /// The key with this id, if it may be used with this algorithm.
    ///
    /// # Errors
    /// `unavailable` when no key was ever had.
    pub(crate) async fn key(&self, kid: &str, algorithm: Algorithm) -> Result<Option<DecodingKey>, Problem> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.elapsed();
        let older_than = |since: Option<Duration>, age| since.is_none_or(|since| now.saturating_sub(since) >= age);
        let is_wanted = older_than(kept.fetched_at, KEPT_FOR) || !kept.keys.iter().any(|key| has_id(key, kid));
        if is_wanted && older_than(kept.tried_at, ASK_AGAIN_AFTER) {
            kept.tried_at = Some(now);
            match self.fetch().await {
                Ok(keys) => *kept = Kept { keys, fetched_at: Some(now), tried_at: Some(now) },
                Err(error) => tracing::warn!(%error, "the issuer's keys could not be fetched"),
            }
        }
        if kept.fetched_at.is_none() {
            return Err(Problem::new(codes::UNAVAILABLE).detail("The issuer's keys are out of reach."));
        }
        let found = kept.keys.iter().find(|key| has_id(key, kid) && fits(key, algorithm));
        Ok(found.and_then(|key| DecodingKey::from_jwk(key).ok()))
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, Unreadable> {
        let request = self.client.get(&self.url).send().await;
        let mut response =
            request.and_then(reqwest::Response::error_for_status).map_err(reqwest::Error::without_url)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_MAX_BYTES {
                return Err(Unreadable::Large);
            }
        }
        let mut set: JwkSet = serde_json::from_slice(&bytes).map_err(|_| Unreadable::Form)?;
        set.keys.truncate(KEYS_MAX);
        Ok(set.keys)
    }
}

fn has_id(key: &Jwk, kid: &str) -> bool {
    key.common.key_id.as_deref() == Some(kid)
}

/// A key that names an algorithm is for that one only.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    key.common.key_algorithm.is_none_or(|named| named.to_string() == format!("{algorithm:?}"))
}
