//! What must hold of sealed fields, through the public interface alone.

mod keys;
mod properties;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daybook_vault::{Ambient, InMemoryKeyStore, KeyStore, MasterKeys, Opened, RandomnessUnavailable, Vault};
use uuid::Uuid;

pub const EMAIL: &str = "people.person.email";
pub const NAME: &str = "people.person.name";
pub const OLD_MASTER: &str = "2025:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub const NEW_MASTER: &str = "2026:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

/// Foreseeable randomness (a counter through SplitMix64) and a clock that is moved by hand.
#[derive(Default)]
pub struct Seeded {
    counter: AtomicU64,
    now: Mutex<Duration>,
}

impl Seeded {
    pub fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }
}

impl Ambient for Seeded {
    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), RandomnessUnavailable> {
        for chunk in bytes.chunks_mut(8) {
            let step = self.counter.fetch_add(1, Ordering::Relaxed);
            let mixed = step.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        *self.now.lock().unwrap()
    }
}

pub struct Bench {
    pub store: Arc<InMemoryKeyStore>,
    pub ambient: Arc<Seeded>,
}

impl Bench {
    pub fn new() -> Self {
        Bench { store: Arc::default(), ambient: Arc::default() }
    }

    /// Another process over the same key store.
    pub fn vault(&self, masters: &[&str]) -> Vault {
        Vault::new(
            MasterKeys::parse(masters).unwrap(),
            Arc::clone(&self.store) as Arc<dyn KeyStore>,
            Arc::clone(&self.ambient) as Arc<dyn Ambient>,
        )
    }
}

pub fn run<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

pub fn person(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub fn plain(opened: Opened) -> Vec<u8> {
    match opened {
        Opened::Plain(secret) => secret.expose().clone(),
        Opened::Erased => panic!("the owner was erased"),
    }
}
