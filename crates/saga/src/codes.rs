//! The codes that sagas answer with, beside those of the steps' own rejections.

/// A start while the saga is running.
pub const ALREADY_RUNNING: &str = "already-running";
/// A start of a saga that runs once and has ended.
pub const ALREADY_ENDED: &str = "already-ended";
/// A start after the cancel; also why a saga was undone by its cancel command.
pub const CANCELED: &str = "canceled";
/// More cancel commands at once than are kept.
pub const TOO_MANY_CANCELS: &str = "too-many-cancels";
/// A step was not answered in time.
pub const TIMED_OUT: &str = "timed-out";
/// A step's command was given up by an operator of its consumer.
pub const DISCARDED: &str = "discarded";
/// An operator had the saga undone.
pub const COMPENSATED_BY_OPERATOR: &str = "compensated-by-operator";
/// An operator ended the saga where it stood.
pub const CANCELED_BY_OPERATOR: &str = "canceled-by-operator";

/// Why an operator's verb was refused: there is no such instance.
pub const UNKNOWN_SAGA: &str = "unknown-saga";
/// The verb was meant for another round.
pub const ROUND_OVER: &str = "round-over";
/// The saga has ended, or is being undone already.
pub const NOT_RUNNING: &str = "not-running";
/// Another step is awaited, or none.
pub const STEP_NOT_AWAITED: &str = "step-not-awaited";
/// Later steps need what the answer says.
pub const ANSWER_NEEDED: &str = "answer-needed";
/// The step may have been carried out already and can't be undone, so that a rejected repetition could not be told
/// from a step that never was. Its consumer's parked messages are where to look.
pub const RETRY_UNSAFE: &str = "retry-unsafe";
/// There is no way but forward.
pub const PAST_PIVOT: &str = "past-pivot";

/// Every code of this kit, for the test that each has a page.
pub const ALL: &[&str] = &[
    ALREADY_RUNNING,
    ALREADY_ENDED,
    CANCELED,
    TOO_MANY_CANCELS,
    TIMED_OUT,
    DISCARDED,
    COMPENSATED_BY_OPERATOR,
    CANCELED_BY_OPERATOR,
    UNKNOWN_SAGA,
    ROUND_OVER,
    NOT_RUNNING,
    STEP_NOT_AWAITED,
    ANSWER_NEEDED,
    RETRY_UNSAFE,
    PAST_PIVOT,
];
