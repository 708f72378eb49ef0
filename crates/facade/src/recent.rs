//! What this process has accepted lately: until the projection has caught up, nobody else knows of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::operation::OperationRow;

/// The most operations that are remembered; the projection is seconds behind at most, or there are other worries.
pub(crate) const RECENT_MAX: usize = 20_000;

#[derive(Default)]
pub(crate) struct Recent {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    rows: HashMap<Uuid, OperationRow>,
    order: VecDeque<Uuid>,
}

impl Recent {
    pub(crate) fn remember(&self, row: OperationRow) {
        let mut kept = self.kept();
        let id = row.operation_id;
        if kept.rows.insert(id, row).is_none() {
            kept.order.push_back(id);
        }
        if kept.order.len() > RECENT_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.rows.remove(&oldest);
        }
    }

    pub(crate) fn find(&self, id: Uuid) -> Option<OperationRow> {
        self.kept().rows.get(&id).cloned()
    }

    /// A panic while it was held can't have broken it: the worst is a missing entry.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
