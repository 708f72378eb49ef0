//! Logs on stderr, traces by OTLP, and the trace context that travels with requests and messages.

mod export;
mod json_lines;
mod trace_parent;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

pub use trace_parent::{BadTraceParent, TRACE_PARENT_BYTES, TraceParent, current, follow};

use crate::settings;

/// How long the last spans may take to leave.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Spans of the libraries that carry our spans away would be carried away as well, without end.
const NEVER_TRACED: &[&str] = &["hyper", "reqwest", "rustls", "opentelemetry", "tower", "h2"];

/// Telemetry could not be set up, or not be brought to an end.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter.
    #[error("telemetry.log_level: {0}")]
    Level(#[from] ParseError),
    /// The exporter can't be built.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// There is a logger already.
    #[error("logging is set up already: {0}")]
    AlreadyStarted(#[from] TryInitError),
    /// The last spans did not leave.
    #[error("the last spans were not delivered: {0}")]
    Stop(#[from] OTelSdkError),
    /// The thread that was to end it panicked.
    #[error("ending the traces failed: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Running telemetry; to be stopped at the end, or the last spans are lost.
#[derive(Debug)]
#[must_use = "stop it at the end of the process, or the last spans are lost"]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Starts logging and tracing for the whole process. Needs a running tokio runtime when traces are exported.
///
/// # Errors
/// When a setting is unusable, or logging was started before.
pub fn start(settings: &settings::Telemetry, service: &'static str) -> Result<Telemetry, TelemetryError> {
    let provider = export::provider(settings, service)?;
    subscriber(settings, &provider, std::io::stderr)?.try_init()?;
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Sends the last spans, for a few seconds at most.
    ///
    /// # Errors
    /// When they could not be delivered.
    pub async fn stop(self) -> Result<(), TelemetryError> {
        // Waits for an export that runs on this runtime, so it must not occupy one of its threads.
        let stopped = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(STOP_LIMIT));
        Ok(stopped.await??)
    }
}

/// What receives logs and spans: a layer for each.
fn subscriber<W>(
    settings: &settings::Telemetry,
    provider: &SdkTracerProvider,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + 'static, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let traced = filter_fn(|metadata| {
        let library = |name: &&str| metadata.target().starts_with(*name);
        let is_wanted = metadata.is_span() && *metadata.level() <= Level::INFO;
        is_wanted && !NEVER_TRACED.iter().any(library)
    });
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("daybook"))
        .with_location(false)
        .with_threads(false)
        // Would read the clock, and lock the span, at each poll of what is traced.
        .with_tracked_inactivity(false)
        .with_filter(traced.with_max_level_hint(LevelFilter::INFO));
    let lines = match settings.log_format {
        settings::LogFormat::Json => json_lines::JsonLines::new(writer).boxed(),
        settings::LogFormat::Text => tracing_subscriber::fmt::layer().with_writer(writer).boxed(),
    };
    let lines = lines.with_filter(EnvFilter::try_new(&settings.log_level)?);
    Ok(Registry::default().with(spans).with(lines))
}

#[cfg(test)]
mod tests;
