//! A platform of a benchmark's own, on servers sized for measuring: the same settings and processes as `daybook dev up`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use daybook_bench::{Meter, Settings as Asked};
use daybook_log::Log;
use daybook_service::{Section, Settings, Sources};
use daybook_stack::{Launch, Layout, Plan, Purpose, Server, Silent, Stack, Urls};
use toml::{Table, Value};

use super::latency::{PROVIDER_MS, answer_in};
use crate::cli::local;
use crate::{connect, leaves};

/// Requests that a caller may send in a window: no caller is to be refused for being a load generator.
const RATE_LIMIT_REQUESTS: i64 = 100_000_000;

/// Servers, and what runs on them. Everything ends when it is dropped.
pub(super) struct Platform {
    pub(super) stack: Stack,
    settings: Table,
    file: PathBuf,
}

/// A process of the platform beside the one of the stack: it has ports, a log and an end of its own.
pub(super) struct Beside {
    pub(super) stack: Stack,
    file: PathBuf,
}

impl Platform {
    /// Starts these servers, and makes the topics. Without Redis among them limits are counted by each process.
    ///
    /// # Errors
    /// When something does not start, or a stack is named: only servers of one's own are measured here.
    pub(super) async fn set(asked: &Asked, servers: &[Server]) -> Result<Self> {
        ensure!(asked.stack.is_none(), "this benchmark starts servers of its own; leave out --stack");
        let plan = Plan { purpose: Purpose::Measurement, ..Plan::for_tests(servers) };
        let stack = Stack::start(Layout::temporary()?, &plan, &Silent)?;
        let mut settings = local::settings_of(&stack);
        put(&mut settings, "http", "rate_limit_requests", RATE_LIMIT_REQUESTS)?;
        if !servers.contains(&Server::Redis) {
            settings.remove("cache");
        }
        let file = local::settings_file(&stack);
        local::write_settings(&file, &settings)?;
        local::make_topics(&file).await?;
        Ok(Self { stack, settings, file })
    }

    /// With every server and the provider, which answers as fast as `latency` has it, and nothing of our own yet.
    ///
    /// # Errors
    /// As [`Platform::set`].
    pub(super) async fn prepared(asked: &Asked) -> Result<Self> {
        let mut platform = Self::set(asked, &Server::INFRASTRUCTURE).await?;
        let provider = local::provider(&platform.stack, &platform.file)?;
        platform.stack.launch(Server::Provider, provider, &Silent)?;
        answer_in(&platform.settings()?, PROVIDER_MS).await?;
        Ok(platform)
    }

    /// With everything in one process.
    ///
    /// # Errors
    /// As [`Platform::set`].
    pub(super) async fn whole(asked: &Asked) -> Result<Self> {
        let mut platform = Self::prepared(asked).await?;
        platform.run(&[leaves::ALL])?;
        Ok(platform)
    }

    /// Runs these leaves, in the place of those that ran before.
    ///
    /// # Errors
    /// When they do not start.
    pub(super) fn run(&mut self, names: &[&str]) -> Result<()> {
        if self.stack.pid(Server::Platform).is_some() {
            self.stack.kill(Server::Platform)?;
        }
        let leaves = local::leaves(&self.stack.urls(), &self.file, names)?;
        Ok(self.stack.launch(Server::Platform, leaves, &Silent)?)
    }

    /// Runs something in a process beside: its settings are those of the platform with addresses of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn run_beside(&self, launch: impl FnOnce(&Urls, &Path) -> Result<Launch>) -> Result<Beside> {
        let mut stack = Stack::start(Layout::temporary()?, &Plan::for_tests(&[]), &Silent)?;
        let urls = stack.urls();
        let mut settings = self.settings.clone();
        put(&mut settings, "http", "listen", local::address_of(&urls.platform))?;
        put(&mut settings, "telemetry", "metrics_listen", local::address_of(&urls.platform_telemetry))?;
        let file = local::settings_file(&stack);
        local::write_settings(&file, &settings)?;
        stack.launch(Server::Platform, launch(&urls, &file)?, &Silent)?;
        Ok(Beside { stack, file })
    }

    /// Its settings, as its processes read them.
    ///
    /// # Errors
    /// When they are not complete.
    pub(super) fn settings(&self) -> Result<Settings> {
        let sources = Sources::of(Some(self.file.clone()), Vec::new());
        Ok(Settings::load(&sources, &[Section::Log, Section::Store, Section::Auth, Section::Payments])?)
    }

    /// The log that it writes, with its schemas known.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub(super) async fn log(&self) -> Result<Arc<Log>> {
        known(connect::log(&self.settings()?, 1)?).await
    }

    /// Where the API listens.
    ///
    /// # Errors
    /// When the settings name no address.
    pub(super) fn api(&self) -> Result<SocketAddr> {
        Ok(self.settings()?.http.listen)
    }

    /// Begins to measure what broker, database, platform and these processes cost.
    ///
    /// # Errors
    /// When one of them has ended.
    pub(super) fn meter(&self, beside: &[(&'static str, i32)]) -> Result<Meter> {
        let platform = self.stack.running_pid(Server::Platform)?;
        Meter::of_servers(&self.stack, &[&[("cpu_platform_s", platform)], beside].concat())
    }
}

impl Beside {
    /// # Errors
    /// When it has ended.
    pub(super) fn pid(&self) -> Result<i32> {
        Ok(self.stack.running_pid(Server::Platform)?)
    }

    /// Where its health and metrics are.
    pub(super) fn telemetry(&self) -> String {
        self.stack.urls().platform_telemetry
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the settings name no address.
    pub(super) fn address(&self) -> Result<SocketAddr> {
        let sources = Sources::of(Some(self.file.clone()), Vec::new());
        Ok(Settings::load(&sources, &[])?.http.listen)
    }
}

/// The log with every schema of the contract known to it.
///
/// # Errors
/// When the registry does not answer.
pub(super) async fn known(log: Arc<Log>) -> Result<Arc<Log>> {
    log.registry().register(&daybook_log::subjects(&daybook_log::plan(&leaves::specs()?))).await?;
    Ok(log)
}

fn put(settings: &mut Table, section: &str, field: &str, value: impl Into<Value>) -> Result<()> {
    let table = settings.get_mut(section).and_then(Value::as_table_mut);
    table.with_context(|| format!("there is a section {section}"))?.insert(field.to_owned(), value.into());
    Ok(())
}
