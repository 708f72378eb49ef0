//! Settings: what they are, typed. Where they come from is in `sources`, what they must be is in `rules`.

mod error;
mod rules;
mod sources;

use std::net::SocketAddr;

use daybook_vault::Secret;
use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use error::{Finding, SettingsError};
pub use sources::Sources;

/// The commented defaults: every setting there is.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// The parts of the settings; a process names those without which it can't run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `[log]`
    Log,
    /// `[store]`
    Store,
    /// `[vault]`
    Vault,
    /// `[auth]`
    Auth,
    /// `[payments]`
    Payments,
    /// `[mail]`
    Mail,
}

impl Section {
    /// The sections that have settings without a default.
    pub const ALL: [Section; 6] =
        [Section::Log, Section::Store, Section::Vault, Section::Auth, Section::Payments, Section::Mail];

    /// The name in files and in error messages.
    pub fn name(self) -> &'static str {
        match self {
            Section::Log => "log",
            Section::Store => "store",
            Section::Vault => "vault",
            Section::Auth => "auth",
            Section::Payments => "payments",
            Section::Mail => "mail",
        }
    }
}

/// All settings. What each means is documented in [`DEFAULTS`]; a component is given its own section only.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Kafka and the schema registry.
    pub log: Log,
    /// Postgres.
    pub store: Store,
    /// Redis.
    pub cache: Cache,
    /// Sealed fields.
    pub vault: Vault,
    /// The public API.
    pub http: Http,
    /// Bearer tokens.
    pub auth: Auth,
    /// The payment provider.
    pub payments: Payments,
    /// Outgoing mail.
    pub mail: Mail,
    /// Logs, traces, metrics.
    pub telemetry: Telemetry,
    /// Bounds of the engine.
    pub engine: Engine,
}

impl Settings {
    /// Reads and checks all settings. Those that have no default may be missing in sections that aren't `needed`.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: &Sources, needed: &[Section]) -> Result<Settings, SettingsError> {
        let mut findings = Vec::new();
        let table = sources::merge(sources, &mut findings)?;
        rules::check(&table, needed, &mut findings);
        if !findings.is_empty() {
            return Err(SettingsError::Wrong(findings));
        }
        Settings::deserialize(toml::Value::Table(table).into_deserializer())
            .map_err(|error| SettingsError::Wrong(vec![Finding::unnamed(error.to_string())]))
    }

    /// All settings as TOML, secrets redacted: printed at start.
    ///
    /// # Errors
    /// None that a caller could cause: every section is a plain table.
    pub fn redacted(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// `[log]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// host:port, comma-separated.
    pub brokers: String,
    /// Base address of the registry's Confluent API.
    pub registry_url: String,
    /// Before every topic and group name.
    pub topic_prefix: String,
}

/// `[store]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The database.
    pub url: Secret<String>,
    /// The database for a role that only reads.
    #[serde(deserialize_with = "unless_empty")]
    pub read_only_url: Option<Secret<String>>,
    /// Before every Postgres schema name.
    pub schema_prefix: String,
    /// The most connections of this process.
    pub max_connections: u32,
}

/// `[cache]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Redis; `None`: done without.
    #[serde(deserialize_with = "unless_empty")]
    pub redis_url: Option<Secret<String>>,
}

/// `[vault]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// For `daybook_vault::MasterKeys::parse`, which has accepted them already.
    pub master_keys: Secret<Vec<String>>,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// How clients reach it.
    pub public_url: String,
    /// The largest request body.
    pub max_body_bytes: usize,
    /// How long a request may take.
    pub request_timeout_ms: u64,
    /// The most connections at once.
    pub max_connections: usize,
    /// Requests of a caller in a window.
    pub rate_limit_requests: u32,
    /// The window.
    pub rate_limit_window_seconds: u32,
    /// How far behind all parts together may be.
    pub backlog_target_seconds: u64,
    /// Origins that may call from a browser.
    pub cors_origins: Vec<String>,
}

/// `[auth]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The tokens' `iss`.
    pub issuer: String,
    /// The tokens' `aud`.
    pub audience: String,
    /// Signs tokens.
    #[serde(deserialize_with = "unless_empty")]
    pub shared_secret: Option<Secret<String>>,
    /// Where the issuer's public keys are.
    #[serde(deserialize_with = "unless_empty")]
    pub jwks_url: Option<String>,
}

/// `[payments]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Payments {
    /// Base address of the provider's API.
    pub provider_url: String,
    /// Authenticates us.
    pub api_key: Secret<String>,
    /// Authenticates the provider's webhooks.
    pub webhook_secret: Secret<String>,
    /// How long the provider honors an idempotency key.
    pub key_lifetime_seconds: u64,
    /// How long to wait for an answer.
    pub timeout_ms: u64,
}

/// `[mail]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// The server.
    pub smtp_url: Secret<String>,
    /// The sender.
    pub from: String,
}

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Filter in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_level: String,
    /// How lines look.
    pub log_format: LogFormat,
    /// Collector; `None`: no traces leave.
    #[serde(deserialize_with = "unless_empty")]
    pub otlp_endpoint: Option<String>,
    /// The share of flows that are traced.
    pub sample_ratio: f64,
    /// Address for health and metrics.
    pub metrics_listen: SocketAddr,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One object a line.
    Json,
    /// For a terminal.
    Text,
}

/// `[engine]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// The most messages in a batch.
    pub batch_max_records: usize,
    /// The most fetched bytes waiting per partition.
    pub queue_max_bytes: usize,
    /// The most bytes of states in memory per part.
    pub cache_max_bytes: usize,
    /// The most committed, unacknowledged messages per partition.
    pub unpublished_max: u64,
    /// The most messages held per partition.
    pub held_max_per_partition: u64,
}

/// TOML has no null: an empty text stands for "not set".
fn unless_empty<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    T::deserialize(text.into_deserializer()).map(Some)
}
