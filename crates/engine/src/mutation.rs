//! Rules that can be left out, to see whether the simulator misses them.
//!
//! Decided 2026-11-21: a run-time value, so that one build shows all of them; handed over by a method that nothing but the
//! simulator calls; and without effect where `debug_assertions` are off, so that no release build can leave anything
//! out, and pays nothing for it. A cargo feature was rejected: it would spread to every build of the workspace.

/// A rule of `docs/runtime.md` that the engine can be made to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutation {
    /// Only batches that take in records raise the version: neither timers, nor outcomes, nor claims.
    VersionRaisedByRecordsOnly,
    /// What comes after a gap is applied, and the mark moves to it.
    GapPassed,
    /// Every message is applied, whatever its number says.
    MarksIgnored,
    /// A claim takes what is in the outbox as published.
    NoRepublish,
    /// After a failed delivery only what failed is sent again.
    GoForward,
    /// Every call has a key of its own.
    KeyPerCall,
    /// Timers fire without asking whether something is unread.
    TimerBeforeUnread,
    /// Deadlines fire although a participant has not read what it was sent.
    LagIgnored,
    /// Deadlines fire although a participant waits for somebody itself.
    WaitsIgnored,
    /// What is held behind a key is released from its end.
    HeldReversed,
    /// Rows stay cached when a partition is lost and are used when it comes back.
    CacheSurvives,
    /// A provider that is down is called by everybody.
    BreakerIgnored,
    /// Control records wait behind a blocked key, too.
    ControlHeld,
}

/// What an engine leaves out: in a release build, nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LeftOut(Option<Mutation>);

impl LeftOut {
    pub(crate) fn only(mutation: Mutation) -> Self {
        Self(Some(mutation))
    }

    pub(crate) fn has(self, rule: Mutation) -> bool {
        cfg!(debug_assertions) && self.0 == Some(rule)
    }
}
