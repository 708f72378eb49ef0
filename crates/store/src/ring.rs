//! Tables that forget: a fixed ring of partitions, each for one stretch of time, emptied when it comes round again.
//!
//! Partitions by date would have to be made ahead, and the day on which nobody did would stop every commit. A ring is
//! complete from birth. Housekeeping that stays away only means that rows are kept longer.

/// A table partitioned by `slot`, the number of its stretch of time modulo the ring's length.
pub(crate) struct Ring {
    pub table: &'static str,
    pub slots: i64,
    pub slot_seconds: i64,
    /// How long a row is kept at least.
    pub kept_seconds: i64,
}

/// Batches of messages, kept a day so that an operator can see what was published.
pub(crate) const OUTBOX: Ring =
    Ring { table: "outbox", slots: 16, slot_seconds: 2 * 60 * 60, kept_seconds: 24 * 60 * 60 };

/// Commands from outside, known for 14 days.
pub(crate) const APPLIED: Ring =
    Ring { table: "applied", slots: 17, slot_seconds: 24 * 60 * 60, kept_seconds: 14 * 24 * 60 * 60 };

impl Ring {
    /// SQL for the slot of the present.
    pub fn slot_sql(&self) -> String {
        format!("(extract(epoch FROM now())::bigint / {} % {})::int", self.slot_seconds, self.slots)
    }

    /// SQL that makes all partitions.
    pub fn create_sql(&self, schema: &str) -> String {
        let create = |slot| {
            let table = self.table;
            format!("CREATE TABLE {schema}.{table}_{slot:02} PARTITION OF {schema}.{table} FOR VALUES IN ({slot});\n")
        };
        (0..self.slots).map(create).collect()
    }

    /// The slots in which every row is older than it needs to be, at a time in seconds since 1970.
    pub fn stale_slots(&self, now_seconds: i64) -> Vec<i64> {
        let present = now_seconds.div_euclid(self.slot_seconds);
        let is_stale = |age: &i64| {
            let end_seconds = (present - age + 1) * self.slot_seconds;
            now_seconds - end_seconds >= self.kept_seconds
        };
        (1..self.slots).filter(is_stale).map(|age| (present - age).rem_euclid(self.slots)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_stale_only_when_its_youngest_row_is_old_enough() {
        for ring in [OUTBOX, APPLIED] {
            for now in [1_767_225_600, 1_767_225_600 + ring.slot_seconds - 1] {
                let present = now / ring.slot_seconds;
                let stale = ring.stale_slots(now);
                for age in 0..ring.slots {
                    let youngest_row_age = now - ((present - age + 1) * ring.slot_seconds - 1);
                    let slot = (present - age).rem_euclid(ring.slots);
                    assert_eq!(stale.contains(&slot), youngest_row_age > ring.kept_seconds, "{} {age}", ring.table);
                }
            }
        }
    }

    #[test]
    fn the_next_slot_is_stale_well_before_it_is_used_again() {
        for ring in [OUTBOX, APPLIED] {
            let now = 1_767_225_600;
            let next = (now / ring.slot_seconds + 1).rem_euclid(ring.slots);
            assert!(ring.stale_slots(now).contains(&next), "{}", ring.table);
        }
    }
}
