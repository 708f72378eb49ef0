//! A run from its start to its judgment.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::Scene;
use e2e::judge::{await_rest, judge};

use crate::cluster::Cluster;
use crate::figures::{Figures, scrape};
use crate::inject::{Injected, Injector};
use crate::load::{Load, outcomes};
use crate::plan::plan;
use crate::proxy::Traffic;
use crate::report::{Report, Spread};
use crate::secrets::{needles, search};

/// Load without faults at the beginning, so that they strike work under way.
const WARM_UP: Duration = Duration::from_secs(3);
/// How often the processes are asked for their counters, and looked after.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const OPERATIONS: &str = "SELECT operation_id, succeeded, code FROM operation WHERE closing_type IS NOT NULL";

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of its folder.
    pub name: String,
    pub seed: u64,
    /// How long faults come.
    pub lasting: Duration,
    /// Every leaf in a process of its own, instead of three deployments of two.
    pub apart: bool,
    /// How many flows begin each second.
    pub per_second: f64,
}

/// Starts a platform, strikes it under load, lets it come to rest and judges it.
///
/// # Errors
/// When it does not start. What goes wrong later is a violation in the report.
pub fn run(options: &Options) -> Result<Report> {
    let cluster = Cluster::start(&options.name, options.apart)?;
    let load = {
        let platform = cluster.platform.lock().expect("nobody panics while holding the platform");
        Load::prepare(&Scene::new(&platform)?)?
    };
    eprintln!("{} processes are ready; seed {}", cluster.processes.len(), options.seed);
    let injector = Injector { cluster: &cluster, load: &load, injected: Mutex::default() };
    let figures = Mutex::new(Figures::default());
    strike_under_load(options, &injector, &figures);

    let calm_since = Instant::now();
    if let Err(error) = judged(&cluster) {
        load.violate(format!("{error:#}"));
    }
    let rest_s = calm_since.elapsed().as_secs();
    look_once(&injector, &figures);
    let mut report = Report {
        seed: options.seed,
        seconds: options.lasting.as_secs(),
        apart: options.apart,
        processes: cluster.processes.len(),
        faults: BTreeMap::new(),
        faults_skipped: 0,
        accepted: Spread::default(),
        flows: BTreeMap::new(),
        rest_s,
        recoveries: Vec::new(),
        links: traffic_by_server(&cluster),
        counters: figures.lock().expect("nobody panics while counting").totals(),
        log_bytes: 0,
        violations: Vec::new(),
    };
    traffic_went_through(&report, &load);
    if let Err(error) = flows_and_logs(&cluster, &load, &mut report) {
        load.violate(format!("{error:#}"));
    }
    let Injected { by_kind, skipped, recoveries } =
        std::mem::take(&mut *injector.injected.lock().expect("nobody panics while counting"));
    report.faults = by_kind;
    report.faults_skipped = skipped;
    report.recoveries = recoveries;
    report.violations = std::mem::take(&mut *load.violations.lock().expect("nobody panics while holding them"));
    Ok(report)
}

/// Load and faults side by side; returns when both are over and everything that was killed is back.
fn strike_under_load(options: &Options, injector: &Injector<'_>, figures: &Mutex<Figures>) {
    let cluster = injector.cluster;
    let planned = plan(options.seed, options.lasting, cluster.processes.len(), &cluster.links_by_server());
    let (load_ends, watch_ends) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let loading = scope.spawn(|| injector.load.run(options.per_second, &load_ends));
        scope.spawn(|| {
            while !watch_ends.load(Ordering::Relaxed) {
                look_once(injector, figures);
                thread::sleep(LOOK_EVERY);
            }
        });
        thread::sleep(WARM_UP);
        injector.carry_out(&planned);
        load_ends.store(true, Ordering::Relaxed);
        eprintln!("calm; {} flows were begun", injector.load.begun());
        loading.join().expect("the load does not panic");
        watch_ends.store(true, Ordering::Relaxed);
    });
}

fn look_once(injector: &Injector<'_>, figures: &Mutex<Figures>) {
    injector.look_after_processes();
    for process in &injector.cluster.processes {
        // One that is away, or stands still, is asked again later.
        if let Ok(counted) = scrape(&process.telemetry) {
            figures.lock().expect("nobody panics while counting").take(&process.name, counted);
        }
    }
}

fn judged(cluster: &Cluster) -> Result<()> {
    let platform = cluster.platform.lock().expect("nobody panics while holding the platform");
    await_rest(&platform)?;
    judge(&platform)
}

fn flows_and_logs(cluster: &Cluster, load: &Load, report: &mut Report) -> Result<()> {
    let platform = cluster.platform.lock().expect("nobody panics while holding the platform");
    report.flows = outcomes(load, &platform.sql().rows(OPERATIONS)?)?;
    report.accepted = {
        let accepted = load.accepted.lock().expect("nobody panics while holding the answers");
        Spread::of(accepted.iter().map(|accepted| accepted.waited.as_millis()))
    };
    let (found, searched) = search(&needles(&platform)?, &cluster.logs()?)?;
    report.log_bytes = searched;
    found.into_iter().for_each(|found| load.violate(found));
    Ok(())
}

fn traffic_by_server(cluster: &Cluster) -> BTreeMap<&'static str, Traffic> {
    let mut links: BTreeMap<&'static str, Traffic> = BTreeMap::new();
    for wire in &cluster.wires {
        links.entry(wire.to).or_default().add(&wire.link.traffic());
    }
    links
}

/// A proxy that nothing passes proves nothing.
fn traffic_went_through(report: &Report, load: &Load) {
    for (to, traffic) in &report.links {
        let is_quiet = traffic.bytes_asked == 0 || traffic.bytes_answered == 0;
        if is_quiet {
            load.violate(format!("nothing went through the proxies to {to}"));
        }
    }
}
