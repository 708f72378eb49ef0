//! The issuer's public keys (RFC 7517): fetched when needed, kept, fetched anew when a token names a key that is not among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    fetches: AtomicU64,
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
        Ok(Self { url: url.to_owned(), client, clock, kept: Mutex::default(), fetches: AtomicU64::new(0) })
    }

    /// How often keys were fetched. What was found good before the last time may be signed by a key that was withdrawn.
    pub(crate) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Acquire)
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
                Ok(keys) => {
                    *kept = Kept { keys, fetched_at: Some(now), tried_at: Some(now) };
                    self.fetches.fetch_add(1, Ordering::Release);
                }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Shared;
    use std::sync::atomic::AtomicUsize;
    use std::time::SystemTime;

    use axum::Router;
    use axum::routing::get;
    use daybook_service::settings::Auth;
    use http::{HeaderMap, HeaderValue, header};
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{StandingClock, claims};
    use crate::{Caller, Tokens};

    /// What stands before the 32 secret bytes of an Ed25519 key in PKCS #8 (RFC 8410).
    const ED25519_PKCS8: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

    /// A clock that the test sets, in seconds from its start.
    #[derive(Clone, Default)]
    struct SetClock(Arc<AtomicU64>);

    impl Clock for SetClock {
        fn wall(&self) -> SystemTime {
            StandingClock.wall() + self.elapsed()
        }

        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    fn key(seed: u8) -> EncodingKey {
        EncodingKey::from_ed_der(&[&ED25519_PKCS8[..], &[seed; 32]].concat())
    }

    fn public(seed: u8, kid: &str) -> serde_json::Value {
        let mut jwk = json!(Jwk::from_encoding_key(&key(seed), Algorithm::EdDSA).unwrap());
        jwk["kid"] = json!(kid);
        jwk
    }

    fn token(seed: u8, kid: &str) -> HeaderMap {
        let header = Header { typ: Some("at+jwt".into()), kid: Some(kid.into()), ..Header::new(Algorithm::EdDSA) };
        let token = jsonwebtoken::encode(&header, &claims(Uuid::from_u128(1), None, ""), &key(seed)).unwrap();
        let field = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, field)])
    }

    /// An issuer on loopback, and how often it was asked.
    struct Issuer {
        keys: Arc<Shared<String>>,
        asked: Arc<AtomicUsize>,
        tokens: Tokens,
        clock: SetClock,
        /// Ends with the issuer.
        _server: JoinSet<std::io::Result<()>>,
    }

    impl Issuer {
        async fn start(keys: &[serde_json::Value]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/keys", listener.local_addr().unwrap());
            let keys = Arc::new(Shared::new(json!({"keys": keys}).to_string()));
            let asked = Arc::new(AtomicUsize::new(0));
            let (answer, count) = (Arc::clone(&keys), Arc::clone(&asked));
            let handler = move || {
                count.fetch_add(1, Ordering::SeqCst);
                std::future::ready(answer.lock().unwrap().clone())
            };
            let mut server = JoinSet::new();
            server.spawn(async move { axum::serve(listener, Router::new().route("/keys", get(handler))).await });
            let clock = SetClock::default();
            let (issuer, audience) = ("daybook".to_owned(), "daybook".to_owned());
            let auth = Auth { issuer, audience, shared_secret: None, jwks_url: Some(url) };
            let tokens = Tokens::new(&auth, Arc::new(clock.clone())).unwrap();
            Self { keys, asked, tokens, clock, _server: server }
        }

        fn publish(&self, keys: &[serde_json::Value]) {
            *self.keys.lock().unwrap() = json!({"keys": keys}).to_string();
        }

        async fn caller(&self, headers: &HeaderMap) -> Result<Option<Caller>, &'static str> {
            self.tokens.caller(headers).await.map_err(|problem| problem.code().name)
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_token_is_good_if_a_published_key_has_signed_it() {
        let issuer = Issuer::start(&[public(1, "first")]).await;
        assert!(issuer.caller(&token(1, "first")).await.unwrap().is_some());
        assert_eq!(issuer.caller(&token(2, "first")).await.unwrap_err(), "token-invalid");
        assert_eq!(issuer.caller(&token(1, "other")).await.unwrap_err(), "token-invalid");
        assert_eq!(issuer.asked(), 1, "keys are kept, and unknown ones make nobody ask at once");
    }

    #[tokio::test]
    async fn a_new_key_is_found_and_a_withdrawn_one_forgotten() {
        let issuer = Issuer::start(&[public(1, "first")]).await;
        assert!(issuer.caller(&token(1, "first")).await.is_ok());
        issuer.publish(&[public(2, "second")]);
        issuer.clock.0.store(ASK_AGAIN_AFTER.as_secs(), Ordering::SeqCst);
        assert!(issuer.caller(&token(1, "first")).await.is_ok(), "until keys are asked for again it counts");
        assert!(issuer.caller(&token(2, "second")).await.is_ok());
        assert_eq!(issuer.caller(&token(1, "first")).await.unwrap_err(), "token-invalid");
        assert_eq!(issuer.asked(), 2);
    }

    #[tokio::test]
    async fn a_known_token_expires_all_the_same() {
        let issuer = Issuer::start(&[public(1, "first")]).await;
        let lifetime = claims(Uuid::nil(), None, "").exp - claims(Uuid::nil(), None, "").iat;
        issuer.clock.0.store(lifetime.unsigned_abs(), Ordering::SeqCst);
        for _ in 0..2 {
            assert!(issuer.caller(&token(1, "first")).await.is_ok(), "clocks differ by some seconds");
        }
        issuer.clock.0.fetch_add(10, Ordering::SeqCst);
        assert_eq!(issuer.caller(&token(1, "first")).await.unwrap_err(), "token-expired");
    }

    #[tokio::test]
    async fn an_issuer_that_says_nothing_useful_leaves_the_kept_keys() {
        let issuer = Issuer::start(&[public(1, "first")]).await;
        assert!(issuer.caller(&token(1, "first")).await.is_ok());
        *issuer.keys.lock().unwrap() = " ".repeat(ANSWER_MAX_BYTES + 1);
        issuer.clock.0.store(KEPT_FOR.as_secs(), Ordering::SeqCst);
        assert!(issuer.caller(&token(1, "first")).await.is_ok());
        assert_eq!(issuer.asked(), 2);
    }

    #[tokio::test]
    async fn without_any_key_it_is_not_the_token_that_is_wrong() {
        let issuer = Issuer::start(&[]).await;
        *issuer.keys.lock().unwrap() = "no key set".to_owned();
        assert_eq!(issuer.caller(&token(1, "first")).await.unwrap_err(), "unavailable");
    }

    #[tokio::test]
    async fn a_public_key_is_never_taken_for_a_shared_secret() {
        let issuer = Issuer::start(&[public(1, "first")]).await;
        let header = Header { typ: Some("at+jwt".into()), kid: Some("first".into()), ..Header::new(Algorithm::HS256) };
        let secret = EncodingKey::from_secret(public(1, "first")["x"].as_str().unwrap().as_bytes());
        let forged = jsonwebtoken::encode(&header, &claims(Uuid::from_u128(1), None, "operator"), &secret).unwrap();
        let field = HeaderValue::from_str(&format!("Bearer {forged}")).unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, field)]);
        assert_eq!(issuer.caller(&headers).await.unwrap_err(), "token-invalid");
    }
}
