//! From settings to what they point at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use daybook_engine::{Limits, PARTITIONS};
use daybook_log::Log;
use daybook_service::settings::{Engine, Settings};
use daybook_service::{Section, Sources};
use daybook_store::Store;
use daybook_vault::{MasterKeys, OsAmbient, Vault};

/// Settings of the local stack, taken where nothing else is named and the working folder has no settings of its own.
pub const LOCAL_SETTINGS: &str = ".daybook/daybook.toml";
const USUAL_SETTINGS: &str = "daybook.toml";

/// Connections of a process besides one per part: claims, operators' reads, keys.
const SHARED_CONNECTIONS: u32 = 4;
/// Connections of a process that serves reads.
const READ_CONNECTIONS: u32 = 8;
/// Connections that look up the backlog, behind no other reader.
const BACKLOG_CONNECTIONS: u32 = 1;
/// SQLSTATE of a read of tables that were never made.
const UNDEFINED_TABLE: &str = "42P01";

/// Reads the settings; only these sections have to be complete.
///
/// # Errors
/// Everything that is wrong, each with what would be right.
pub fn settings(config: Option<&Path>, needed: &[Section]) -> Result<Settings> {
    let local = || Path::new(LOCAL_SETTINGS);
    let is_elsewhere = config.is_some() || Path::new(USUAL_SETTINGS).exists();
    let file = match config {
        None if !is_elsewhere && local().exists() => Some(local()),
        named => named,
    };
    let sources = Sources::of_process(file.map(PathBuf::from))?;
    let loaded = Settings::load(&sources, needed);
    if file.is_none() && !is_elsewhere {
        return loaded.with_context(|| {
            format!(
                "there are no settings: start the local stack with `daybook dev up`, which writes {LOCAL_SETTINGS}, or name \
                 a file with --config"
            )
        });
    }
    Ok(loaded?)
}

/// The log that the settings name. Does not wait for a connection.
///
/// # Errors
/// When the settings are refused.
pub fn log(settings: &Settings, replication: u16) -> Result<Arc<Log>> {
    let settings = daybook_log::Settings {
        brokers: settings.log.brokers.clone(),
        registry: settings.log.registry_url.trim_end_matches('/').to_owned(),
        topic_prefix: settings.log.topic_prefix.clone(),
        replication,
        instance: None,
    };
    Ok(Arc::new(Log::open(settings)?))
}

/// The store's settings for a process that runs this many parts.
///
/// # Errors
/// When the process may not have as many connections as it needs.
pub fn store_settings(settings: &Settings, parts: usize) -> Result<daybook_store::Settings> {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    let needed = parts.saturating_add(SHARED_CONNECTIONS + READ_CONNECTIONS + BACKLOG_CONNECTIONS);
    let allowed = settings.store.max_connections;
    anyhow::ensure!(
        allowed >= needed,
        "store.max_connections is {allowed}, and {parts} parts need {needed}: one each, {SHARED_CONNECTIONS} that they share, \
         {READ_CONNECTIONS} for reads, {BACKLOG_CONNECTIONS} to look up the backlog; raise it, or run fewer parts in one process"
    );
    Ok(daybook_store::Settings {
        url: settings.store.url.clone(),
        read_url: settings.store.read_only_url.clone(),
        schema_prefix: settings.store.schema_prefix.clone(),
        connections: SHARED_CONNECTIONS,
        spare_connections: allowed - needed,
        read_connections: READ_CONNECTIONS,
    })
}

/// The store, for a command that runs no parts.
///
/// # Errors
/// When the database cannot be reached.
pub async fn store(settings: &Settings) -> Result<Store> {
    let store = Store::connect(store_settings(settings, 0)?).await;
    store.context("the database is out of reach; `daybook doctor` tells more")
}

/// What a read of a part's tables answers; `None` where the part was never started, so that it has none.
///
/// # Errors
/// Every other failure.
pub fn if_started<T>(read: Result<T, daybook_store::Error>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.sqlstate() == Some(UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The vault over the store's keys.
///
/// # Errors
/// When the master keys are unusable.
pub fn vault(settings: &Settings, store: &Store) -> Result<Arc<Vault>> {
    let masters = MasterKeys::parse(settings.vault.master_keys.expose()).context("vault.master_keys")?;
    Ok(Arc::new(Vault::new(masters, Arc::new(store.keys()?), Arc::new(OsAmbient::default()))))
}

/// The engine's bounds. The settings bound a consumer's cache, the engine that of a partition.
pub fn limits(engine: &Engine) -> Limits {
    Limits {
        batch_max: engine.batch_max_records,
        queue_bytes_max: engine.queue_max_bytes,
        cache_bytes_max: engine.cache_max_bytes / usize::from(PARTITIONS),
        unacknowledged_max: usize::try_from(engine.unpublished_max).unwrap_or(usize::MAX),
        held_max: engine.held_max_per_partition,
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_has_the_bounds_of_the_settings_also_where_nobody_reads_settings() {
        let settings = Settings::load(&Sources::default(), &[]).expect("the defaults are settings");
        assert_eq!(limits(&settings.engine), Limits::default());
    }
}
