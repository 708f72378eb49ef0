//! The engine and the leaves under faults, seed by seed.

mod replay;
mod restore;
mod teeth;

use daybook_sim::{Faults, Outcome, Settings, Tally, run, run_many};

const SEEDS: u64 = 500;
const FLOWS: usize = 200;

fn settings(seed: u64, faults: Faults) -> Settings {
    Settings { faults, ..Settings::usual(seed, 60) }
}

fn check(settings: &Settings, outcome: &Outcome) {
    let violations: Vec<_> = outcome.violations.iter().take(5).map(|v| format!("{}: {}", v.rule, v.detail)).collect();
    let replay = Settings { seed: outcome.seed, ..settings.clone() }.replay();
    assert!(violations.is_empty(), "{violations:#?}\nreplay it with: {replay}\nafter {}", outcome.tally);
}

#[test]
fn without_faults_everything_ends_well() {
    let settings = settings(1, Faults::none());
    let outcome = run(&settings);
    check(&settings, &outcome);
    assert!(outcome.active > 20, "{outcome:?}");
}

#[test]
fn under_every_fault_the_rules_hold() {
    let settings = Settings::usual(0, FLOWS);
    let mut tally = Tally::default();
    run_many(&settings, 0..SEEDS, |outcome| {
        check(&settings, &outcome);
        tally.add(&outcome.tally);
        true
    });
    for fault in FAULTS {
        assert!(tally.of(fault) > 0, "no {fault} in any seed: {tally}");
    }
}

/// What has to happen at least once, or the run shows nothing of it. A call whose key is forgotten is not among it: calls that are
/// so late are looked up instead.
const FAULTS: [&str; 26] = [
    "crash",
    "stopped",
    "stopped in a commit",
    "rebalance",
    "consumer gone",
    "participant waited for",
    "clock jump",
    "commit unknown, done",
    "commit unknown, not done",
    "commit unknown, late",
    "commit unknown, of no records",
    "delivery failed",
    "delivered twice",
    "delivered again later",
    "gap seen",
    "writer fenced",
    "stale offset",
    "registry away",
    "provider down",
    "breaker opened",
    "provider acted late",
    "looked up",
    "notice instead of the answer",
    "notice twice",
    "saga retried",
    "saga compensated",
];

#[test]
fn what_came_of_an_effect_that_nobody_else_can_tell_the_operator_tells() {
    // A provider that is down spends no budget; one that answers, but with nothing that helps, does, where the budget is not
    // given anew by a crash.
    let faults =
        Faults { provider_down: 50_000, provider_refused: 800_000, provider_failed: 500_000, ..Faults::none() };
    let settings = Settings { trouble_ms: 15 * 60_000, ..settings(0, faults) };
    let mut tally = Tally::default();
    run_many(&settings, 0..20, |outcome| {
        check(&settings, &outcome);
        tally.add(&outcome.tally);
        true
    });
    let told = ["effect resolved, done", "effect resolved, not done"].map(|told| tally.of(told));
    assert!(told.iter().all(|times| *times > 0), "{tally}");
}

#[test]
fn what_the_database_will_not_store_is_parked_alone() {
    let settings = Settings { trace: true, ..settings(3, Faults { nonsense: 200_000, ..Faults::none() }) };
    let outcome = run(&settings);
    check(&settings, &outcome);
    let parked =
        |code: &str| outcome.trace.iter().filter(|line| line.contains("Parked") && line.contains(code)).count();
    assert!(parked("not-storable") >= outcome.tally.of("unstorable") as usize, "{:#?}", outcome.trace);
    assert!(parked("header-missing") > 0 && parked("schema-unknown") > 0, "other nonsense is parked too");
}
