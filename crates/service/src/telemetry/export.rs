//! Spans on their way to a collector: batched on a thread of their own, queue and time bounded, dropped when the collector
//! doesn't keep up.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter as Exporter,
};
use tokio::runtime::Handle;

use super::TelemetryError;
use crate::settings;

/// The most spans waiting; more are dropped and counted by the library.
const QUEUE_MAX_SPANS: usize = 4096;
const BATCH_MAX_SPANS: usize = 512;
const BATCH_DELAY: Duration = Duration::from_secs(1);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a collector takes spans, under its base address (OTLP/HTTP).
const TRACES_PATH: &str = "/v1/traces";

/// Without a collector spans still get ids, so that log lines can be joined, but only a caller's decision samples.
pub(super) fn provider(
    settings: &settings::Telemetry,
    service: &'static str,
) -> Result<SdkTracerProvider, TelemetryError> {
    let resource = Resource::builder_empty()
        .with_service_name(service)
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(builder.with_sampler(sampler(0.0)).build());
    };
    crate::install_tls();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/')))
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX_SPANS)
        .with_max_export_batch_size(BATCH_MAX_SPANS)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(OnRuntime::new(exporter)).with_batch_config(config).build();
    Ok(builder.with_sampler(sampler(settings.sample_ratio)).with_span_processor(processor).build())
}

/// Whoever started the flow has decided; for our own beginnings, the ratio.
fn sampler(ratio: f64) -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))
}

/// The batch thread has no tokio runtime, and the HTTP client needs one: each export is run on the process's own.
#[derive(Debug)]
struct OnRuntime {
    /// The resource is set before the first export, while nobody else holds the exporter.
    exporter: Arc<SpanExporter>,
    runtime: Handle,
}

impl OnRuntime {
    fn new(exporter: SpanExporter) -> Self {
        OnRuntime { exporter: Arc::new(exporter), runtime: Handle::current() }
    }
}

impl Exporter for OnRuntime {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let exporter = Arc::clone(&self.exporter);
        let exported = self.runtime.spawn(async move { exporter.export(batch).await });
        async move { exported.await.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string()))) }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}
