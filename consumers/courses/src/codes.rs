//! Why a command to a course is refused.

daybook_consumer::codes! {
    /// There is no course with this id. Check the id; a course is made by publishing it.
    COURSE_UNKNOWN = "course-unknown";
    /// There is a course with this id already. Revise it, or publish under another id.
    ALREADY_PUBLISHED = "already-published";
    /// The course is withdrawn: no seat can be reserved, and nothing revised. Enrollments that run go on.
    COURSE_WITHDRAWN = "course-withdrawn";
    /// All seats are held or taken. A hold that lapses frees one: ask again later.
    COURSE_FULL = "course-full";
    /// The course cannot be enrolled in at this time. See available_from and available_until.
    COURSE_NOT_AVAILABLE = "course-not-available";
    /// The price is no longer the one that the learner saw. Show the new one and ask again.
    PRICE_CHANGED = "price-changed";
    /// The hold has lapsed or never was. Reserve a seat again.
    HOLD_LOST = "hold-lost";
    /// A hold lasts from a second to a day.
    HOLD_INVALID = "hold-invalid";
    /// A later round of the same enrollment has a seat already.
    ROUND_OVER = "round-over";
    /// The course has been revised since. Read it again, then decide again.
    REVISION_CHANGED = "revision-changed";
    /// More seats are held or taken than the new capacity has.
    CAPACITY_TOO_SMALL = "capacity-too-small";
    /// What is offered does not make sense; the detail tells which field.
    OFFER_INVALID = "offer-invalid";
    /// The course belongs to another organization.
    NOT_YOUR_ORGANIZATION = "not-your-organization";
}
