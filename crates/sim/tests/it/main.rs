//! The engine and the leaves under faults, seed by seed.

use daybook_sim::{Faults, Outcome, Settings, run};

/// Many more are run by `./dev sim`.
const SEEDS: u64 = 100;

fn settings(seed: u64, faults: Faults) -> Settings {
    Settings { seed, flows: 60, workers: 3, faults, trace: false }
}

fn check(outcome: &Outcome) {
    let violations: Vec<_> = outcome.violations.iter().take(5).map(|v| format!("{}: {}", v.rule, v.detail)).collect();
    assert!(
        violations.is_empty(),
        "seed {}: {violations:#?}\nafter {} steps: {}",
        outcome.seed,
        outcome.steps,
        outcome.tally
    );
}

#[test]
fn without_faults_everything_ends_well() {
    let outcome = run(&settings(1, Faults::none()));
    check(&outcome);
    assert!(outcome.active > 20, "{outcome:?}");
}

#[test]
fn a_seed_replays_exactly() {
    let settings = Settings { trace: true, ..settings(5, Faults::usual()) };
    let (first, second) = (run(&settings), run(&settings));
    assert_eq!(first.trace, second.trace);
    assert_eq!((first.steps, first.tally), (second.steps, second.tally));
}

#[test]
fn under_every_fault_the_rules_hold() {
    let mut faults = daybook_sim::Tally::default();
    for seed in 0..SEEDS {
        let outcome = run(&settings(seed, Faults::usual()));
        check(&outcome);
        faults.add(&outcome.tally);
    }
    for fault in ["crash", "stopped", "rebalance", "commit unknown", "delivery failed", "delivered twice"] {
        assert!(faults.of(fault) > 0, "no {fault} in any seed: {faults}");
    }
}

#[test]
fn what_the_database_will_not_store_is_parked_alone() {
    let outcome = run(&Settings { trace: true, ..settings(3, Faults { nonsense: 200_000, ..Faults::none() }) });
    check(&outcome);
    let parked =
        |code: &str| outcome.trace.iter().filter(|line| line.contains("Parked") && line.contains(code)).count();
    assert!(parked("not-storable") >= outcome.tally.of("unstorable") as usize, "{:#?}", outcome.trace);
    assert!(parked("header-missing") > 0 && parked("schema-unknown") > 0, "other nonsense is parked too");
}
