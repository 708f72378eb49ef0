//! DBOS with the same saga, where it was set up (`bench/peers/README.md`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::stage::Stage;
use crate::{Figures, streams};

/// What it tells of itself.
#[derive(Deserialize)]
struct Told {
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Whether it was set up.
pub fn is_there() -> bool {
    streams::peer("dbos").join("target/python/bin/python").exists()
}

/// So many journeys at once. CPU seconds of the peer itself are among those of others.
///
/// # Errors
/// When it fails.
pub async fn driven(stage: &Stage, at_once: usize, warm_up: Duration, measured: Duration) -> Result<Figures> {
    let meter = stage.meter(&[])?;
    let ended = Command::new(streams::peer("dbos").join("run.sh"))
        .arg(stage.database_url())
        .args([at_once as u64, warm_up.as_secs(), measured.as_secs()].map(|number| number.to_string()))
        .kill_on_drop(true)
        .output()
        .await
        .context("DBOS does not start")?;
    ensure!(ended.status.success(), "DBOS failed: {}", String::from_utf8_lossy(&ended.stderr));
    let Told { per_s, p50_ms, p99_ms } = serde_json::from_slice(&ended.stdout).context("DBOS tells no figures")?;
    let mut figures = Figures::from([("per_s", per_s), ("p50_ms", p50_ms), ("p99_ms", p99_ms)]);
    meter.note(&mut figures)?;
    Ok(figures)
}
