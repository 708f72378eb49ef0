//! What the tests of the prover and of the simulator break.

/// A rule taken away, to see whether the prover or the simulator misses it. Nothing else takes any; in a release build
/// none can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flaw {
    UndoInOrder,
    UnansweredNotUndone,
    LateReplyCounts,
    ReplyMatchedByType,
    StaleTimerFires,
    AnswersTwice,
    CancelForgotten,
    RejectedUndoDropped,
    RejectedRetryNotUndone,
    RejectedStepUndone,
    SameIdAgain,
    RejectionCountsWhilePaused,
    PivotForgotten,
    ClosesWellAnyhow,
}
