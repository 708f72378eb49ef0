//! Random ids: the one place that draws them. What must be the same at every attempt is derived from its cause (UUIDv5)
//! instead, and what is drawn where a replay can come by belongs to the caller of the replay.

use uuid::Uuid;

/// An id that nobody can guess: UUIDv4, 122 random bits.
#[expect(clippy::disallowed_methods, reason = "the one home of random ids")]
pub fn random() -> Uuid {
    Uuid::new_v4()
}

/// An id that sorts by time of making, which keeps database indexes dense: UUIDv7. It tells that time to whoever sees it.
#[expect(clippy::disallowed_methods, reason = "the one home of random ids")]
pub fn time_ordered() -> Uuid {
    Uuid::now_v7()
}
