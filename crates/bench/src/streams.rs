//! Kafka Streams on the same records, where it was set up (`bench/peers/README.md`).

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use daybook_engine::PARTITIONS;
use daybook_events::{CoursePublished, Message, PublishCourse, Retention, Schemas};
use daybook_log::{Log, TopicPlan};
use daybook_service::ids;
use tokio::process::{Child, Command};

use crate::stage::Stage;
use crate::{Figures, progress};

const OUTPUT: &str = "bench.streams.events.v1";

/// Whether it was set up.
pub fn is_there() -> bool {
    folder().join("target/libs").is_dir()
}

fn folder() -> PathBuf {
    peer("kafka-streams")
}

/// The folder of a peer.
pub fn peer(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/peers").join(name)
}

/// Lets it tally `messages` records of the input.
///
/// # Errors
/// When it does not start, or stands still.
pub async fn tallied(stage: &Stage, log: &Log, messages: u64) -> Result<Figures> {
    let plan = TopicPlan { name: OUTPUT.to_owned(), partitions: PARTITIONS, retention: Retention::Fortnight };
    log.admin().apply(&[plan]).await?;
    let before = progress::records(log, OUTPUT).await?;
    let mut peer = Peer::start(log)?;
    let meter = stage.meter(&[("cpu_peer_s", peer.pid()?)])?;
    let per_s = progress::growth(log, OUTPUT, before, messages).await?;
    let mut figures = Figures::from([("per_s", per_s)]);
    meter.note(&mut figures)?;
    peer.end().await?;
    Ok(figures)
}

struct Peer {
    process: Child,
    state: PathBuf,
}

impl Peer {
    fn start(log: &Log) -> Result<Self> {
        let name = format!("bench-streams-{}", ids::random().simple());
        let state = std::env::temp_dir().join(&name);
        let prefix = &log.settings().topic_prefix;
        std::fs::create_dir(&state).context("a folder for its state")?;
        let schema = |name: &str, json: &str| -> Result<PathBuf> {
            let path = state.join(name);
            std::fs::write(&path, json)?;
            Ok(path)
        };
        let event_id = log.registry().id_of(CoursePublished::FULL_NAME).context("the schema is not registered")?;
        let process = Command::new(folder().join("run.sh"))
            .arg(&log.settings().brokers)
            .arg(format!("{prefix}{}", PublishCourse::TOPIC))
            .arg(format!("{prefix}{OUTPUT}"))
            .arg(&name)
            .arg(&state)
            .arg(schema("command.avsc", PublishCourse::SCHEMA)?)
            .arg(schema("event.avsc", CoursePublished::SCHEMA)?)
            .arg(event_id.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("Kafka Streams does not start")?;
        Ok(Self { process, state })
    }

    fn pid(&self) -> Result<i32> {
        Ok(i32::try_from(self.process.id().context("Kafka Streams has ended")?)?)
    }

    async fn end(&mut self) -> Result<()> {
        self.process.kill().await.context("Kafka Streams does not end")?;
        tokio::fs::remove_dir_all(&self.state).await.context("its state cannot be deleted")
    }
}
