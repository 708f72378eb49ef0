//! What all clients of the brokers have in common.

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use tracing::{debug, info, warn};

use crate::Settings;

/// Most bytes of one record, key and headers included: Kafka's own default for a topic.
pub(crate) const RECORD_BYTES_MAX: usize = 1_048_576;

/// What brokers know us by.
pub(crate) const CLIENT_ID: &str = "daybook";

/// Settings of every client of librdkafka.
pub(crate) fn base(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", CLIENT_ID)
        .set("allow.auto.create.topics", "false")
        .set("socket.nagle.disable", "true")
        .set("socket.keepalive.enable", "true")
        // A restarted broker is found again within a second instead of ten.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// Forwards what librdkafka says to the process's own log. Its texts name brokers, topics and groups, never a record's content.
pub(crate) fn forward_log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Debug => debug!(facility, message, "kafka client"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => info!(facility, message, "kafka client"),
        _ => warn!(facility, message, "kafka client"),
    }
}

pub(crate) fn forward_error(error: &KafkaError, reason: &str) {
    warn!(%error, reason, "kafka client");
}

/// Context of clients that only ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Quiet {}

/// Never, if there is no moment.
pub(crate) async fn sleep_until(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
