//! The handle on a stack: start, find, kill, pause, restart, stop.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::health::Readiness;
use crate::ports::Socket;
use crate::process::{Gated, Identity, Launch};
use crate::servers::{Site, postgres, registry_api_path};
use crate::state::State;
use crate::watchdog::Watchdog;
use crate::{Layout, Ports, Progress, Secrets, Server, Silent};

/// From its start to its first good answer. Generous: a busy machine is slow, and a server that ends is noticed at once.
const START_WAIT: Duration = Duration::from_secs(120);
/// From the signal to the end of a server that stops in good order; then it is killed.
const STOP_WAIT: Duration = Duration::from_secs(30);
/// From SIGKILL to the end.
const KILL_WAIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    pub servers: Vec<Server>,
    pub ports: Ports,
    pub purpose: Purpose,
    pub lifetime: Lifetime,
    /// Where Kafka tells its clients to come, if not to its own port: a proxy that leads there.
    pub kafka_proxy_port: Option<u16>,
}

impl Plan {
    /// A stack for one test process: on free ports, gone with the process.
    pub fn for_tests(servers: &[Server]) -> Self {
        Self {
            servers: servers.to_vec(),
            ports: Ports::Free,
            purpose: Purpose::Development,
            lifetime: Lifetime::Handle,
            kafka_proxy_port: None,
        }
    }
}

/// What the servers are sized for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Little memory, quick starts.
    #[default]
    Development,
    /// The whole Java compiler and room for data, for figures that mean something.
    Measurement,
}

/// How long the servers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the handle: dropping it, or the end of this process in whatever way, kills what the handle started.
    Handle,
    /// Until stopped.
    Detached,
}

/// Where everything can be reached. Two of these hold passwords, so the whole is not printable.
#[derive(Clone, PartialEq, Eq)]
pub struct Urls {
    /// `host:port`
    pub kafka: String,
    /// The Confluent API of the schema registry.
    pub registry: String,
    /// `postgres://role:password@host:port/database`
    pub postgres: String,
    /// `redis://:password@host:port`
    pub redis: String,
    /// `host:port`
    pub smtp: String,
    /// The Maildir into which the mail sink delivers.
    pub mail_dir: PathBuf,
    pub provider: String,
    /// The public API.
    pub platform: String,
    /// Health and metrics of the platform.
    pub platform_telemetry: String,
}

/// A stack of real servers on loopback.
///
/// Every change is made under the lock of the layout and written to `stack.json` before it takes effect, so that
/// whatever happens to this process, another can find and stop the servers.
pub struct Stack {
    layout: Layout,
    secrets: Secrets,
    state: State,
    /// Those started by this handle, to be reaped when they end.
    children: BTreeMap<Server, Child>,
    /// Present while this handle's end is the end of the servers that it started.
    watchdog: Option<Watchdog>,
}

impl Stack {
    /// Starts the servers of the plan that do not run yet in this layout, and waits until all of them are ready.
    ///
    /// # Errors
    /// When a program is missing, a download fails, or a server ends or does not become ready. What was started is stopped again.
    pub fn start(layout: Layout, plan: &Plan, progress: &dyn Progress) -> Result<Self> {
        let _lock = layout.lock()?;
        layout.create()?;
        let secrets = Secrets::load_or_create(&layout)?;
        let mut state = State::load(&layout)?.unwrap_or_default();
        state.forget_ended();
        let runs = |server| state.servers.contains_key(&server);
        let mut ports = state.ports.clone();
        ports.assign(plan.ports, runs)?;
        state.ports = ports;
        if state.servers.is_empty() {
            state.purpose = plan.purpose;
            state.kafka_proxy_port = plan.kafka_proxy_port;
        }
        state.save(&layout)?;

        let temporary = layout.is_temporary().then(|| layout.root.clone());
        let mut stack = Self {
            watchdog: Some(Watchdog::start(temporary.as_deref())?),
            layout,
            secrets,
            state,
            children: BTreeMap::new(),
        };
        let mut servers = plan.servers.clone();
        servers.sort_unstable();
        servers.dedup();
        stack.start_all(&servers, progress)?;
        if plan.lifetime == Lifetime::Detached {
            stack.release()?;
        }
        Ok(stack)
    }

    /// A handle on a stack that was started elsewhere. Dropping it stops nothing, and what it restarts stays as well.
    ///
    /// # Errors
    /// When nothing runs in the layout.
    pub fn attach(layout: Layout) -> Result<Self> {
        let _lock = layout.lock()?;
        let no_stack = || Error::NoStack { root: layout.root.clone() };
        let mut state = State::load(&layout)?.ok_or_else(no_stack)?;
        state.forget_ended();
        if state.servers.is_empty() {
            return Err(no_stack());
        }
        Ok(Self {
            secrets: Secrets::load_or_create(&layout)?,
            layout,
            state,
            children: BTreeMap::new(),
            watchdog: None,
        })
    }

    /// Starts a program of the platform on the ports that [`Stack::urls`] tells, and waits until it is ready.
    /// If it runs already, only the waiting is done.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub fn launch(&mut self, server: Server, launch: Launch, progress: &dyn Progress) -> Result<()> {
        let _lock = self.begin()?;
        self.state.launches.insert(server, launch);
        self.state.save(&self.layout)?;
        self.start_all(&[server], progress)
    }

    /// Starts further servers of this crate's own.
    pub(crate) fn add(&mut self, servers: &[Server]) -> Result<()> {
        let _lock = self.begin()?;
        self.start_all(servers, &Silent)
    }

    /// Whether this handle started anything, rather than finding all of it running.
    pub(crate) fn started_any(&self) -> bool {
        !self.children.is_empty()
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub fn urls(&self) -> Urls {
        let port = |socket| self.state.ports.of(socket);
        let http = |socket| format!("http://127.0.0.1:{}", port(socket));
        let role = postgres::ROLE;
        Urls {
            kafka: format!("127.0.0.1:{}", port(Socket::Kafka)),
            registry: http(Socket::Registry) + registry_api_path(),
            postgres: format!(
                "postgres://{role}:{}@127.0.0.1:{}/{role}",
                self.secrets.postgres_password,
                port(Socket::Postgres)
            ),
            redis: format!("redis://:{}@127.0.0.1:{}", self.secrets.redis_password, port(Socket::Redis)),
            smtp: format!("127.0.0.1:{}", port(Socket::Mail)),
            mail_dir: self.layout.mail_dir(),
            provider: http(Socket::Provider),
            platform: http(Socket::Platform),
            platform_telemetry: http(Socket::PlatformTelemetry),
        }
    }

    /// The process of a server, if it runs.
    pub fn pid(&self, server: Server) -> Option<i32> {
        self.state.running(server).map(|identity| identity.pid)
    }

    /// The process of a server that has to run.
    ///
    /// # Errors
    /// When it has ended, with the end of its log.
    pub fn running_pid(&self, server: Server) -> Result<i32> {
        let ended = || Error::Ended { server, log: self.layout.log(server), tail: self.layout.log_tail(server) };
        self.pid(server).ok_or_else(ended)
    }

    /// Kills a server and everything below it (SIGKILL), and waits until it is gone. Its data stays.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, server: Server) -> Result<()> {
        let _lock = self.begin()?;
        let identity = self.running(server)?.clone();
        let killed = identity.kill_tree();
        for process in &killed {
            self.wait_for_end(server, process, KILL_WAIT)?;
        }
        self.forget(server)
    }

    /// Stops a server in its tracks (SIGSTOP), with everything below it: it keeps its connections and answers nobody.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self, server: Server) -> Result<()> {
        self.running(server)?.pause_tree();
        Ok(())
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self, server: Server) -> Result<()> {
        self.running(server)?.resume_tree();
        Ok(())
    }

    /// Starts a server again on the same port and data, after stopping it in good order if it still runs, and waits
    /// until it is ready.
    ///
    /// # Errors
    /// When it ends or does not become ready, or nothing says how it is started.
    pub fn restart(&mut self, server: Server, progress: &dyn Progress) -> Result<()> {
        let _lock = self.begin()?;
        self.stop_servers(&[server], progress)?;
        self.start_all(&[server], progress)
    }

    /// Stops every server of the stack in good order, also those that another handle started, and deletes its folder
    /// if that is temporary.
    ///
    /// # Errors
    /// When a server cannot be ended.
    pub fn stop(mut self, progress: &dyn Progress) -> Result<()> {
        let lock = self.begin()?;
        // What uses the others ends first, while they still answer.
        self.stop_servers(&[Server::Platform], progress)?;
        self.stop_servers(&[Server::Provider], progress)?;
        self.stop_servers(&Server::INFRASTRUCTURE, progress)?;
        drop(lock);
        self.watchdog.take().map_or(Ok(()), Watchdog::bite)
    }

    /// Leaves everything running when this handle is dropped.
    ///
    /// # Errors
    /// When the process that guards the servers is gone.
    pub fn release(&mut self) -> Result<()> {
        self.watchdog.take().map_or(Ok(()), Watchdog::release)
    }

    /// Whether a server runs and answers; the error says why not.
    pub(crate) fn ready(&self, server: Server) -> Readiness {
        if self.state.running(server).is_none() {
            return Err("stopped".to_owned());
        }
        server.kind().ready(&self.site())
    }

    /// The servers that are meant to run.
    pub(crate) fn servers(&self) -> Vec<Server> {
        self.state.servers.keys().copied().collect()
    }

    /// Those that ended although nobody stopped them, each reported once.
    pub(crate) fn take_unexpected_ends(&mut self) -> Result<Vec<Server>> {
        if self.servers().iter().all(|server| self.pid(*server).is_some()) {
            return Ok(Vec::new());
        }
        // Whoever stops servers on purpose holds the lock and then removes them from the state.
        let _lock = self.layout.lock()?;
        self.state = State::load(&self.layout)?.unwrap_or_default();
        let ended = self.servers().into_iter().filter(|server| self.pid(*server).is_none());
        let ended: Vec<Server> = ended.collect();
        self.state.forget_ended();
        self.state.save(&self.layout)?;
        Ok(ended)
    }

    pub(crate) fn port(&self, server: Server) -> u16 {
        self.state.ports.main_of(server)
    }

    fn site(&self) -> Site<'_> {
        Site { layout: &self.layout, state: &self.state, secrets: &self.secrets }
    }

    fn running(&self, server: Server) -> Result<&Identity> {
        self.state.running(server).ok_or(Error::NotRunning { server })
    }

    /// Takes the lock and learns what others have changed.
    fn begin(&mut self) -> Result<std::fs::File> {
        let lock = self.layout.lock()?;
        if let Some(state) = State::load(&self.layout)? {
            self.state = state;
        }
        Ok(lock)
    }

    fn start_all(&mut self, servers: &[Server], progress: &dyn Progress) -> Result<()> {
        for &server in servers {
            if self.state.running(server).is_none() {
                server.kind().prepare(&self.site(), progress)?;
            }
        }
        let began = Instant::now();
        let mut started = Vec::new();
        for &server in servers {
            progress.started(server.name());
            if self.state.running(server).is_none() {
                self.spawn(server)?;
                started.push(server);
            }
        }
        for &server in servers {
            self.wait_until_ready(server, began)?;
            let port = self.port(server);
            let outcome = if started.contains(&server) { "ready" } else { "was running" };
            progress.finished(server.name(), &format!("{outcome} on port {port}"));
        }
        Ok(())
    }

    fn spawn(&mut self, server: Server) -> Result<()> {
        let kind = server.kind();
        let mut launch = kind.launch(&self.site())?;
        launch.program = find_program(&launch.program)
            .ok_or_else(|| Error::Missing { program: launch.program.display().to_string(), install: kind.install() })?;
        let gated = Gated::spawn(&launch, self.layout.open_log(server)?)?;
        let identity = gated.identity()?;
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.add(&identity)?;
        }
        self.state.servers.insert(server, identity);
        self.state.save(&self.layout)?;
        self.children.insert(server, gated.open()?);
        Ok(())
    }

    fn wait_until_ready(&mut self, server: Server, began: Instant) -> Result<()> {
        loop {
            let reason = match server.kind().ready(&self.site()) {
                // Somebody else may answer on the port while our server has failed to get it.
                Ok(()) if self.state.running(server).is_some() => return Ok(()),
                Ok(()) => String::new(),
                Err(reason) => reason,
            };
            let log = self.layout.log(server);
            let tail = || self.layout.log_tail(server);
            if self.state.running(server).is_none() {
                let tail = tail();
                self.forget(server)?;
                return Err(Error::Ended { server, log, tail });
            }
            if began.elapsed() > START_WAIT {
                return Err(Error::NotReady { server, waited_s: START_WAIT.as_secs(), reason, tail: tail(), log });
            }
            thread::sleep(POLL);
        }
    }

    /// Signals all of them, then waits for each: so the slowest one's time is the time of all.
    fn stop_servers(&mut self, servers: &[Server], progress: &dyn Progress) -> Result<()> {
        let running: Vec<(Server, Identity)> =
            servers.iter().filter_map(|server| Some((*server, self.state.running(*server)?.clone()))).collect();
        for (server, identity) in &running {
            progress.started(server.name());
            identity.signal(server.kind().stop_signal());
            identity.resume_tree();
        }
        for (server, identity) in &running {
            let stopped = self.wait_for_end(*server, identity, STOP_WAIT);
            if stopped.is_err() {
                identity.kill_tree();
                self.wait_for_end(*server, identity, KILL_WAIT)?;
            }
            self.forget(*server)?;
            let outcome = if stopped.is_ok() { "stopped" } else { "killed: it did not stop" };
            progress.finished(server.name(), outcome);
        }
        Ok(())
    }

    fn wait_for_end(&mut self, server: Server, process: &Identity, limit: Duration) -> Result<()> {
        let began = Instant::now();
        while process.is_alive() {
            if began.elapsed() > limit {
                return Err(Error::Unkillable { server, pid: process.pid });
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Reaps a server that has ended and takes it out of the state.
    fn forget(&mut self, server: Server) -> Result<()> {
        if let Some(mut child) = self.children.remove(&server) {
            child.wait().map_err(|source| Error::Spawn { program: server.to_string(), source })?;
        }
        self.state.servers.remove(&server);
        self.state.save(&self.layout)
    }
}

impl Drop for Stack {
    /// Kills what this handle started, unless it is detached.
    fn drop(&mut self) {
        let Some(watchdog) = self.watchdog.take() else {
            return;
        };
        if let Err(error) = watchdog.bite() {
            eprintln!("the servers in {} may still run: {error}", self.layout.root.display());
        }
        for child in self.children.values_mut() {
            if let Err(error) = child.wait() {
                eprintln!("a server in {} may still run: {error}", self.layout.root.display());
            }
        }
    }
}

/// The program itself if it has a folder, else the first of that name in PATH.
#[expect(clippy::disallowed_methods, reason = "this is how programs are found")]
fn find_program(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}
