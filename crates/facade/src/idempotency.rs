//! What makes a command that is sent twice one command.

use daybook_events::derive_id;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, Method};
use serde_json::Value;
use sha2::Sha256;
use uuid::Uuid;

use crate::body::canonical;
use crate::codes;
use crate::guard::check_text;
use crate::problem::Problem;

/// Name of the header field.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key, in bytes.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

/// For what the key for hashing requests is derived: never the secret itself is used.
const HASH_KEY_PURPOSE: &[u8] = b"daybook: request hash, 1";

/// The client's key.
///
/// # Errors
/// `idempotency-key-missing`, `idempotency-key-invalid`, `card-number-refused`.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut fields = headers.get_all(IDEMPOTENCY_KEY).iter();
    let field = fields.next().ok_or(codes::IDEMPOTENCY_KEY_MISSING)?;
    let invalid = || {
        Problem::new(codes::IDEMPOTENCY_KEY_INVALID)
            .detail(format!("It must be one field of 1 to {IDEMPOTENCY_KEY_MAX_BYTES} visible ASCII characters."))
    };
    let key = field.to_str().map_err(|_| invalid())?;
    let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if fields.next().is_some() || key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX_BYTES || !is_visible {
        return Err(invalid());
    }
    check_text(key)?;
    Ok(key)
}

/// Id of the command, the same for each attempt: whichever process takes it, and whatever it remembers.
pub(crate) fn command_id(caller: Uuid, method: &Method, template: &str, target: &str, key: &str) -> Uuid {
    let parts: [&[u8]; 5] =
        [caller.as_bytes(), method.as_str().as_bytes(), template.as_bytes(), target.as_bytes(), key.as_bytes()];
    derive_id("command", &parts)
}

/// Tells requests apart without telling what is in them: the hash stands in the book, and what it is of may be a person's data,
/// which a plain hash would let anybody guess.
#[derive(Clone)]
pub struct RequestHasher {
    keyed: Hmac<Sha256>,
}

impl RequestHasher {
    /// With a key derived from `secret`, which must be the same in all façade processes and stay the same: after a change the
    /// repetition of an older request counts as another request.
    pub fn new(secret: &[u8]) -> Self {
        let derived = mac(secret).chain_update(HASH_KEY_PURPOSE).finalize().into_bytes();
        Self { keyed: mac(&derived) }
    }

    /// Hash of what was asked: method, path, precondition, body.
    pub(crate) fn hash(&self, method: &Method, target: &str, if_match: Option<i64>, body: &Value) -> [u8; 32] {
        let mut text = format!("{method} {target}\n{if_match:?}\n").into_bytes();
        canonical(body, &mut text);
        self.keyed.clone().chain_update(&text).finalize().into_bytes().into()
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}
