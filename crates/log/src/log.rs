//! The log as one thing.

use std::sync::Arc;
use std::time::Duration;

use crate::producer::Producer;
use crate::{Admin, Error, Fetcher, Publisher, Registry, Requests, Settings, Start, Tail};

/// Kafka and the registry, shared by all parts of a process.
pub struct Log {
    settings: Settings,
    admin: Admin,
    registry: Arc<Registry>,
    /// One producer for all engines of the process.
    producer: Arc<Producer>,
}

impl Log {
    /// Does not wait for a connection.
    ///
    /// # Errors
    /// When the settings are refused.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            admin: Admin::new(&settings)?,
            registry: Arc::new(Registry::new(&settings)?),
            producer: Arc::new(Producer::new(&settings, None)?),
            settings,
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Fetches for a part, whose name is its consumer group.
    ///
    /// # Errors
    /// When the settings are refused.
    pub fn fetcher(&self, part: &str, data: &str, control: &str) -> Result<Fetcher, Error> {
        Fetcher::new(&self.settings, &self.registry, part, data, control)
    }

    /// Publishes for the shards of a part.
    pub fn publisher(&self, part: &str) -> Publisher {
        Publisher::new(&self.settings, &self.producer, part)
    }

    /// Publishes for a façade, with a producer of its own. `longest` is the longest deadline that any caller sets.
    ///
    /// # Errors
    /// When the settings are refused.
    pub fn requests(&self, facade: &str, longest: Duration) -> Result<Requests, Error> {
        Requests::new(&self.settings, facade, longest)
    }

    /// Reads one partition of a topic from this offset up to its present end.
    ///
    /// # Errors
    /// [`crate::Refusal::RecordsGone`] when the topic does not have that offset; when the brokers cannot be asked.
    pub async fn tail_of(&self, topic: &str, partition: u16, from: i64) -> Result<Tail, Error> {
        Tail::open_partition(&self.settings, &self.admin, &self.registry, topic, partition, from).await
    }

    /// Reads all partitions of a topic: up to its present ends, or on and on when following.
    ///
    /// # Errors
    /// When the brokers cannot be asked, or there is no such topic.
    pub async fn tail(&self, topic: &str, start: Start, follow: bool) -> Result<Tail, Error> {
        Tail::open(&self.settings, &self.admin, &self.registry, topic, start, follow).await
    }
}
