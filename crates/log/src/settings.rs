//! Where the log is.

use serde::Deserialize;

/// Settings of the log. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Kafka's bootstrap servers, `host:port`, separated by commas.
    pub brokers: String,
    /// Base URL of the registry's Confluent API, without a slash at the end.
    pub registry: String,
    /// Put before every topic, group and subject name on the wire, and nowhere else: it keeps several
    /// installations apart on one cluster.
    pub topic_prefix: String,
    /// Copies of each partition of a topic that `topics apply` creates.
    pub replication: u16,
    /// Name of this process among its replicas, the same after a restart: makes it a static member of its
    /// groups, which takes its partitions over at once instead of after the session timeout.
    pub instance: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            registry: "http://127.0.0.1:8081/apis/ccompat/v7".to_owned(),
            topic_prefix: String::new(),
            replication: 1,
            instance: None,
        }
    }
}

impl Settings {
    /// A topic's or group's name as the brokers know it.
    pub(crate) fn wire(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }
}
