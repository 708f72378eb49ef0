//! Why a command to an enrollment is refused.

daybook_consumer::codes! {
    /// The learner is enrolled in this course, or has completed it. There is nothing to do.
    ALREADY_ENROLLED = "already-enrolled";
    /// The enrollment's id does not follow from learner and course. The sender has to derive it.
    ENROLLMENT_ID_WRONG = "enrollment-id-wrong";
    /// The round is not open: it was never opened, is over, or was canceled.
    NOT_OPEN = "not-open";
    /// The round is not active: it is not yet, or no longer.
    NOT_ACTIVE = "not-active";
    /// The time within which a learner may withdraw with a full refund is over.
    WINDOW_OVER = "window-over";
}
