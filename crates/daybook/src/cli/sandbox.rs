//! `daybook sandbox`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use daybook_sandbox::{Config, Faults, Fees, Webhook};
use daybook_service::{Drain, Section, telemetry};

use super::{Outcome, Place, waited};

/// The sandbox payment provider speaks Stripe's wire format and keeps its own books. Its secrets come from [payments] of the
/// settings: api_key authenticates callers, webhook_secret signs its notices.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:12111", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Folder of its books.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Where its notices go; without it there are none.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
}

pub(crate) fn carry_out(place: &Place, arguments: Arguments) -> Result<Outcome> {
    let settings = place.settings(&[Section::Payments])?;
    waited(async move {
        let telemetry = telemetry::start(&settings.telemetry, "daybook-sandbox")?;
        let drain = Drain::default();
        drain.on_signals()?;
        let secret = || settings.payments.webhook_secret.expose().clone();
        let config = Config {
            listen: arguments.listen,
            data_dir: arguments.data,
            api_key: settings.payments.api_key.expose().clone(),
            webhook: arguments.webhook.map(|url| Webhook { url, secret: secret() }),
            key_lifetime: Duration::from_secs(settings.payments.key_lifetime_seconds),
            faults: Faults::default(),
            fees: Fees::default(),
        };
        let ended = daybook_sandbox::run(config, async move { drain.begun().await }).await;
        telemetry.stop().await?;
        ended?;
        Ok(Outcome::Good)
    })
}
