//! The platform: provider and binary in processes of their own, on servers.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use daybook_stack::{Launch, Layout, Plan, Server, Silent, Stack, Urls, reset};
use reqwest::blocking::Client;
use toml::{Table, Value};
use uuid::Uuid;

use crate::api::{Api, Claims};
use crate::book::Book;
use crate::collector::Collector;
use crate::mail::Mailbox;
use crate::provider::Provider;
use crate::sql::Sql;

/// Names another binary than the one beside the tests.
const BINARY: &str = "DAYBOOK_BIN";
/// Several platforms on two cores fall behind while they are struck; nothing that is tested here is to be refused for it.
const BACKLOG_TARGET_S: i64 = 600;
/// How long a call to the provider may take before its outcome is unknown: short, so that slow ones are soon.
const PROVIDER_TIMEOUT_MS: i64 = 2_000;
/// Connections of a platform that runs every part in one process: several share a database.
const MAX_CONNECTIONS: i64 = 40;
/// How long a command of the command line may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(90);
const HTTP_TIMEOUT: Duration = Duration::from_secs(45);
const WEBHOOK_PATH: &str = "/webhooks/payments";

/// A platform with topics and schemas of its own.
pub struct Platform {
    /// Runs the provider and the platform, and for the kills the servers below them too.
    stack: Stack,
    servers: Urls,
    /// Of topics; that of schemas is the same with other signs.
    topic_prefix: String,
    settings: PathBuf,
    http: Client,
    collector: Collector,
}

impl Platform {
    /// On shared servers: nobody may stop those.
    ///
    /// # Errors
    /// When something does not start.
    pub fn on_shared_servers(name: &str) -> Result<Self> {
        let servers = Stack::shared_for_tests(&Server::INFRASTRUCTURE)?;
        let stack = Stack::start(fresh_folder(name)?, &Plan::for_tests(&[]), &Silent)?;
        Self::prepare(stack, servers)
    }

    /// On servers of its own, that may be killed.
    ///
    /// # Errors
    /// When something does not start.
    pub fn on_own_servers(name: &str) -> Result<Self> {
        Self::on_stack(Stack::start(fresh_folder(name)?, &Plan::for_tests(&Server::INFRASTRUCTURE), &Silent)?)
    }

    /// On the servers of a stack that the caller has started, and may do anything to.
    ///
    /// # Errors
    /// When the servers do not take the topics.
    pub fn on_stack(stack: Stack) -> Result<Self> {
        let servers = stack.urls();
        Self::prepare(stack, servers)
    }

    fn prepare(stack: Stack, servers: Urls) -> Result<Self> {
        daybook_service::install_tls();
        let run = &Uuid::new_v4().simple().to_string()[..8];
        let settings = stack.layout().root.join("daybook.toml");
        let http = Client::builder().timeout(HTTP_TIMEOUT).pool_max_idle_per_host(0).build()?;
        let (topic_prefix, collector) = (format!("e2e-{run}."), Collector::start()?);
        let platform = Self { stack, servers, topic_prefix, settings, http, collector };
        write_private(&platform.settings, &toml::to_string(&platform.settings_table())?)?;
        platform.succeed(&["topics", "apply"])?;
        Ok(platform)
    }

    /// Starts provider and platform, every leaf of it, and waits until they are ready.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(&mut self) -> Result<()> {
        let platform = self.stack.urls().platform;
        self.start_provider(&platform)?;
        self.run(&["all"])
    }

    /// Starts the provider, which sends its webhooks to the platform at this address, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_provider(&mut self, platform: &str) -> Result<()> {
        let urls = self.stack.urls();
        let data = self.stack.layout().data(Server::Provider);
        let provider = Launch::new(binary()?, &format!("{}/readyz", urls.provider)).arguments([
            "--config",
            &text(&self.settings),
            "sandbox",
            "--listen",
            address(&urls.provider),
            "--data",
            &text(&data),
            "--webhook",
            &format!("{platform}{WEBHOOK_PATH}"),
        ]);
        Ok(self.stack.launch(Server::Provider, provider, &Silent)?)
    }

    /// Starts these leaves and waits until they are ready.
    ///
    /// # Errors
    /// When they do not start.
    pub fn run(&mut self, leaves: &[&str]) -> Result<()> {
        let urls = self.stack.urls();
        let arguments = ["--config".to_owned(), text(&self.settings), "run".to_owned()];
        let leaves = leaves.iter().map(|leaf| (*leaf).to_owned());
        let launch = Launch::new(binary()?, &format!("{}/readyz", urls.platform_telemetry))
            .arguments(arguments.into_iter().chain(leaves));
        Ok(self.stack.launch(Server::Platform, launch, &Silent)?)
    }

    /// Kills one of this platform's processes (SIGKILL).
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, server: Server) -> Result<()> {
        Ok(self.stack.kill(server)?)
    }

    /// Starts it again on the same port and data.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&mut self, server: Server) -> Result<()> {
        Ok(self.stack.restart(server, &Silent)?)
    }

    /// What the platform runs on.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// A caller with these claims.
    pub fn api(&self, claims: &Claims) -> Api {
        self.api_with(claims.sign(&self.stack.secrets().token_secret))
    }

    /// A caller with this token, whatever it is.
    pub fn api_with(&self, token: String) -> Api {
        Api { http: self.http.clone(), url: self.stack.urls().platform, token }
    }

    pub fn provider(&self) -> Provider {
        let (url, api_key) = (self.stack.urls().provider, self.stack.secrets().provider_api_key.clone());
        Provider { http: self.http.clone(), url, api_key }
    }

    /// Takes the platform's traces: those that a caller asks for, and no other.
    pub fn collector(&self) -> &Collector {
        &self.collector
    }

    pub fn sql(&self) -> Sql {
        Sql::new(&self.servers.postgres, &self.schema_prefix())
    }

    pub fn mailbox(&self) -> Mailbox {
        Mailbox(self.servers.mail_dir.clone())
    }

    pub fn book(&self) -> Book {
        Book {
            brokers: self.servers.kafka.clone(),
            registry: self.servers.registry.clone(),
            prefix: self.topic_prefix.clone(),
            http: self.http.clone(),
        }
    }

    /// What the platform has printed, and the provider: every log there is of them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn logs(&self) -> Result<Vec<u8>> {
        let layout = self.stack.layout();
        let mut all = fs::read(layout.log(Server::Platform))?;
        all.extend(fs::read(layout.log(Server::Provider))?);
        Ok(all)
    }

    /// The value of a metric, summed over the lines whose labels hold all of `labels`.
    ///
    /// # Errors
    /// When the platform cannot be asked.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let url = format!("{}/metrics", self.stack.urls().platform_telemetry);
        let text = self.http.get(url).send()?.error_for_status()?.text()?;
        let is_it = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        };
        let values = text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Runs `daybook` with this platform's settings, to its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        self.command_with(arguments, &[])
    }

    /// As [`Platform::command`], with variables in its environment.
    ///
    /// # Errors
    /// As [`Platform::command`].
    pub fn command_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
        let child = Command::new(binary()?)
            .arg("--config")
            .arg(&self.settings)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        finished(child, &format!("daybook {}", arguments.join(" ")))
    }

    /// As [`Platform::command`]; answers what it prints.
    ///
    /// # Errors
    /// Also when it fails.
    pub fn succeed(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "daybook {}: {} {errors}", arguments.join(" "), output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    fn schema_prefix(&self) -> String {
        self.topic_prefix.replace('-', "_").replace('.', "_")
    }

    /// All settings, as they stand in the file.
    pub fn settings_table(&self) -> Table {
        let (urls, secrets, servers) = (self.stack.urls(), self.stack.secrets(), &self.servers);
        let text = |value: &str| Value::from(value);
        let section = |fields: &[(&str, Value)]| {
            Value::Table(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        let sections = [
            (
                "log",
                section(&[
                    ("brokers", text(&servers.kafka)),
                    ("registry_url", text(&servers.registry)),
                    ("topic_prefix", text(&self.topic_prefix)),
                ]),
            ),
            (
                "store",
                section(&[
                    ("url", text(&servers.postgres)),
                    ("schema_prefix", text(&self.schema_prefix())),
                    ("max_connections", Value::from(MAX_CONNECTIONS)),
                ]),
            ),
            ("cache", section(&[("redis_url", text(&servers.redis))])),
            ("vault", section(&[("master_keys", Value::from(vec![format!("e2e:{}", secrets.vault_master_key)]))])),
            (
                "http",
                section(&[
                    ("listen", text(address(&urls.platform))),
                    ("public_url", text(&urls.platform)),
                    ("backlog_target_seconds", Value::from(BACKLOG_TARGET_S)),
                ]),
            ),
            ("auth", section(&[("shared_secret", text(&secrets.token_secret))])),
            (
                "payments",
                section(&[
                    ("provider_url", text(&urls.provider)),
                    ("api_key", text(&secrets.provider_api_key)),
                    ("webhook_secret", text(&secrets.provider_webhook_secret)),
                    ("timeout_ms", Value::from(PROVIDER_TIMEOUT_MS)),
                ]),
            ),
            (
                "mail",
                section(&[
                    ("smtp_url", text(&format!("smtp://{}", servers.smtp))),
                    ("from", text("Daybook <no-reply@daybook.example>")),
                ]),
            ),
            (
                "telemetry",
                section(&[
                    ("metrics_listen", text(address(&urls.platform_telemetry))),
                    ("otlp_endpoint", text(self.collector.url())),
                    ("sample_ratio", Value::from(0.0)),
                ]),
            ),
        ];
        sections.into_iter().map(|(name, fields)| (name.to_owned(), fields)).collect()
    }
}

/// The folder of a platform, empty. What ran there before is stopped.
///
/// # Errors
/// When it cannot be emptied.
pub fn fresh_folder(name: &str) -> Result<Layout> {
    let layout =
        Layout::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp").join(format!("e2e-{name}")))?;
    reset(layout.clone(), true)?;
    Ok(layout)
}

/// The binary to test: as the environment says, or the one that was built beside the tests.
///
/// # Errors
/// When there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(BINARY) {
        return Ok(std::path::absolute(named)?);
    }
    // Programs lie in one folder, and tests in a folder below it.
    let this = std::env::current_exe()?;
    let mut beside = this.ancestors().skip(1).take(2).map(|folder| folder.join("daybook"));
    match beside.find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("there is no binary to test; build it with: cargo build --package daybook"),
    }
}

fn finished(mut child: std::process::Child, what: &str) -> Result<Output> {
    // Read beside the wait: a child that prints more than a pipe holds would otherwise never end.
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let readers = [std::thread::spawn(move || drained(stdout)), std::thread::spawn(move || drained(stderr))];
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > COMMAND_LIMIT {
            child.kill()?;
            child.wait()?;
            bail!("{what} does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let [stdout, stderr] = readers.map(|reader| reader.join().expect("reading a pipe does not panic"));
    Ok(Output { status, stdout: stdout?, stderr: stderr? })
}

fn drained(pipe: Option<impl std::io::Read>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.context("the pipe was taken")?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file that only its owner may read: it holds secrets.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn address(url: &str) -> &str {
    url.trim_start_matches("http://")
}
