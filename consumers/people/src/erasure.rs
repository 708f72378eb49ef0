//! Destroying the data key of a person who was erased.

use std::sync::Arc;

use daybook_consumer::{Acts, Attempt, Conclusion, Context, EffectPolicy, Entity, OnUnknown, Perform, Provider};
use daybook_events::{PersonEvent, PersonId};
use daybook_vault::Vault;
use serde::{Deserialize, Serialize};

use crate::People;

/// Destroy this person's data key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EraseKey {
    pub person_id: PersonId,
}

/// There is no key any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyErased;

impl Acts for People {
    type Request = EraseKey;
    type Answer = KeyErased;

    /// Erasing a key twice is erasing it, so the same call is simply repeated. A thousand attempts are most
    /// of a day; then an operator has to see why the vault cannot be reached.
    const EFFECTS: EffectPolicy = EffectPolicy {
        provider: Provider { name: "vault", down: &["vault-unavailable"] },
        detached: false,
        key_lifetime_ms: i64::MAX,
        has_lookup: false,
        settle_ms: 0,
        on_unknown: OnUnknown::AtLeastOnce,
        attempts_max: 1_000,
        backoff_min_ms: 100,
        backoff_max_ms: 60_000,
        concurrency: 4,
        call_timeout_ms: 10_000,
    };

    fn request(event: &PersonEvent) -> Option<EraseKey> {
        match event {
            PersonEvent::PersonErased(erased) => Some(EraseKey { person_id: erased.person_id }),
            PersonEvent::PersonRegistered(_)
            | PersonEvent::ContactChanged(_)
            | PersonEvent::RoleGranted(_)
            | PersonEvent::RoleRevoked(_) => None,
        }
    }

    /// Nothing follows: that the person is erased is in the book already.
    fn conclude(
        _person: &Entity<Self>,
        _request: EraseKey,
        _conclusion: Conclusion<KeyErased>,
        _cx: &Context,
    ) -> Vec<PersonEvent> {
        Vec::new()
    }
}

/// The adapter: the vault.
pub struct KeyEraser {
    vault: Arc<Vault>,
}

impl KeyEraser {
    pub fn new(vault: Arc<Vault>) -> Self {
        Self { vault }
    }
}

impl Perform<People> for KeyEraser {
    async fn perform(&self, request: &EraseKey, _key: &str) -> Attempt<KeyErased> {
        match self.vault.erase(request.person_id.uuid()).await {
            Ok(_) => Attempt::Answered(KeyErased),
            // Never `Refused`, however it failed: an erasure is not to be given up.
            Err(_) => Attempt::Unknown { code: "vault-unavailable" },
        }
    }

    async fn look_up(&self, request: &EraseKey, key: &str) -> Attempt<KeyErased> {
        self.perform(request, key).await
    }
}
