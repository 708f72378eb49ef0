//! Tokens that were found good lately. A client sends the same one with each request, and what it says does not change; whether it
//! is in time is looked at each time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::auth::Good;

/// How long a token's signature is not looked at again.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// The most tokens that are known at once.
const KNOWN_MAX: usize = 10_000;

/// A token's SHA-256: whoever reads this memory finds no token in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

#[derive(Default)]
pub(crate) struct KnownTokens {
    known: Mutex<HashMap<Fingerprint, Known>>,
}

/// When something was found: by the clock that only goes forward, and by how often the issuer's keys had been fetched until then.
/// What other keys have signed may be worth nothing now.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) elapsed: Duration,
    pub(crate) fetches: u64,
}

struct Known {
    good: Good,
    since: Moment,
}

impl Known {
    fn holds(&self, now: Moment) -> bool {
        self.since.fetches == now.fetches && now.elapsed.saturating_sub(self.since.elapsed) < KNOWN_FOR
    }
}

impl KnownTokens {
    pub(crate) fn find(&self, token: Fingerprint, now: Moment) -> Option<Good> {
        self.known().get(&token).filter(|known| known.holds(now)).map(|known| known.good.clone())
    }

    /// Only for a token whose signature, issuer and audience were found good, by the keys that there were at this moment or later.
    pub(crate) fn keep(&self, token: Fingerprint, good: Good, since: Moment) {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| known.holds(since));
        }
        // With as many that are all in use, each is looked at again once: that costs time and is never wrong.
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(token, Known { good, since });
    }

    /// A panic while it was held can't have broken it: the worst is a missing entry.
    fn known(&self) -> MutexGuard<'_, HashMap<Fingerprint, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::Caller;

    fn good() -> Good {
        Good { caller: Caller { id: Uuid::nil(), tenant: None, scopes: "".into() }, not_before: None, expires: 0 }
    }

    fn moment(elapsed: Duration) -> Moment {
        Moment { elapsed, fetches: 1 }
    }

    #[test]
    fn a_token_is_known_for_its_time() {
        let tokens = KnownTokens::default();
        let token = Fingerprint::of("a");
        let begin = Duration::from_secs(5);
        tokens.keep(token, good(), moment(begin));
        let is_known = |after| tokens.find(token, moment(begin + after)).is_some();
        assert!(is_known(Duration::ZERO));
        assert!(is_known(KNOWN_FOR - Duration::from_nanos(1)));
        assert!(!is_known(KNOWN_FOR));
        assert!(tokens.find(Fingerprint::of("b"), moment(begin)).is_none());
    }

    #[test]
    fn a_token_is_looked_at_again_when_keys_were_fetched() {
        let tokens = KnownTokens::default();
        let (token, now) = (Fingerprint::of("a"), moment(Duration::ZERO));
        tokens.keep(token, good(), now);
        assert!(tokens.find(token, Moment { fetches: now.fetches + 1, ..now }).is_none());
    }

    #[test]
    fn no_more_than_so_many_are_known() {
        let tokens = KnownTokens::default();
        let now = moment(Duration::ZERO);
        for number in 0..=KNOWN_MAX {
            tokens.keep(Fingerprint::of(&number.to_string()), good(), now);
        }
        assert_eq!(tokens.known().len(), 1);
        assert!(tokens.find(Fingerprint::of(&KNOWN_MAX.to_string()), now).is_some());
    }
}
