//! Where wrapped data keys are kept.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// The answer of a key store, later. Boxed by hand, so that a store can be held as `dyn KeyStore`.
pub type KeyFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeyStoreError>> + Send + 'a>>;

/// The key store could not be asked. Always worth another try.
#[derive(Debug, thiserror::Error)]
#[error("the key store failed: {0}")]
pub struct KeyStoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A data key, encrypted by a master key. Useless without it, yet not to be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// The id of the master key that wrapped it.
    pub master_key: String,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WrappedKey").field("master_key", &self.master_key).finish_non_exhaustive()
    }
}

/// What a key store knows of an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredKey {
    /// Nothing: no key was ever made.
    Absent,
    /// A key.
    Present(WrappedKey),
    /// A tombstone: there was, or might have been, a key, and there will never be one again.
    Erased,
}

/// Keeps one wrapped key, or a tombstone, per owner. Every method is one atomic step.
pub trait KeyStore: Send + Sync {
    /// What is known of `owner`.
    fn load(&self, owner: Uuid) -> KeyFuture<'_, StoredKey>;

    /// Stores `key` if nothing is known of `owner`, and answers what then stands there: of several callers
    /// at once all get the one that won. A tombstone stays.
    fn insert_if_absent(&self, owner: Uuid, key: WrappedKey) -> KeyFuture<'_, StoredKey>;

    /// Destroys the key of `owner` and leaves a tombstone, also where no key was. Answers whether a key was destroyed.
    fn erase(&self, owner: Uuid) -> KeyFuture<'_, bool>;

    /// Puts `new` in the place of `old`. Answers whether `old` still stood there.
    fn replace(&self, owner: Uuid, old: WrappedKey, new: WrappedKey) -> KeyFuture<'_, bool>;

    /// At most `limit` owners whose key is wrapped by another master key than `master_key`.
    fn not_wrapped_by(&self, master_key: &str, limit: usize) -> KeyFuture<'_, Vec<Uuid>>;
}

/// A key store for tests and the simulator.
#[derive(Debug, Default)]
pub struct InMemoryKeyStore {
    keys: Mutex<HashMap<Uuid, StoredKey>>,
}

impl InMemoryKeyStore {
    fn with_keys<'a, T: Send + 'a>(&self, work: impl FnOnce(&mut HashMap<Uuid, StoredKey>) -> T) -> KeyFuture<'a, T> {
        let answer = work(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(std::future::ready(Ok(answer)))
    }
}

impl KeyStore for InMemoryKeyStore {
    fn load(&self, owner: Uuid) -> KeyFuture<'_, StoredKey> {
        self.with_keys(|keys| keys.get(&owner).cloned().unwrap_or(StoredKey::Absent))
    }

    fn insert_if_absent(&self, owner: Uuid, key: WrappedKey) -> KeyFuture<'_, StoredKey> {
        self.with_keys(|keys| keys.entry(owner).or_insert(StoredKey::Present(key)).clone())
    }

    fn erase(&self, owner: Uuid) -> KeyFuture<'_, bool> {
        self.with_keys(|keys| matches!(keys.insert(owner, StoredKey::Erased), Some(StoredKey::Present(_))))
    }

    fn replace(&self, owner: Uuid, old: WrappedKey, new: WrappedKey) -> KeyFuture<'_, bool> {
        self.with_keys(|keys| match keys.get_mut(&owner) {
            Some(StoredKey::Present(key)) if *key == old => {
                *key = new;
                true
            }
            _ => false,
        })
    }

    fn not_wrapped_by(&self, master_key: &str, limit: usize) -> KeyFuture<'_, Vec<Uuid>> {
        self.with_keys(|keys| {
            let elsewhere = |(owner, stored): (&Uuid, &StoredKey)| match stored {
                StoredKey::Present(key) if key.master_key != master_key => Some(*owner),
                _ => None,
            };
            keys.iter().filter_map(elsewhere).take(limit).collect()
        })
    }
}
