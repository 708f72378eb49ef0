//! What `daybook dev` does: the four commands, with all that they print.

use std::io::{self, BufRead, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::progress::progress_for_terminal;
use crate::{Launch, Layout, Lifetime, Plan, Ports, Purpose, Server, Stack};

/// How often a command in the foreground looks after its servers.
const WATCH: Duration = Duration::from_millis(500);

/// Says how the programs of the platform are started, once the servers they stand on are ready: the place to write a
/// settings file from [`Stack::urls`] and [`Stack::secrets`].
pub type Programs<'a> =
    &'a dyn Fn(&Stack) -> std::result::Result<Vec<(Server, Launch)>, Box<dyn std::error::Error + Send + Sync>>;

/// What [`up`] is to do.
pub struct Up<'a> {
    pub layout: Layout,
    pub servers: Vec<Server>,
    pub ports: Ports,
    pub purpose: Purpose,
    /// Return when all is ready and leave it running, instead of staying until Ctrl-C.
    pub detach: bool,
    pub programs: Option<Programs<'a>>,
}

/// Starts what does not run yet, and prints where things are. Without `detach` it stays, says when a server ends, and stops
/// what runs on Ctrl-C.
///
/// Call it before this process has other threads: they would take the signals that this one waits for.
///
/// # Errors
/// As [`Stack::start`].
pub fn up(options: Up<'_>) -> Result<()> {
    let progress = progress_for_terminal();
    let plan = Plan {
        servers: options.servers,
        ports: options.ports,
        purpose: options.purpose,
        lifetime: Lifetime::Handle,
        kafka_proxy_port: None,
    };
    let mut stack = Stack::start(options.layout, &plan, progress.as_ref())?;
    if let Some(programs) = options.programs {
        for (server, launch) in programs(&stack).map_err(Error::Programs)? {
            stack.launch(server, launch, progress.as_ref())?;
        }
    }
    print_places(&stack)?;
    if options.detach {
        return stack.release();
    }
    if !stack.started_any() {
        say("everything was running already; stop it with: daybook dev down")?;
        return stack.release();
    }
    stay(stack)
}

/// Stops what the stack of this folder runs, and nothing else.
///
/// # Errors
/// When a server cannot be ended.
pub fn down(layout: Layout) -> Result<()> {
    let progress = progress_for_terminal();
    match Stack::attach(layout) {
        Ok(stack) => stack.stop(progress.as_ref()),
        Err(Error::NoStack { .. }) => say("nothing runs"),
        Err(error) => Err(error),
    }
}

/// Prints what runs, as a table or as JSON, and tells whether all that should run is ready.
///
/// # Errors
/// When the state cannot be read.
pub fn status(layout: Layout, json: bool) -> Result<bool> {
    let rows = match Stack::attach(layout) {
        Ok(stack) => stack.servers().into_iter().map(|server| Row::of(&stack, server)).collect(),
        Err(Error::NoStack { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    if json {
        let text = serde_json::to_string_pretty(&rows).map_err(io::Error::from);
        say(&text.map_err(printing)?)?;
    } else {
        print_table(&rows)?;
    }
    Ok(!rows.is_empty() && rows.iter().all(|row| row.ready))
}

/// Stops everything and deletes all data, after asking if `yes` is not given.
///
/// # Errors
/// When it is not confirmed, a server cannot be ended, or a file cannot be deleted.
pub fn reset(layout: Layout, yes: bool) -> Result<()> {
    if !yes && !confirmed(&layout)? {
        return Err(Error::Unconfirmed { root: layout.root });
    }
    down(layout.clone())?;
    let _lock = layout.lock()?;
    layout.delete()?;
    say("all data is deleted")
}

/// One line of the status.
#[derive(Serialize)]
struct Row {
    server: Server,
    ready: bool,
    /// "ready", or why not.
    state: String,
    port: u16,
    pid: Option<i32>,
    log: std::path::PathBuf,
}

impl Row {
    fn of(stack: &Stack, server: Server) -> Self {
        let answer = stack.ready(server);
        Self {
            server,
            ready: answer.is_ok(),
            state: answer.err().unwrap_or_else(|| "ready".to_owned()),
            port: stack.port(server),
            pid: stack.pid(server),
            log: stack.layout().log(server),
        }
    }
}

fn print_table(rows: &[Row]) -> Result<()> {
    if rows.is_empty() {
        return say("nothing runs; start it with: daybook dev up");
    }
    say(&format!("{:<10} {:>5} {:>8}  {}", "server", "port", "process", "state"))?;
    for row in rows {
        let pid = row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        say(&format!("{:<10} {:>5} {pid:>8}  {}", row.server, row.port, row.state))?;
    }
    Ok(())
}

/// Stays with the servers until a signal to end, or until all of them were stopped elsewhere.
fn stay(mut stack: Stack) -> Result<()> {
    // Not earlier: the servers would inherit the block and not hear what stops them. Until here a signal ends this
    // process, and the watchdog the servers.
    let signals = end_signals()?;
    say("press Ctrl-C to stop everything")?;
    loop {
        if signals.read_signal().map_err(Error::Signals)?.is_some() {
            return stack.stop(progress_for_terminal().as_ref());
        }
        for server in stack.take_unexpected_ends()? {
            let log = stack.layout().log(server);
            say(&format!("{server} has ended; see {}; daybook dev up starts it again", log.display()))?;
        }
        if stack.servers().is_empty() {
            return say("everything was stopped");
        }
        thread::sleep(WATCH);
    }
}

fn end_signals() -> Result<SignalFd> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().map_err(Error::Signals)?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(Error::Signals)
}

/// Addresses without secrets; those are in a file of their own.
fn print_places(stack: &Stack) -> Result<()> {
    let urls = stack.urls();
    for server in stack.servers() {
        let place = match server {
            Server::Postgres => format!("127.0.0.1:{}", stack.port(server)),
            Server::Kafka => urls.kafka.clone(),
            Server::Registry => urls.registry.clone(),
            Server::Redis => format!("127.0.0.1:{}", stack.port(server)),
            Server::Mail => format!("{} into {}", urls.smtp, urls.mail_dir.display()),
            Server::Provider => urls.provider.clone(),
            Server::Platform => urls.platform.clone(),
        };
        say(&format!("{server:<12} {place}"))?;
    }
    let root = &stack.layout().root;
    say(&format!("{:<12} {}", "logs", root.join("logs").display()))?;
    say(&format!("{:<12} {}", "secrets", stack.layout().secrets_file().display()))
}

fn confirmed(layout: &Layout) -> Result<bool> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Ok(false);
    }
    print!("Stop everything and delete all data in {}? [y/N] ", layout.root.display());
    io::stdout().flush().map_err(printing)?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer).map_err(printing)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").map_err(printing)
}

fn printing(source: io::Error) -> Error {
    Error::File { what: "print to", path: "standard output".into(), source }
}
