//! The platform on a local stack: its settings, its topics, its processes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use daybook_service::{Section, Settings, Sources};
use daybook_stack::{Launch, Server, Stack, Urls};
use toml::{Table, Value};

use super::topics;
use crate::{api, connect};

/// Settings of the platform on a local stack.
const SETTINGS_FILE: &str = "daybook.toml";
/// Sender of the mail of a local stack.
const MAIL_FROM: &str = "Daybook <no-reply@daybook.example>";

/// Where the settings are kept.
pub(super) fn settings_file(stack: &Stack) -> PathBuf {
    stack.layout().root.join(SETTINGS_FILE)
}

/// The settings of a platform on this stack, secrets included.
pub(super) fn settings_of(stack: &Stack) -> Table {
    let (urls, secrets) = (stack.urls(), stack.secrets());
    let section = |fields: &[(&str, &str)]| {
        let entries = fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
        Table::from_iter(entries)
    };
    let master_keys = vec![Value::from(format!("dev:{}", secrets.vault_master_key))];
    let vault = Table::from_iter([("master_keys".to_owned(), Value::from(master_keys))]);
    let sections = [
        ("log", section(&[("brokers", &urls.kafka), ("registry_url", &urls.registry)])),
        ("store", section(&[("url", &urls.postgres)])),
        ("cache", section(&[("redis_url", &urls.redis)])),
        ("vault", vault),
        ("http", section(&[("listen", address_of(&urls.platform)), ("public_url", &urls.platform)])),
        ("auth", section(&[("shared_secret", &secrets.token_secret)])),
        (
            "payments",
            section(&[
                ("provider_url", &urls.provider),
                ("api_key", &secrets.provider_api_key),
                ("webhook_secret", &secrets.provider_webhook_secret),
            ]),
        ),
        ("mail", section(&[("smtp_url", &format!("smtp://{}", urls.smtp)), ("from", MAIL_FROM)])),
        ("telemetry", section(&[("metrics_listen", address_of(&urls.platform_telemetry))])),
    ];
    Table::from_iter(sections.map(|(name, fields)| (name.to_owned(), Value::Table(fields))))
}

/// Writes settings that only their owner may read: they hold secrets.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_settings(file: &Path, settings: &Table) -> Result<()> {
    let text = format!("# Written anew whenever the platform is started here.\n\n{}", toml::to_string(settings)?);
    let beside = file.with_extension("toml.new");
    if beside.exists() {
        fs::remove_file(&beside)?;
    }
    let opened = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&beside, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Makes the topics; schemas and tables are made by whoever runs on them.
///
/// # Errors
/// When the settings or the brokers refuse.
pub(super) async fn make_topics(settings: &Path) -> Result<()> {
    let sources = Sources::of(Some(settings.to_owned()), Vec::new());
    let settings = Settings::load(&sources, &[Section::Log])?;
    connect::log(&settings, 1)?.admin().apply(&topics::planned()?).await?;
    Ok(())
}

/// How the payment provider is started.
///
/// # Errors
/// When the path of this program is not known.
pub(super) fn provider(stack: &Stack, settings: &Path) -> Result<Launch> {
    let urls = stack.urls();
    Ok(verb(settings, &urls.provider)?.arguments([
        "sandbox".to_owned(),
        "--listen".to_owned(),
        address_of(&urls.provider).to_owned(),
        "--data".to_owned(),
        text(&stack.layout().data(Server::Provider)),
        "--webhook".to_owned(),
        format!("{}{}", urls.platform, api::WEBHOOK_PATH),
    ]))
}

/// How these leaves are started, with health and metrics where `urls` says.
///
/// # Errors
/// When the path of this program is not known.
pub(super) fn leaves(urls: &Urls, settings: &Path, names: &[&str]) -> Result<Launch> {
    Ok(verb(settings, &urls.platform_telemetry)?.arguments(["run"]).arguments(names.iter().copied()))
}

/// This program with these settings, ready when `url` says so.
///
/// # Errors
/// When the path of this program is not known.
pub(super) fn verb(settings: &Path, url: &str) -> Result<Launch> {
    let binary = std::env::current_exe().context("the path of this program is not known")?;
    Ok(Launch::new(binary, &format!("{url}/readyz")).arguments(["--config".to_owned(), text(settings)]))
}

/// `host:port` of a URL.
pub(super) fn address_of(url: &str) -> &str {
    url.trim_start_matches("http://")
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
