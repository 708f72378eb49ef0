//! Master keys: they wrap data keys and come from the settings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::key_store::WrappedKey;
use crate::sealed::{KEY_BYTES, Key, NONCE_BYTES, decrypt, encrypt};

/// Bytes of a master key, before base64.
pub const MASTER_KEY_BYTES: usize = KEY_BYTES;

/// The most master keys at a time; a rotation needs two.
pub const MASTER_KEYS_MAX: usize = 16;

const ID_MAX_BYTES: usize = 32;

/// Keeps wrapped data keys apart from anything else a master key might ever encrypt.
const WRAP_CONTEXT: &[u8] = b"daybook data key 1";

/// What is wrong with the master keys of the settings, and what would be right. Never shows a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// No key at all.
    #[error("no master key: give at least one as \"id:key\", the key being 32 random bytes in base64")]
    None,
    /// More than [`MASTER_KEYS_MAX`].
    #[error("{found} master keys are too many: at most {MASTER_KEYS_MAX}; rewrap, then drop the oldest")]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// An entry without a colon.
    #[error("master key number {position} has no id: write it as \"id:key\"")]
    NoId {
        /// Counted from 1.
        position: usize,
    },
    /// An id with other characters, or too long, or empty.
    #[error("the id of master key number {position} must be 1 to {ID_MAX_BYTES} of a-z, 0-9 and '-'")]
    BadId {
        /// Counted from 1.
        position: usize,
    },
    /// Not base64.
    #[error("master key `{id}` is not base64: 32 random bytes give 44 characters, the last of them '='")]
    NotBase64 {
        /// The key's id.
        id: String,
    },
    /// Another length than 32 bytes.
    #[error("master key `{id}` has {found_bytes} bytes: it must have {MASTER_KEY_BYTES}")]
    BadLength {
        /// The key's id.
        id: String,
        /// How long it is.
        found_bytes: usize,
    },
    /// The same id twice.
    #[error("master key `{id}` is given twice: every key needs an id of its own")]
    Duplicate {
        /// The id.
        id: String,
    },
}

struct MasterKey {
    id: String,
    key: Key,
}

/// The master keys of a process: the first wraps new data keys, all of them unwrap.
pub struct MasterKeys {
    keys: Vec<MasterKey>,
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.keys.iter().map(|master| &master.id)).finish()
    }
}

impl MasterKeys {
    /// Reads entries of the form `id:base64`, the one that is to wrap new keys first.
    ///
    /// # Errors
    /// The first entry that is wrong, and what would be right.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, MasterKeyError> {
        if entries.is_empty() {
            return Err(MasterKeyError::None);
        }
        if entries.len() > MASTER_KEYS_MAX {
            return Err(MasterKeyError::TooMany { found: entries.len() });
        }
        let mut keys: Vec<MasterKey> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let master = parse_entry(index + 1, entry.as_ref().trim())?;
            if keys.iter().any(|earlier| earlier.id == master.id) {
                return Err(MasterKeyError::Duplicate { id: master.id });
            }
            keys.push(master);
        }
        Ok(MasterKeys { keys })
    }

    /// The id of the key that wraps new data keys.
    pub fn newest(&self) -> &str {
        &self.wrapping().id
    }

    fn wrapping(&self) -> &MasterKey {
        self.keys.first().expect("parse refuses an empty list, and nothing removes a key")
    }

    pub(crate) fn wrap(&self, owner: Uuid, data_key: &Key, nonce: [u8; NONCE_BYTES]) -> WrappedKey {
        let master = self.wrapping();
        let mut bytes = nonce.to_vec();
        bytes.extend(encrypt(&master.key, nonce, &context(owner), &**data_key));
        WrappedKey { master_key: master.id.clone(), bytes }
    }

    pub(crate) fn unwrap(&self, owner: Uuid, wrapped: &WrappedKey) -> Result<Key, Error> {
        let master = self
            .keys
            .iter()
            .find(|master| master.id == wrapped.master_key)
            .ok_or_else(|| Error::UnknownMasterKey { owner, master_key: wrapped.master_key.clone() })?;
        unwrap_with(&master.key, owner, &wrapped.bytes)
            .ok_or_else(|| Error::WrongMasterKey { owner, master_key: wrapped.master_key.clone() })
    }
}

fn unwrap_with(master: &Key, owner: Uuid, wrapped: &[u8]) -> Option<Key> {
    let (nonce, ciphertext) = wrapped.split_first_chunk::<NONCE_BYTES>()?;
    let plain = Zeroizing::new(decrypt(master, *nonce, &context(owner), ciphertext).ok()?);
    into_key(&plain)
}

fn context(owner: Uuid) -> Vec<u8> {
    [WRAP_CONTEXT, owner.as_bytes()].concat()
}

/// Copies straight into wiped memory, so that no bare array is left behind.
fn into_key(bytes: &[u8]) -> Option<Key> {
    let mut key = Key::default();
    if bytes.len() != key.len() {
        return None;
    }
    key.copy_from_slice(bytes);
    Some(key)
}

fn parse_entry(position: usize, entry: &str) -> Result<MasterKey, MasterKeyError> {
    let (id, encoded) = entry.split_once(':').ok_or(MasterKeyError::NoId { position })?;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if id.is_empty() || id.len() > ID_MAX_BYTES || !id.bytes().all(allowed) {
        return Err(MasterKeyError::BadId { position });
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| MasterKeyError::NotBase64 { id: id.to_owned() })?;
    let decoded = Zeroizing::new(decoded);
    let key = into_key(&decoded)
        .ok_or_else(|| MasterKeyError::BadLength { id: id.to_owned(), found_bytes: decoded.len() })?;
    Ok(MasterKey { id: id.to_owned(), key })
}
