//! The `Stripe-Signature` header: `t=<seconds>,v1=<hex>`, the hex being HMAC-SHA256 over `<seconds>.<body>` (Stripe, "Verify webhook
//! signatures manually").

use daybook_facade::Secret;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderName;
use sha2::Sha256;

/// Name of the header field.
pub const SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// How old a notice may be, or how far ahead of our clock: older ones may be replayed by somebody who overheard them.
pub const TOLERANCE_SECONDS: i64 = 5 * 60;

/// While a secret is being replaced there are two signatures; more are not looked at.
const SIGNATURES_MAX: usize = 5;

/// Signs a body as the provider does; for tests and for sending notices by hand.
pub fn sign(secret: &Secret<String>, at_seconds: i64, body: &[u8]) -> String {
    let mac = mac(secret, &at_seconds.to_string(), body).finalize();
    format!("t={at_seconds},v1={}", hex::encode(mac.into_bytes()))
}

/// Whether one of the signatures in the field is the provider's, and fresh. Each is compared in constant time, so that none can be
/// found out byte by byte.
pub(crate) fn is_signed(secret: &Secret<String>, field: &str, now_seconds: i64, body: &[u8]) -> bool {
    let Some(time) = values(field, "t").next() else {
        return false;
    };
    let is_fresh = time.parse::<i64>().is_ok_and(|time| now_seconds.abs_diff(time) <= TOLERANCE_SECONDS.unsigned_abs());
    let mut signatures = values(field, "v1").take(SIGNATURES_MAX).filter_map(|signature| hex::decode(signature).ok());
    let mac = mac(secret, time, body);
    let is_valid = signatures.any(|signature| mac.clone().verify_slice(&signature).is_ok());
    is_fresh && is_valid
}

/// The values of this name in the field.
fn values<'a>(field: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    field.split(',').filter_map(move |piece| piece.trim().strip_prefix(name)?.strip_prefix('='))
}

fn mac(secret: &Secret<String>, time: &str, body: &[u8]) -> Hmac<Sha256> {
    let mac: Hmac<Sha256> = Hmac::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    mac.chain_update(time).chain_update(".").chain_update(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret<String> {
        Secret::new("whsec_test".to_owned())
    }

    #[test]
    fn only_a_fresh_signature_with_the_secret_counts() {
        let now = 1_700_000_000;
        let good = sign(&secret(), now, b"{}");
        assert!(is_signed(&secret(), &good, now + TOLERANCE_SECONDS, b"{}"));
        assert!(is_signed(&secret(), &format!("{good},v1=00,v0=11"), now, b"{}"));
        assert!(!is_signed(&secret(), &good, now + TOLERANCE_SECONDS + 1, b"{}"));
        assert!(!is_signed(&secret(), &good, now - TOLERANCE_SECONDS - 1, b"{}"));
        assert!(!is_signed(&secret(), &good, now, b"{ }"));
        assert!(!is_signed(&Secret::new("another".to_owned()), &good, now, b"{}"));
        for field in ["", "t=1700000000", "v1=00", "t=x,v1=00", "t=1700000000,v1=zz"] {
            assert!(!is_signed(&secret(), field, now, b"{}"), "{field}");
        }
    }
}
