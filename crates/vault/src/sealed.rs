//! The bytes of a sealed value, version 1:
//!
//! ```text
//! version 1 · owner 16 · nonce 12 · ciphertext n · tag 16
//! ```
//!
//! AES-256-GCM (NIST SP 800-38D) under the owner's data key, with version, owner and label as associated data. Nonces
//! are random: at one key per person, the 2^32 values for which random 96-bit nonces are safe are never reached.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use daybook_events::Sealed;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::Error;

/// The most bytes that are sealed at once.
pub const PLAINTEXT_MAX_BYTES: usize = 1024 * 1024;

/// How many bytes a sealed value is longer than its plaintext.
pub const OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;

const VERSION: u8 = 1;
const OWNER_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + OWNER_BYTES + NONCE_BYTES;

pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const KEY_BYTES: usize = 32;

/// A bare AES-256 key.
pub(crate) type Key = Zeroizing<[u8; KEY_BYTES]>;

/// Authentication failed; there is nothing more to know about it, on purpose.
pub(crate) struct NotAuthentic;

/// Nonce in front, then ciphertext and tag.
pub(crate) fn encrypt(key: &Key, nonce: [u8; NONCE_BYTES], associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let payload = Payload { msg: plaintext, aad: associated };
    Aes256Gcm::new((&**key).into())
        .encrypt(&nonce.into(), payload)
        .expect("AES-GCM takes up to 64 GiB, and every caller bounds its plaintext far below")
}

/// The inverse of [`encrypt`].
pub(crate) fn decrypt(
    key: &Key,
    nonce: [u8; NONCE_BYTES],
    associated: &[u8],
    ciphertext: &[u8],
) -> Result<Vec<u8>, NotAuthentic> {
    let payload = Payload { msg: ciphertext, aad: associated };
    Aes256Gcm::new((&**key).into()).decrypt(&nonce.into(), payload).map_err(|_| NotAuthentic)
}

/// A sealed value taken apart, not yet opened.
pub(crate) struct Parts<'a> {
    pub(crate) owner: Uuid,
    nonce: [u8; NONCE_BYTES],
    ciphertext: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn split(sealed: &'a Sealed) -> Result<Self, Error> {
        let malformed = |reason| Error::Malformed { reason };
        let (version, rest) = sealed.as_bytes().split_first().ok_or(malformed("it is empty"))?;
        if *version != VERSION {
            return Err(malformed("its format version is unknown to this release"));
        }
        let (owner, rest) = rest.split_first_chunk::<OWNER_BYTES>().ok_or(malformed("it ends within the owner"))?;
        let (nonce, ciphertext) =
            rest.split_first_chunk::<NONCE_BYTES>().ok_or(malformed("it ends within the nonce"))?;
        if ciphertext.len() < TAG_BYTES {
            return Err(malformed("it ends within the tag"));
        }
        if ciphertext.len() - TAG_BYTES > PLAINTEXT_MAX_BYTES {
            return Err(malformed("it is longer than anything that is sealed"));
        }
        Ok(Parts { owner: Uuid::from_bytes(*owner), nonce: *nonce, ciphertext })
    }

    pub(crate) fn open(&self, key: &Key, label: &str) -> Result<Vec<u8>, Error> {
        decrypt(key, self.nonce, &associated(self.owner, label), self.ciphertext)
            .map_err(|NotAuthentic| Error::NotAuthentic { owner: self.owner, label: label.to_owned() })
    }
}

pub(crate) fn seal(key: &Key, owner: Uuid, label: &str, nonce: [u8; NONCE_BYTES], plaintext: &[u8]) -> Sealed {
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD_BYTES);
    sealed.push(VERSION);
    sealed.extend_from_slice(owner.as_bytes());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&encrypt(key, nonce, &associated(owner, label), plaintext));
    Sealed::new(sealed)
}

/// Version and owner have fixed lengths and the label comes last, so no two triples have the same bytes.
fn associated(owner: Uuid, label: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + OWNER_BYTES + label.len());
    bytes.push(VERSION);
    bytes.extend_from_slice(owner.as_bytes());
    bytes.extend_from_slice(label.as_bytes());
    bytes
}

/// Whose data a sealed value is. The owner is not authenticated by this: only opening does that.
///
/// # Errors
/// [`Error::Malformed`] when the bytes are not a sealed value.
pub fn owner_of(sealed: &Sealed) -> Result<Uuid, Error> {
    Parts::split(sealed).map(|parts| parts.owner)
}
