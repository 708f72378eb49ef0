//! Carries out what was planned, and notes how long everything took to come back.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use daybook_stack::Server;
use e2e::until;
use serde::Serialize;

use crate::cluster::{Cluster, Process};
use crate::figures::scrape;
use crate::load::Load;
use crate::plan::{Fault, Planned};

/// How long a process that is back may take to apply its first message; it may have nothing to apply.
const FIRST_APPLIED_LIMIT: Duration = Duration::from_secs(30);
/// Shown of the log of a process that ended by itself.
const LOG_TAIL_BYTES: usize = 2_000;

/// How something that was killed came back.
#[derive(Clone, Debug, Serialize)]
pub struct Recovery {
    /// The kind: a process of the platform, or a server by its name.
    pub what: &'static str,
    /// How long it was kept away.
    pub away_ms: u128,
    /// From its new start until it is ready.
    pub ready_ms: u128,
    /// From its new start until its first message is applied, if there was one soon.
    pub applied_ms: Option<u128>,
}

/// What was done, and what came of it.
#[derive(Default)]
pub struct Injected {
    pub by_kind: BTreeMap<&'static str, usize>,
    /// Planned, and not carried out because its target was still struck by another fault.
    pub skipped: usize,
    pub recoveries: Vec<Recovery>,
}

pub struct Injector<'a> {
    pub cluster: &'a Cluster,
    pub load: &'a Load,
    pub injected: Mutex<Injected>,
}

impl Injector<'_> {
    /// Lets everything happen at its time. Returns when all is started again that was killed, and every link is as it was.
    pub fn carry_out(&self, planned: &[Planned]) {
        let began = Instant::now();
        thread::scope(|scope| {
            for Planned { at, fault } in planned {
                thread::sleep((began + *at).saturating_duration_since(Instant::now()));
                scope.spawn(|| {
                    let done = self.strike(*fault);
                    let mut injected = self.injected.lock().expect("nobody panics while counting");
                    match done {
                        Ok(true) => *injected.by_kind.entry(fault.name()).or_default() += 1,
                        Ok(false) => injected.skipped += 1,
                        Err(error) => self.load.violate(format!("{}: {error:#}", fault.name())),
                    }
                });
            }
        });
        self.cluster.calm();
    }

    /// Carries out one fault; `false` when its target is not free.
    fn strike(&self, fault: Fault) -> Result<bool> {
        match fault {
            Fault::KillProcess { process, away } => self.kill_process(&self.cluster.processes[process], away),
            Fault::StopProcess { process, lasting } => stop_process(&self.cluster.processes[process], lasting),
            Fault::KillServer { server, away } => self.kill_server(server, away),
            Fault::Disturb { link, weather, lasting } => {
                let wire = &self.cluster.wires[link];
                eprintln!("{}: {weather}, for {lasting:?}", wire.name);
                wire.link.set(weather);
                thread::sleep(lasting);
                wire.link.calm();
                Ok(true)
            }
            Fault::Reset { link } => {
                let wire = &self.cluster.wires[link];
                eprintln!("{}: reset", wire.name);
                wire.link.reset();
                Ok(true)
            }
            Fault::DropAnswers { link, count } => {
                let wire = &self.cluster.wires[link];
                eprintln!("{}: {count} answers are lost", wire.name);
                wire.link.drop_answers(count);
                Ok(true)
            }
        }
    }

    fn kill_process(&self, process: &Process, away: Duration) -> Result<bool> {
        let Ok(mut stack) = process.stack.try_lock() else { return Ok(false) };
        eprintln!("{}: killed for {away:?}", process.name);
        stack.kill(Server::Platform).with_context(|| process.name.clone())?;
        thread::sleep(away);
        let began = Instant::now();
        stack.restart(Server::Platform, &daybook_stack::Silent).with_context(|| process.name.clone())?;
        let ready_ms = began.elapsed().as_millis();
        drop(stack);
        let applied = until("a message is applied", FIRST_APPLIED_LIMIT, || {
            let applied = scrape(&process.telemetry)?.get("daybook_applied_total").copied();
            Ok(applied.filter(|count| *count > 0.0))
        });
        let applied_ms = applied.is_ok().then(|| began.elapsed().as_millis());
        self.recovered(Recovery { what: "process", away_ms: away.as_millis(), ready_ms, applied_ms });
        Ok(true)
    }

    fn kill_server(&self, server: Server, away: Duration) -> Result<bool> {
        // One handle for all servers: while one is away, no other is killed.
        let Ok(mut platform) = self.cluster.platform.try_lock() else { return Ok(false) };
        eprintln!("{server}: killed for {away:?}");
        platform.kill(server)?;
        thread::sleep(away);
        let began = Instant::now();
        platform.restart(server)?;
        let ready_ms = began.elapsed().as_millis();
        let what = Fault::KillServer { server, away }.name();
        self.recovered(Recovery { what, away_ms: away.as_millis(), ready_ms, applied_ms: None });
        Ok(true)
    }

    fn recovered(&self, recovery: Recovery) {
        self.injected.lock().expect("nobody panics while counting").recoveries.push(recovery);
    }

    /// Starts what has ended although nobody killed it: no fault is a reason to end.
    pub fn look_after_processes(&self) {
        for process in &self.cluster.processes {
            if let Err(error) = look_after(process) {
                self.load.violate(format!("{error:#}"));
            }
        }
    }
}

fn stop_process(process: &Process, lasting: Duration) -> Result<bool> {
    let Ok(stack) = process.stack.try_lock() else { return Ok(false) };
    eprintln!("{}: stopped for {lasting:?}", process.name);
    stack.pause(Server::Platform).with_context(|| process.name.clone())?;
    thread::sleep(lasting);
    stack.resume(Server::Platform).with_context(|| process.name.clone())?;
    Ok(true)
}

fn look_after(process: &Process) -> Result<()> {
    // Whoever holds it is striking it.
    let Ok(mut stack) = process.stack.try_lock() else { return Ok(()) };
    if stack.pid(Server::Platform).is_some() {
        return Ok(());
    }
    let log = std::fs::read(process.log())?;
    let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned();
    stack.restart(Server::Platform, &daybook_stack::Silent)?;
    bail!("{} ended by itself: {tail}", process.name)
}
