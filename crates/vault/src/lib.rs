#![doc = include_str!("../README.md")]

mod ambient;
mod cache;
mod error;
mod key_store;
mod master;
mod sealed;
mod secret;
mod vault;

pub use ambient::{Ambient, OsAmbient, RandomnessUnavailable};
pub use cache::{CACHE_LIFETIME, CACHE_MAX_KEYS};
pub use error::Error;
pub use key_store::{InMemoryKeyStore, KeyFuture, KeyStore, KeyStoreError, StoredKey, WrappedKey};
pub use master::{MASTER_KEY_BYTES, MASTER_KEYS_MAX, MasterKeyError, MasterKeys};
pub use sealed::{OVERHEAD_BYTES, PLAINTEXT_MAX_BYTES, owner_of};
pub use secret::Secret;
pub use vault::{Opened, Vault};
