//! Kafka: one node that is both broker and controller.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{Kind, Site};
use crate::downloads::{self, INSTALL_JAVA};
use crate::error::{Context, Result};
use crate::health::{self, Readiness};
use crate::layout::{remove, write_whole};
use crate::ports::Socket;
use crate::process::{Launch, run_to_end};
use crate::secrets::random_bytes;
use crate::{Layout, Progress, Purpose, Server, Silent};

pub(super) struct Kafka;

const LOGGING: &str = "\
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=CONSOLE
appender.console.type=Console
appender.console.name=CONSOLE
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1} %m%n
";

impl Kind for Kafka {
    fn prepare(&self, site: &Site<'_>, progress: &dyn Progress) -> Result<()> {
        let jars = downloads::kafka(site.layout, progress)?;
        write_whole(&logging_file(site.layout), LOGGING, 0o644)?;
        let data = site.layout.data(Server::Kafka);
        if !data.is_dir() {
            format(site, &jars, &data)?;
        }
        write_whole(&properties_file(site.layout), &properties(site, &data), 0o644)
    }

    fn launch(&self, site: &Site<'_>) -> Result<Launch> {
        let jars = downloads::kafka(site.layout, &Silent)?;
        let speed: &[&str] = match site.state.purpose {
            // Half the compiler starts in half the time.
            Purpose::Development => &["-Xmx512m", "-XX:TieredStopAtLevel=1"],
            Purpose::Measurement => &[
                "-Xms1g",
                "-Xmx1g",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
            ],
        };
        Ok(Launch::new("java", "")
            .arguments(speed.iter().copied())
            .arguments(java_arguments(site.layout, &jars))
            .arguments(["kafka.Kafka".to_owned(), properties_file(site.layout).display().to_string()]))
    }

    fn install(&self) -> &'static str {
        INSTALL_JAVA
    }

    fn ready(&self, site: &Site<'_>) -> Readiness {
        health::kafka(site.state.ports.of(Socket::Kafka))
    }
}

fn properties_file(layout: &Layout) -> PathBuf {
    layout.run("kafka.properties")
}

fn logging_file(layout: &Layout) -> PathBuf {
    layout.run("kafka-log4j2.properties")
}

fn java_arguments(layout: &Layout, jars: &Path) -> [String; 3] {
    [
        format!("-Dlog4j2.configurationFile={}", logging_file(layout).display()),
        "-cp".to_owned(),
        format!("{}/*", jars.display()),
    ]
}

/// Makes a formatted data folder beside its place and puts it there when it is whole.
fn format(site: &Site<'_>, jars: &Path, data: &Path) -> Result<()> {
    let beside = data.with_extension("new");
    remove(&beside)?;
    fs::create_dir(&beside).context("make", &beside)?;
    let configuration = properties_file(site.layout);
    write_whole(&configuration, &properties(site, &beside), 0o644)?;
    let mut tool = Command::new("java");
    tool.arg("-XX:TieredStopAtLevel=1")
        .args(java_arguments(site.layout, jars))
        .args(["kafka.tools.StorageTool", "format", "--cluster-id"])
        .arg(cluster_id()?)
        .arg("--config")
        .arg(&configuration);
    run_to_end(&mut tool, INSTALL_JAVA)?;
    fs::rename(&beside, data).context("put in place", data)
}

/// A random UUID as Kafka writes it. The first letter is fixed, because the tool takes one that begins with a dash for an option.
fn cluster_id() -> Result<String> {
    let mut bytes = random_bytes::<16>()?;
    bytes[0] &= 0b0111_1111;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn properties(site: &Site<'_>, data: &Path) -> String {
    let broker = site.state.ports.of(Socket::Kafka);
    let controller = site.state.ports.of(Socket::KafkaController);
    let advertised = site.state.kafka_proxy_port.unwrap_or(broker);
    let data = data.display();
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
# A topic that nobody declared is a mistake.
auto.create.topics.enable=false
num.partitions=8
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# After a kill the controller takes the dead broker for alive until its session ends.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"
    )
}
