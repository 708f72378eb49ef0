//! Makes a failing run small: what need not go wrong for it to fail does not.

use crate::auditor::Violation;
use crate::faults::Faults;
use crate::run::{Outcome, Settings, TROUBLE_AFTER_MS, run};

/// Runs that shrinking may take.
const RUNS_MAX: u32 = 150;
/// Seeds tried for each run with fewer flows: there a seed is another run altogether.
const SEEDS_TRIED: u64 = 12;
/// Seeds that are this far apart have the same provider.
const SEED_STEP: u64 = 3;

impl Settings {
    /// The command that runs exactly this again, with every step.
    pub fn replay(&self) -> String {
        let Self { seed, flows, workers, trouble_ms, .. } = self;
        let mut command = format!("daybook sim --seed {seed} --seeds 1 --flows {flows} --workers {workers}");
        if *trouble_ms != TROUBLE_AFTER_MS {
            command.push_str(&format!(" --trouble-ms {trouble_ms}"));
        }
        if self.faults != Faults::usual() {
            let mut faults = self.faults.clone();
            let kinds = faults.kinds().into_iter().filter(|(_, rate)| **rate > 0).map(|(name, _)| name);
            command.push_str(&format!(" --faults {}", kinds.collect::<Vec<_>>().join(",")));
        }
        command + " --trace"
    }
}

/// The smallest run that was found to break the rule as `failing` does.
///
/// Takes flows, then kinds of faults, then time and workers away, for as long as the rule stays broken.
pub fn shrink(failing: &Settings, broken: &Violation) -> (Settings, Outcome) {
    let mut smallest = Settings { trace: true, ..failing.clone() };
    let mut outcome = run(&smallest);
    let mut runs = 0;
    loop {
        let found = smaller(&smallest).into_iter().find_map(|candidate| {
            let seeds = if candidate.flows < smallest.flows { SEEDS_TRIED } else { 1 };
            fails(&candidate, seeds, broken.rule, &mut runs)
        });
        match found {
            Some((found, of_found)) => (smallest, outcome) = (found, of_found),
            None => return (smallest, outcome),
        }
    }
}

/// What to try next, the largest step first.
fn smaller(settings: &Settings) -> Vec<Settings> {
    let mut candidates = Vec::new();
    for flows in [settings.flows / 8, settings.flows / 2, settings.flows * 3 / 4] {
        if flows > 0 && flows < settings.flows {
            candidates.push(Settings { flows, ..settings.clone() });
        }
    }
    let kinds = settings.faults.clone().kinds().len();
    for kind in 0..kinds {
        let mut candidate = settings.clone();
        let rate = std::mem::take(candidate.faults.kinds()[kind].1);
        if rate > 0 {
            candidates.push(candidate);
        }
    }
    if settings.trouble_ms > 0 {
        candidates.push(Settings { trouble_ms: settings.trouble_ms / 2, ..settings.clone() });
    }
    if settings.workers > 1 {
        candidates.push(Settings { workers: settings.workers - 1, ..settings.clone() });
    }
    candidates
}

fn fails(candidate: &Settings, seeds: u64, rule: &str, runs: &mut u32) -> Option<(Settings, Outcome)> {
    for place in 0..seeds {
        if *runs >= RUNS_MAX {
            return None;
        }
        *runs += 1;
        let seed = candidate.seed.wrapping_add(place * SEED_STEP);
        let settings = Settings { seed, ..candidate.clone() };
        let outcome = run(&settings);
        if outcome.violations.iter().any(|violation| violation.rule == rule) {
            return Some((settings, outcome));
        }
    }
    None
}
