use hashbrown::HashMap;

use crate::{Row, RowKey};

/// Rows of one partition as last committed, absent ones included. Legal only while the partition is owned.
///
/// Two generations stand in for an exact LRU: a row that was used since the last turn survives the next.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    young: HashMap<RowKey, Option<Row>>,
    old: HashMap<RowKey, Option<Row>>,
    rows_max: usize,
}

impl Cache {
    pub(crate) fn new(rows_max: usize) -> Self {
        Self { rows_max: rows_max.max(2), ..Self::default() }
    }

    pub(crate) fn put(&mut self, key: RowKey, row: Option<Row>) {
        if self.young.len() >= self.rows_max / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, row);
    }

    /// The row, which then survives the next turn. Outer `None`: not known.
    pub(crate) fn touched(&mut self, key: &RowKey) -> Option<Option<Row>> {
        if let Some(row) = self.old.remove(key) {
            self.put(*key, row);
        }
        self.young.get(key).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(n: u128) -> RowKey {
        RowKey::entity(Uuid::from_u128(n))
    }

    #[test]
    fn it_forgets_the_unused_and_stays_bounded() {
        let mut cache = Cache::new(8);
        for n in 0..100 {
            cache.touched(&key(0));
            cache.put(key(n), None);
            assert!(cache.len() <= 9);
        }
        assert!(cache.touched(&key(0)).is_some(), "what is used stays");
        assert!(cache.touched(&key(50)).is_none());
    }
}
