//! Bearer tokens: JWTs of type `at+jwt` (RFC 9068), signed with a shared secret (HS256) or with a key of the issuer's key set.

use std::sync::Arc;

use daybook_consumer::Access;
use daybook_events::{Actor, MAX_TEXT_BYTES, Timestamp};
use daybook_service::{Clock, Secret, settings};
use http::{HeaderMap, header};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codes::{self, Code};
use crate::jwks::KeySet;
use crate::known_tokens::{Fingerprint, KnownTokens, Moment};
use crate::problem::Problem;

/// The longest token that is looked at.
const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// How far the issuer's clock may be from ours.
const CLOCK_LEEWAY_SECONDS: i64 = 5;

/// The type that a token must say it has: an ID token, say, is signed by the same keys and is no access token.
const TOKEN_TYPE: &str = "at+jwt";

const KEY_SET_ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// For whom it is.
    pub aud: String,
    /// The person, or the machine's account.
    pub sub: Uuid,
    /// The organization on whose behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<Uuid>,
    /// What it allows, words separated by single spaces.
    #[serde(default)]
    pub scope: String,
    /// Issued, in seconds since 1970.
    pub iat: i64,
    /// Not to be accepted before, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Not to be accepted from then on, in seconds since 1970.
    pub exp: i64,
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the token cannot be signed: {0}")]
pub struct MintError(#[from] jsonwebtoken::errors::Error);

/// Signs a token with a shared secret, for development and tests.
///
/// # Errors
/// None that a caller could cause.
pub fn mint(claims: &Claims, secret: &Secret<String>) -> Result<String, MintError> {
    let header = Header { typ: Some(TOKEN_TYPE.to_owned()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    Ok(jsonwebtoken::encode(&header, claims, &key)?)
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The person, or the machine's account.
    pub id: Uuid,
    /// The organization on whose behalf.
    pub tenant: Option<Uuid>,
    /// What they may do.
    pub scopes: Arc<str>,
}

impl Caller {
    /// Whether `scope` is among the caller's scopes.
    pub fn may(&self, scope: &str) -> bool {
        self.scopes.split(' ').any(|own| own == scope)
    }

    /// # Errors
    /// `scope-missing`, naming it.
    pub fn require(&self, scope: &str) -> Result<(), Problem> {
        if self.may(scope) { Ok(()) } else { Err(scope_missing(scope)) }
    }

    /// The caller as messages carry it.
    pub fn actor(&self) -> Actor {
        Actor { id: self.id, scopes: Arc::clone(&self.scopes) }
    }

    /// The claim of the token that a route names.
    pub fn claim(&self, name: &str) -> Option<Uuid> {
        match name {
            "sub" => Some(self.id),
            "tenant" | "org" => self.tenant,
            _ => None,
        }
    }
}

fn scope_missing(scope: &str) -> Problem {
    Problem::new(codes::SCOPE_MISSING)
        .detail(format!("The scope {scope} is needed."))
        .header(header::WWW_AUTHENTICATE, format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""))
}

/// Lets the caller through, or says why not. `parameter` finds a parameter of the request by name.
///
/// # Errors
/// `token-missing`, `scope-missing`, `not-yours`.
pub(crate) fn admit(
    access: &Access,
    caller: Option<&Caller>,
    parameter: impl Fn(&str) -> Option<Uuid>,
) -> Result<(), Problem> {
    let known = || caller.ok_or_else(|| refused(codes::TOKEN_MISSING));
    match *access {
        Access::Public => Ok(()),
        Access::Scope(scope) => known()?.require(scope),
        Access::Owner { parameter: name, claim, own, any } => {
            let caller = known()?;
            if caller.may(any) {
                return Ok(());
            }
            caller.require(own)?;
            let is_own = caller.claim(claim).is_some_and(|claim| parameter(name) == Some(claim));
            if is_own { Ok(()) } else { Err(codes::NOT_YOURS.into()) }
        }
    }
}

/// What a token is good for, once its signature, issuer and audience were found good.
#[derive(Clone)]
pub(crate) struct Good {
    pub(crate) caller: Caller,
    /// In seconds since 1970.
    pub(crate) not_before: Option<i64>,
    /// In seconds since 1970.
    pub(crate) expires: i64,
}

/// Verifies tokens. Share one per process.
pub struct Tokens {
    issuer: String,
    audience: String,
    secret: Option<DecodingKey>,
    key_set: Option<KeySet>,
    known: KnownTokens,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    /// By the settings; both kinds of keys may be in use at once.
    ///
    /// # Errors
    /// When no HTTP client for the key set can be built.
    pub fn new(settings: &settings::Auth, clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        let key_set = settings.jwks_url.as_deref().map(|url| KeySet::new(url, Arc::clone(&clock))).transpose()?;
        let secret = settings.shared_secret.as_ref();
        Ok(Self {
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            secret: secret.map(|secret| DecodingKey::from_secret(secret.expose().as_bytes())),
            key_set,
            known: KnownTokens::default(),
            clock,
        })
    }

    /// Who sent these headers; `None` without a token.
    ///
    /// # Errors
    /// `token-invalid`, `token-expired`, or `unavailable` when the key set can't be had.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
        let Some(field) = headers.get(header::AUTHORIZATION) else {
            return Ok(None);
        };
        let token = field.to_str().ok().and_then(bearer).ok_or_else(|| refused(codes::TOKEN_INVALID))?;
        let good = self.good(token).await?;
        self.check_times(&good)?;
        Ok(Some(good.caller))
    }

    async fn good(&self, token: &str) -> Result<Good, Problem> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(refused(codes::TOKEN_INVALID));
        }
        let fingerprint = Fingerprint::of(token);
        let now = Moment {
            elapsed: self.clock.elapsed(),
            fetches: self.key_set.as_ref().map(KeySet::fetches).unwrap_or_default(),
        };
        if let Some(good) = self.known.find(fingerprint, now) {
            return Ok(good);
        }
        let claims = self.verified(token).await?;
        // A message's header must be able to carry them.
        if claims.scope.len() > MAX_TEXT_BYTES {
            return Err(refused(codes::TOKEN_INVALID).detail("The token has too many scopes."));
        }
        let caller = Caller { id: claims.sub, tenant: claims.org, scopes: claims.scope.into() };
        let good = Good { caller, not_before: claims.nbf, expires: claims.exp };
        self.known.keep(fingerprint, good.clone(), now);
        Ok(good)
    }

    async fn verified(&self, token: &str) -> Result<Claims, Problem> {
        let invalid = || refused(codes::TOKEN_INVALID);
        // "none" is no algorithm that the library knows: such a token ends here.
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid())?;
        let typ = header.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
        if typ.strip_prefix("application/").unwrap_or(&typ) != TOKEN_TYPE {
            return Err(invalid());
        }
        // Which key it is follows from the algorithm, so that no public key can be taken for a shared secret.
        let key = if header.alg == Algorithm::HS256 {
            self.secret.clone()
        } else if KEY_SET_ALGORITHMS.contains(&header.alg) {
            match (&self.key_set, &header.kid) {
                (Some(set), Some(kid)) => set.key(kid, header.alg).await?,
                _ => None,
            }
        } else {
            None
        };
        let key = key.ok_or_else(invalid)?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are checked against the process's own clock.
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|_| invalid())?;
        Ok(decoded.claims)
    }

    fn check_times(&self, good: &Good) -> Result<(), Problem> {
        let now = now(&*self.clock).millis() / 1_000;
        if good.expires <= now - CLOCK_LEEWAY_SECONDS {
            return Err(refused(codes::TOKEN_EXPIRED));
        }
        if good.not_before.is_some_and(|not_before| not_before > now + CLOCK_LEEWAY_SECONDS) {
            return Err(refused(codes::TOKEN_INVALID));
        }
        Ok(())
    }
}

/// 401, as RFC 6750 wants it.
fn refused(code: Code) -> Problem {
    let challenge = match code {
        codes::TOKEN_MISSING => "Bearer".to_owned(),
        code => format!("Bearer error=\"invalid_token\", error_description=\"{}\"", code.title),
    };
    Problem::new(code).header(header::WWW_AUTHENTICATE, challenge)
}

fn bearer(field: &str) -> Option<&str> {
    let (scheme, token) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The wall clock's time as messages carry it.
pub(crate) fn now(clock: &dyn Clock) -> Timestamp {
    clock.wall().into()
}
