use hashbrown::HashMap;

use crate::{Row, RowKey};

/// Rows of one partition as last committed, absent ones included. Legal only while the partition is owned.
///
/// Two generations stand in for an exact LRU: a row that was used since the last turn survives the next.
///
/// *2026-11: bounded by bytes, not by rows.* Rows differ in size, and what must not grow without end is memory: with room for 100,000
/// rows of each part the platform was beyond a gigabyte after half an hour.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    young: HashMap<RowKey, Option<Row>>,
    old: HashMap<RowKey, Option<Row>>,
    young_bytes: usize,
    bytes_max: usize,
}

/// What a row takes beside its body: key, fields, and its share of the table.
const ROW_BYTES: usize = 192;

fn size(row: &Option<Row>) -> usize {
    ROW_BYTES + row.as_ref().map_or(0, |row| row.body.len())
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    pub(crate) fn put(&mut self, key: RowKey, row: Option<Row>) {
        if self.young_bytes >= self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.old.remove(&key);
        self.young_bytes += size(&row);
        if let Some(replaced) = self.young.insert(key, row) {
            self.young_bytes -= size(&replaced);
        }
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
        let mut cache = Cache::new(8 * ROW_BYTES);
        for n in 0..100 {
            cache.touched(&key(0));
            cache.put(key(n), None);
            assert!(cache.len() <= 9);
        }
        assert!(cache.touched(&key(0)).is_some(), "what is used stays");
        assert!(cache.touched(&key(50)).is_none());
    }

    #[test]
    fn bodies_count_and_what_is_replaced_does_not() {
        let row = |bytes| Some(Row { number: 1, due: None, status: None, body: vec![0; bytes].into() });
        let mut cache = Cache::new(20 * ROW_BYTES);
        for _ in 0..1_000 {
            cache.put(key(0), row(ROW_BYTES));
        }
        cache.put(key(1), row(0));
        assert_eq!(cache.len(), 2, "no turn: one row was put again and again");
        for n in 0..100 {
            cache.put(key(n), row(9 * ROW_BYTES));
            assert!(cache.len() <= 3, "a row is half of what there is room for");
        }
    }
}
