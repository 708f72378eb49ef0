//! Typed ids: a course's id cannot be handed over where a person's is wanted.

use uuid::Uuid;

use crate::{CourseId, EnrollmentId, PaymentId, PersonId};

/// Root of all derived ids. It may never change: ids that exist were made from it.
const NAMESPACE: Uuid = Uuid::from_u128(0x0d6a_7f1e_58c4_5b0e_9a63_d8c0_4f1b_22e7);

/// A UUIDv5 that anybody derives equally from `kind` (what the id is for) and `parts`.
/// Parts are told apart by their lengths, so that `["ab", "c"]` and `["a", "bc"]` differ.
pub fn derive_id(kind: &str, parts: &[&[u8]]) -> Uuid {
    let mut name = Vec::with_capacity(128);
    for part in std::iter::once(&kind.as_bytes()).chain(parts) {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

impl EnrollmentId {
    /// The one enrollment of a learner in a course, whatever its round.
    pub fn of(learner_id: PersonId, course_id: CourseId) -> Self {
        Self::new(derive_id("enrollment", &[learner_id.uuid().as_bytes(), course_id.uuid().as_bytes()]))
    }
}

impl PaymentId {
    /// The one payment of a round of an enrollment.
    pub fn of(enrollment_id: EnrollmentId, round: i64) -> Self {
        Self::new(derive_id("payment", &[enrollment_id.uuid().as_bytes(), &round.to_be_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_never_change() {
        let learner = PersonId::from_u128(1);
        let course = CourseId::from_u128(2);
        let enrollment = EnrollmentId::of(learner, course);
        assert_eq!(enrollment.to_string(), "79d05da0-23f5-5271-8f1d-a8680d173007");
        assert_eq!(PaymentId::of(enrollment, 1).to_string(), "6a3dbf84-5650-5daa-910c-16fda9f67c09");
        assert_ne!(PaymentId::of(enrollment, 1), PaymentId::of(enrollment, 2));
        assert_ne!(derive_id("k", &[b"ab", b"c"]), derive_id("k", &[b"a", b"bc"]));
    }
}
