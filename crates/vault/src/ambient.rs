//! What the vault needs of its surroundings: randomness and a clock that only goes forward. Both are injected, so that a
//! simulation with a seed draws the same keys and nonces every time.

use std::time::{Duration, Instant};

/// The operating system gave no random bytes; nothing can be sealed until it does.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes: {reason}")]
pub struct RandomnessUnavailable {
    /// What the operating system said.
    pub reason: String,
}

/// Randomness and elapsed time.
pub trait Ambient: Send + Sync {
    /// Fills `bytes` with bytes that nobody can foretell.
    ///
    /// # Errors
    /// When there is no randomness to be had: the caller must not go on with what `bytes` held.
    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), RandomnessUnavailable>;

    /// Time since a fixed moment of this process's life; never goes back.
    fn elapsed(&self) -> Duration;
}

/// Production: the operating system's randomness and monotonic clock.
#[derive(Debug)]
pub struct OsAmbient {
    origin: Instant,
}

impl Default for OsAmbient {
    fn default() -> Self {
        OsAmbient { origin: Instant::now() }
    }
}

impl Ambient for OsAmbient {
    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), RandomnessUnavailable> {
        getrandom::fill(bytes).map_err(|error| RandomnessUnavailable { reason: error.to_string() })
    }

    fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }
}
