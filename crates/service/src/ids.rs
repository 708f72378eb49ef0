//! Random ids: the one place that draws them. What must be the same at every attempt is derived from its cause (UUIDv5)
//! instead, and what is drawn where a replay can come by belongs to the caller of the replay.

use uuid::{Builder, Uuid};

/// An id that nobody can guess: UUIDv4, 122 random bits. They are of the thread's own generator, which is fit for secrets and which
/// the system seeds: a request is given an id without asking the system for it.
pub fn random() -> Uuid {
    Builder::from_random_bytes(rand::random()).into_uuid()
}

/// An id that sorts by time of making, which keeps database indexes dense: UUIDv7. It tells that time to whoever sees it.
#[expect(clippy::disallowed_methods, reason = "the one home of random ids")]
pub fn time_ordered() -> Uuid {
    Uuid::now_v7()
}
