//! Restate with the same saga, where it was set up (`bench/peers/README.md`).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use daybook_service::ids;
use http::StatusCode;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::client::{Closed, Connection, Post};
use crate::stage::Stage;
use crate::{Figures, latencies, streams};

const PATH: &str = "/Journey/run";
/// How long it may take until the first journey arrives.
const START_LIMIT: Duration = Duration::from_secs(60);
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// Server and service, under way.
pub struct Restate {
    process: Child,
    folder: PathBuf,
    ingress: SocketAddr,
}

impl Restate {
    /// Starts it, and waits for its first journey. `None`: it was not set up.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Option<Self>> {
        let peer = streams::peer("restate");
        if !peer.join("target/release/restate-peer").is_file() {
            return Ok(None);
        }
        let folder = std::env::temp_dir().join(format!("bench-restate-{}", ids::random().simple()));
        tokio::fs::create_dir(&folder).await.context("its folder cannot be made")?;
        let ports = free_ports()?;
        let process = Command::new(peer.join("run.sh"))
            .arg(&folder)
            .args(ports.map(|port| port.to_string()))
            // It ends when this does.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("Restate does not start")?;
        let ingress = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
        let restate = Self { process, folder, ingress };
        restate.first_journey().await?;
        Ok(Some(restate))
    }

    async fn first_journey(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let tried = async { Connection::open(self.ingress).await?.post(journey()).await };
            if tried.await.is_ok_and(|answer| answer.status == StatusCode::OK) {
                return Ok(());
            }
            ensure!(begun.elapsed() < START_LIMIT, "Restate does not answer within {} s", START_LIMIT.as_secs());
            sleep(TRY_AGAIN).await;
        }
    }

    /// So many journeys at once.
    ///
    /// # Errors
    /// When one fails.
    pub async fn driven(
        &self,
        stage: &Stage,
        at_once: usize,
        warm_up: Duration,
        measured: Duration,
    ) -> Result<Figures> {
        let pid = i32::try_from(self.process.id().context("Restate has ended")?)?;
        let meter = stage.meter(&[("cpu_peer_s", pid)])?;
        let load = Closed { address: self.ingress, at_once, warm_up, measured, expected: StatusCode::OK };
        let (took_ms, _) = load.run(journey).await?;
        let mut figures = Figures::new();
        meter.note(&mut figures)?;
        figures.insert("per_s", took_ms.len() as f64 / measured.as_secs_f64());
        figures.extend(latencies(took_ms));
        Ok(figures)
    }

    /// Ends it, and deletes what it kept.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        self.process.wait().await.context("Restate does not end")?;
        tokio::fs::remove_dir_all(&self.folder).await.context("its data cannot be deleted")
    }
}

fn journey() -> Post {
    // Its handler takes no input, and it looks at no token.
    Post { path: PATH, token: None, idempotency_key: ids::random(), body: String::new() }
}

/// For ingress, administration, node and service.
fn free_ports() -> Result<[u16; 4]> {
    let held = [(); 4].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(held) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}
