use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daybook_events::Sealed;
use uuid::Uuid;

use crate::ambient::Ambient;
use crate::cache::{Cache, Known};
use crate::error::Error;
use crate::key_store::{KeyStore, StoredKey};
use crate::master::MasterKeys;
use crate::sealed::{self, Key, NONCE_BYTES, PLAINTEXT_MAX_BYTES, Parts};
use crate::secret::Secret;

/// What a sealed value turned out to hold.
#[derive(Debug)]
pub enum Opened {
    /// The plaintext.
    Plain(Secret<Vec<u8>>),
    /// Its owner was erased: nobody will ever know.
    Erased,
}

/// Seals, opens and erases. Share one per process.
pub struct Vault {
    masters: MasterKeys,
    store: Arc<dyn KeyStore>,
    ambient: Arc<dyn Ambient>,
    cache: Mutex<Cache>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Vault").field("masters", &self.masters).finish_non_exhaustive()
    }
}

impl Vault {
    /// A vault over `store`, whose data keys `masters` can unwrap.
    pub fn new(masters: MasterKeys, store: Arc<dyn KeyStore>, ambient: Arc<dyn Ambient>) -> Self {
        Vault { masters, store, ambient, cache: Mutex::default() }
    }

    /// Seals `plaintext` of `owner` for the field `label`, making the owner's data key if there is none yet.
    ///
    /// Sealing the same twice gives different bytes. Works for anything of a person's that is written down: a field
    /// of a message, or the prepared bytes of a call to the outside world.
    ///
    /// # Errors
    /// [`Error::Erased`] for an erased owner, [`Error::TooLarge`] above [`PLAINTEXT_MAX_BYTES`]; and when keys or
    /// randomness are out of reach.
    pub async fn seal(&self, owner: Uuid, label: &str, plaintext: &[u8]) -> Result<Sealed, Error> {
        if plaintext.len() > PLAINTEXT_MAX_BYTES {
            return Err(Error::TooLarge { found_bytes: plaintext.len() });
        }
        match self.key_for_sealing(owner).await? {
            Known::Key(key) => Ok(sealed::seal(&key, owner, label, self.nonce()?, plaintext)),
            Known::Erased => Err(Error::Erased { owner }),
        }
    }

    /// Opens what was sealed for the field `label`.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::NotAuthentic`] and [`Error::NoKey`] say that these bytes will never open;
    /// the others that keys are out of reach. An erased owner is no error.
    pub async fn open(&self, label: &str, sealed: &Sealed) -> Result<Opened, Error> {
        let parts = Parts::split(sealed)?;
        match self.known(parts.owner).await? {
            None => Err(Error::NoKey { owner: parts.owner }),
            Some(Known::Erased) => Ok(Opened::Erased),
            Some(Known::Key(key)) => {
                let plain = parts.open(&key, label)?;
                Ok(Opened::Plain(Secret::new(plain)))
            }
        }
    }

    /// Destroys the data key of `owner`, for ever. Answers whether there was one; repeating does no harm.
    ///
    /// # Errors
    /// When the key store fails: it is then not known whether the key is destroyed, and erasing must be repeated.
    pub async fn erase(&self, owner: Uuid) -> Result<bool, Error> {
        let destroyed = self.store.erase(owner).await?;
        let mut cache = self.cache();
        cache.forget(owner);
        cache.insert(owner, Known::Erased, self.ambient.elapsed());
        Ok(destroyed)
    }

    /// Forgets what is remembered of `owner`: for who learns that they were erased elsewhere.
    pub fn forget(&self, owner: Uuid) {
        self.cache().forget(owner);
    }

    /// Wraps up to `limit` data keys anew by the newest master key. Answers how many were still wrapped by another:
    /// call again until it is 0.
    ///
    /// # Errors
    /// When a key can't be unwrapped, or the key store fails. What was rewrapped before stays so.
    pub async fn rewrap(&self, limit: usize) -> Result<usize, Error> {
        let owners = self.store.not_wrapped_by(self.masters.newest(), limit).await?;
        for owner in &owners {
            // Whoever replaced or erased it meanwhile was right as well: a lost race needs no second attempt here.
            if let StoredKey::Present(old) = self.store.load(*owner).await? {
                let key = self.masters.unwrap(*owner, &old)?;
                let new = self.masters.wrap(*owner, &key, self.nonce()?);
                self.store.replace(*owner, old, new).await?;
            }
        }
        Ok(owners.len())
    }

    async fn key_for_sealing(&self, owner: Uuid) -> Result<Known, Error> {
        if let Some(known) = self.known(owner).await? {
            return Ok(known);
        }
        let mut fresh = Key::default();
        self.ambient.fill_random(&mut *fresh)?;
        let wrapped = self.masters.wrap(owner, &fresh, self.nonce()?);
        let won = self.store.insert_if_absent(owner, wrapped).await?;
        // What stands in the store is the key, whoever made it: the fresh one may have lost.
        self.remember(owner, &won)?.ok_or(Error::NoKey { owner })
    }

    async fn known(&self, owner: Uuid) -> Result<Option<Known>, Error> {
        let remembered = self.cache().get(owner, self.ambient.elapsed());
        if remembered.is_some() {
            return Ok(remembered);
        }
        let stored = self.store.load(owner).await?;
        self.remember(owner, &stored)
    }

    fn remember(&self, owner: Uuid, stored: &StoredKey) -> Result<Option<Known>, Error> {
        let known = match stored {
            StoredKey::Absent => return Ok(None),
            StoredKey::Present(wrapped) => Known::Key(self.masters.unwrap(owner, wrapped)?),
            StoredKey::Erased => Known::Erased,
        };
        self.cache().insert(owner, known.clone(), self.ambient.elapsed());
        Ok(Some(known))
    }

    fn nonce(&self) -> Result<[u8; NONCE_BYTES], Error> {
        let mut nonce = [0; NONCE_BYTES];
        self.ambient.fill_random(&mut nonce)?;
        Ok(nonce)
    }

    /// A panic while it was held can't have broken the cache: the worst is a missing entry.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
