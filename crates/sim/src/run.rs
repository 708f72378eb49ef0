//! One seed, from the first command to rest.

use daybook_engine::Limits;

use crate::auditor::{Auditor, Violation};
use crate::faults::{Faults, Tally};
use crate::flows;
use crate::operator::Operator;
use crate::provider::Provider;
use crate::world::World;

/// Simulated time that a run may take, in ms: sagas wait a day for a notification, a week is plenty.
const RUN_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// Steps that a run may take for each flow: one that needs more goes round in circles.
const STEPS_PER_FLOW: u64 = 20_000;
/// How long the faults go on after the last flow has begun, in simulated ms.
const TROUBLE_AFTER_MS: i64 = 30_000;

#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub flows: usize,
    pub workers: usize,
    pub faults: Faults,
    pub trace: bool,
}

#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    pub tally: Tally,
    pub violations: Vec<Violation>,
    pub steps: u64,
    pub records: u64,
    pub replies: usize,
    pub active: usize,
    pub simulated_ms: i64,
    pub trace: Vec<String>,
}

/// Runs one seed. The same settings give the same outcome, to the last byte.
pub fn run(settings: &Settings) -> Outcome {
    let limits = Limits { batch_max: 64, cache_rows_max: 200, unacknowledged_max: 500, page: 16, ..Limits::default() };
    let mut world = World::new(
        settings.seed,
        flows::leaves(),
        settings.workers,
        settings.faults.clone(),
        limits,
        Box::new(Provider::default()),
        Auditor::default(),
    );
    world.trace = settings.trace.then(Vec::new);
    flows::plan(&mut world, settings.flows);
    let began = world.now;
    let trouble_ms = i64::try_from(settings.flows).unwrap_or(i64::MAX) * flows::PACE_MS + TROUBLE_AFTER_MS;
    let mut calm = false;
    let mut operator = Operator::new(&mut world);
    while world.step() {
        operator.look(&mut world);
        let ms = world.now.ms_since(began);
        if !calm && ms > trouble_ms {
            world.calm();
            calm = true;
        }
        if ms > RUN_MS || world.steps > STEPS_PER_FLOW * settings.flows as u64 || !world.auditor.violations().is_empty()
        {
            break;
        }
    }
    let at = world.now;
    let mut violations = world.auditor.violations().to_vec();
    if violations.is_empty() {
        if !world.is_settled() {
            let rule = "everything comes to rest";
            violations.push(Violation { at, rule, detail: "engines are still at work".to_owned() });
        }
        let books = world.outside.books();
        world.auditor.at_rest(at, &books);
        violations.extend_from_slice(world.auditor.violations());
    }
    Outcome {
        seed: settings.seed,
        tally: world.tally.clone(),
        violations,
        steps: world.steps,
        records: world.book.records(),
        replies: world.auditor.replies(),
        active: world.auditor.active(),
        simulated_ms: world.now.ms_since(began),
        trace: world.trace.take().unwrap_or_default(),
    }
}
