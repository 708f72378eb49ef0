//! A database that was restored to an earlier moment comes, recovered, to what it had come to.

use daybook_sim::{Faults, Settings, TROUBLE_AFTER_MS, restore};

#[test]
fn a_copy_of_any_moment_is_recovered_to_what_the_database_came_to() {
    for (seed, copied_after_ms) in [(1, 500), (2, 2_000), (3, 5_000), (4, 9_000), (5, 15_000), (6, 25_000)] {
        let settings = Settings {
            seed,
            flows: 60,
            workers: 3,
            faults: Faults::usual(),
            trouble_ms: TROUBLE_AFTER_MS,
            left_out: None,
            trace: false,
        };
        let restoration = restore(&settings, copied_after_ms);
        assert!(restoration.differences.is_empty(), "seed {seed}: {:#?}", restoration.differences);
        assert!(restoration.reproduced > 0, "seed {seed}: nothing was behind");
    }
}
