//! What the prover's own tests break.

/// A rule taken away, to see whether the prover misses it. Only this crate's tests take any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    UndoInOrder,
    UnansweredNotUndone,
    LateReplyCounts,
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
