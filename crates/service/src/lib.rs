#![doc = include_str!("../README.md")]

pub mod clock;
pub mod drain;
pub mod health;
pub mod ids;
pub mod metrics;
mod process;
pub mod server;
pub mod settings;
pub mod tasks;
pub mod telemetry;
mod together;

pub use clock::{Clock, SystemClock};
pub use daybook_vault::Secret;
pub use drain::Drain;
pub use health::Health;
pub use metrics::Metrics;
pub use settings::{Section, Settings, SettingsError, Sources};
pub use tasks::{OnFailure, Tasks};
pub use telemetry::TraceParent;
pub use together::Together;

/// Installs the process-wide TLS implementation. Every HTTPS or TLS client needs it; calling it again does nothing.
pub fn install_tls() {
    // The error means that one is installed already, which is all that is wanted.
    let already_installed = rustls::crypto::ring::default_provider().install_default().is_err();
    tracing::trace!(already_installed, "tls implementation is in place");
}
