//! One seed, from the first command to rest; and many of them, on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use daybook_engine::Limits;

use crate::auditor::Violation;
use crate::faults::{Faults, Tally};
use crate::flows;
use crate::operator::Operator;
use crate::provider::Provider;
use crate::teeth::LeftOut;
use crate::world::World;

/// Simulated time that a run may take, in ms: sagas wait a day for a notification, a month is plenty.
const RUN_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// Steps that a run may take for each flow, and besides: one that needs more goes round in circles.
const STEPS_PER_FLOW: u64 = 20_000;
const STEPS_BESIDES: u64 = 200_000;
/// How long the faults go on after the last flow has begun, in simulated ms.
pub const TROUBLE_AFTER_MS: i64 = 30_000;
/// For how long the provider keeps its keys, as the adapter declares it, in ms: one of these per seed.
const KEY_LIFETIMES_MS: [i64; 3] = [60_000, 10 * 60_000, 24 * 60 * 60_000];

#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub flows: usize,
    pub workers: usize,
    pub faults: Faults,
    /// How long the faults go on after the last flow has begun, in simulated ms.
    pub trouble_ms: i64,
    /// A rule that is left out, to see whether it is missed.
    pub left_out: Option<LeftOut>,
    pub trace: bool,
}

impl Settings {
    /// A seed under the usual faults.
    pub fn usual(seed: u64, flows: usize) -> Self {
        let faults = Faults::usual();
        Self { seed, flows, workers: 3, faults, trouble_ms: TROUBLE_AFTER_MS, left_out: None, trace: false }
    }
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

/// The world of a seed, with everything planned that is going to happen.
pub(crate) fn begin(settings: &Settings) -> World {
    let limits = Limits {
        batch_max: 64,
        beside_min: 2,
        cache_bytes_max: 80_000,
        unacknowledged_max: 500,
        calls_due_max: 4,
        page: 16,
        ..Limits::default()
    };
    let key_lifetime_ms = KEY_LIFETIMES_MS[(settings.seed % KEY_LIFETIMES_MS.len() as u64) as usize];
    let leaves = flows::leaves(key_lifetime_ms, settings.left_out);
    let mut world = World::new(settings, leaves, limits, Box::new(Provider::new(key_lifetime_ms)));
    flows::plan(&mut world, settings.flows);
    world
}

/// Runs one seed. The same settings give the same outcome, to the last byte.
pub fn run(settings: &Settings) -> Outcome {
    let mut world = begin(settings);
    let began = world.now;
    let trouble_ms = i64::try_from(settings.flows).unwrap_or(i64::MAX) * flows::PACE_MS + settings.trouble_ms;
    let steps_max = STEPS_PER_FLOW * settings.flows as u64 + STEPS_BESIDES;
    let mut calm = false;
    let mut operator = Operator::new(&mut world);
    // What comes to rest with something parked waits for the operator's next look.
    while world.step() || operator.looks_again(&mut world) {
        operator.look(&mut world);
        let ms = world.now.ms_since(began);
        if !calm && ms > trouble_ms {
            world.calm();
            calm = true;
        }
        if ms > RUN_MS || world.steps > steps_max || !world.auditor.violations().is_empty() {
            break;
        }
    }
    let violations = judge(&mut world);
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

/// What was broken on the way, or is broken at rest.
fn judge(world: &mut World) -> Vec<Violation> {
    let mut violations = world.auditor.violations().to_vec();
    if violations.is_empty() {
        let at = world.now;
        if !world.is_settled() {
            let rule = "everything comes to rest";
            violations.push(Violation { at, rule, detail: "engines are still at work".to_owned() });
        }
        let books = world.outside.books();
        world.auditor.at_rest(at, &books);
        violations.extend_from_slice(world.auditor.violations());
    }
    violations
}

/// Runs these seeds, as many at once as there are cores; `each` hears of them in the order of the seeds, and may end it
/// by answering `false`.
pub fn run_many(settings: &Settings, seeds: Range<u64>, mut each: impl FnMut(Outcome) -> bool) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..cores {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let done = seed >= seeds.end;
                    if done || sender.send(run(&Settings { seed, ..settings.clone() })).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = std::collections::BTreeMap::new();
        let mut expected = seeds.start;
        for outcome in results {
            early.insert(outcome.seed, outcome);
            while let Some(outcome) = early.remove(&expected) {
                expected += 1;
                if !each(outcome) {
                    return;
                }
            }
        }
    });
}
