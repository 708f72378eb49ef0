//! Hearing of what a part does.

use std::fmt;

use daybook_engine::Commit;

/// Hears of what a part does. Called by the part's own task, so it must be quick and may not block; nothing depends on it.
pub trait Observer: fmt::Debug + Send + Sync {
    /// The part has found everything in order and is a member of its group.
    fn started(&self) {}

    /// A batch is stored.
    fn committed(&self, commit: &Commit) {
        let _unheard = commit;
    }
}
