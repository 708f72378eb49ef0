//! Each rule of the runtime is left out, and the simulator has to notice.

use daybook_sim::{Settings, TEETH, Tooth, Violation, run, run_many, shrink};

const FLOWS: usize = 200;
/// Seeds that a rule left out may take to show.
const SEEDS: u64 = 80;

/// The first seed, from 0 on, that shows that the rule is left out.
fn first_shown(tooth: &Tooth) -> Option<(u64, Violation)> {
    let settings = Settings { left_out: Some(tooth.left_out), ..Settings::usual(0, FLOWS) };
    let mut found = None;
    run_many(&settings, 0..SEEDS, |outcome| {
        let mut violations = outcome.violations.into_iter();
        let shown = violations.find(|violation| tooth.shows.is_none_or(|rule| violation.rule == rule));
        found = shown.map(|violation| (outcome.seed, violation));
        found.is_none()
    });
    found
}

/// Prints the table of `docs/reliability.md`. Without anything left out the same seeds break no rule: that is
/// `under_every_fault_the_rules_hold`, which runs them all.
#[test]
fn each_rule_left_out_is_found() {
    let mut missed = Vec::new();
    for tooth in TEETH {
        match first_shown(&tooth) {
            Some((seed, violation)) => println!("| {} | {} | {} |", tooth.name, seed + 1, violation.rule),
            None => missed.push(tooth.name),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}

#[test]
fn what_fails_shrinks() {
    let tooth = TEETH.iter().find(|tooth| tooth.name == "mark ignored").expect("it is one of them");
    let (seed, violation) = first_shown(tooth).expect("it shows at once");
    let failing = Settings { left_out: Some(tooth.left_out), ..Settings::usual(seed, FLOWS) };
    let (smallest, outcome) = shrink(&failing, &violation);
    assert!(smallest.flows < FLOWS / 4, "{smallest:?}");
    assert_eq!(run(&smallest).violations, outcome.violations, "it fails again in the same way");
}
