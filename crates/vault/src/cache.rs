//! Unwrapped data keys, few and for a short time: an erasure elsewhere must soon take effect here.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use uuid::Uuid;

use crate::sealed::Key;

/// The most owners that are remembered.
pub const CACHE_MAX_KEYS: usize = 10_000;

/// How long an owner is remembered: so long may an erasure by another process go unnoticed.
pub const CACHE_LIFETIME: Duration = Duration::from_secs(60);

/// What is remembered of an owner.
#[derive(Clone)]
pub(crate) enum Known {
    Key(Key),
    Erased,
}

struct Entry {
    known: Known,
    expires: Duration,
}

/// All entries live equally long, so the order of insertion is the order of expiry, and a queue is enough.
#[derive(Default)]
pub(crate) struct Cache {
    entries: HashMap<Uuid, Entry>,
    by_expiry: VecDeque<(Duration, Uuid)>,
}

impl Cache {
    pub(crate) fn get(&self, owner: Uuid, now: Duration) -> Option<Known> {
        let entry = self.entries.get(&owner)?;
        (entry.expires > now).then(|| entry.known.clone())
    }

    /// Remembers `known`, unless the owner is known to be erased: a key that was loaded just before the erasure, and
    /// arrives after it, must not come back to life.
    pub(crate) fn insert(&mut self, owner: Uuid, known: Known, now: Duration) {
        self.make_room(now);
        if matches!(self.get(owner, now), Some(Known::Erased)) {
            return;
        }
        let expires = now + CACHE_LIFETIME;
        self.entries.insert(owner, Entry { known, expires });
        self.by_expiry.push_back((expires, owner));
    }

    pub(crate) fn forget(&mut self, owner: Uuid) {
        self.entries.remove(&owner);
    }

    /// Drops what has expired, and the oldest when full. A place in the queue whose entry was replaced since is
    /// told by its time.
    fn make_room(&mut self, now: Duration) {
        while let Some(&(expires, owner)) = self.by_expiry.front() {
            if expires > now && self.by_expiry.len() < CACHE_MAX_KEYS {
                return;
            }
            self.by_expiry.pop_front();
            if self.entries.get(&owner).is_some_and(|entry| entry.expires == expires) {
                self.entries.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(5);

    fn owner(number: usize) -> Uuid {
        Uuid::from_u128(number as u128)
    }

    fn key() -> Known {
        Known::Key(Key::default())
    }

    #[test]
    fn an_entry_is_gone_after_its_lifetime() {
        let mut cache = Cache::default();
        cache.insert(owner(1), key(), START);
        assert!(cache.get(owner(1), START + CACHE_LIFETIME / 2).is_some());
        assert!(cache.get(owner(1), START + CACHE_LIFETIME).is_none());
        cache.insert(owner(2), key(), START + CACHE_LIFETIME);
        assert_eq!(cache.entries.len(), 1, "the expired key must not stay in memory");
    }

    #[test]
    fn the_cache_never_grows_beyond_its_bound() {
        let mut cache = Cache::default();
        for number in 0..CACHE_MAX_KEYS + 10 {
            cache.insert(owner(number), key(), START);
            cache.forget(owner(number / 2));
        }
        assert!(cache.entries.len() <= CACHE_MAX_KEYS);
        assert!(cache.by_expiry.len() <= CACHE_MAX_KEYS);
    }

    #[test]
    fn a_key_that_arrives_after_the_erasure_is_not_remembered() {
        let mut cache = Cache::default();
        cache.insert(owner(1), Known::Erased, START);
        cache.insert(owner(1), key(), START);
        assert!(matches!(cache.get(owner(1), START), Some(Known::Erased)));
    }
}
