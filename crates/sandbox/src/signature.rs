//! The `Stripe-Signature` header: `t=<unix seconds>,v1=<hex of HMAC-SHA256 over "<t>.<payload>">`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The header's value for this payload, sent at this time.
pub fn sign(secret: &str, sent_at_seconds: u64, payload: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{sent_at_seconds}.").as_bytes());
    mac.update(payload);
    format!("t={sent_at_seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value was computed with `openssl dgst -sha256 -hmac`.
    #[test]
    fn a_signature_covers_time_and_payload() {
        let header = sign("whsec_test", 1_700_000_000, br#"{"id":"evt_1"}"#);
        assert_eq!(header, "t=1700000000,v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925");
        assert_ne!(header, sign("whsec_test", 1_700_000_001, br#"{"id":"evt_1"}"#));
        assert_ne!(header, sign("whsec_other", 1_700_000_000, br#"{"id":"evt_1"}"#));
    }
}
