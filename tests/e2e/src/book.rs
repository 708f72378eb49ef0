//! The book: what stands in the topics, read by `kcat` where that suffices, and records that no façade would publish.

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use daybook_events::{Header, HeaderRef, Message, OperationAccepted, frame};
use daybook_log::{Log, Request, Settings, Start};
use reqwest::blocking::Client;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use uuid::Uuid;

const PUBLISH_LIMIT: Duration = Duration::from_secs(10);
/// Name of the façade that a test pretends to be.
const PUBLISHER: &str = "e2e";

/// The topics of one platform.
#[derive(Clone)]
pub struct Book {
    pub brokers: String,
    pub registry: String,
    /// Before every topic.
    pub prefix: String,
    pub http: Client,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

impl Book {
    /// Name of a topic as the brokers know it.
    pub fn wire(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// Publishes bytes as they are, without any header, by `kcat`.
    ///
    /// # Errors
    /// When the brokers do not take it.
    pub fn publish_bytes(&self, topic: &str, partition: u32, key: &str, value: &[u8]) -> Result<()> {
        // A file is one record, whatever bytes are in it.
        let file = std::env::temp_dir().join(Uuid::new_v4().to_string());
        std::fs::write(&file, value)?;
        let status = self
            .kcat(&["-P", "-t", &self.wire(topic), "-p", &partition.to_string(), "-k", key])
            .arg(&file)
            .status()
            .context("kcat does not start")?;
        std::fs::remove_file(&file)?;
        ensure!(status.success(), "kcat does not publish");
        Ok(())
    }

    /// Publishes a record with a proper header; `schema_id` and `body` may be anything.
    ///
    /// # Errors
    /// When the brokers do not take it.
    pub fn publish(&self, topic: &str, key: &[u8], header: &Header, schema_id: u32, body: &[u8]) -> Result<()> {
        let mut bytes = Vec::new();
        header.encode(&mut bytes)?;
        let mut value = Vec::new();
        frame(schema_id, &mut value);
        value.extend_from_slice(body);
        let (message_id, time) = (header.message_id, header.time);
        let request = Request { topic, key, type_name: "e2e", message_id, time, header: &bytes, value: &value };
        let log = self.log()?;
        Runtime::new()?.block_on(async {
            log.requests(PUBLISHER, PUBLISH_LIMIT)?.publish(request, Instant::now() + PUBLISH_LIMIT).await?;
            Ok(())
        })
    }

    /// The id under which the registry knows the schema of a command or event in a topic.
    ///
    /// # Errors
    /// When it does not know it.
    pub fn schema_id(&self, topic: &str, full_name: &str) -> Result<u32> {
        let subject = format!("{}-{full_name}", self.wire(topic));
        let url = format!("{}/subjects/{subject}/versions/latest", self.registry);
        let answer: Value = self.http.get(url).send()?.error_for_status()?.json()?;
        Ok(u32::try_from(answer["id"].as_u64().with_context(|| format!("no id in {answer}"))?)?)
    }

    /// A schema's text, as any client gets it.
    ///
    /// # Errors
    /// When the registry does not know it.
    pub fn schema(&self, id: u32) -> Result<String> {
        let url = format!("{}/schemas/ids/{id}", self.registry);
        let answer: Value = self.http.get(url).send()?.error_for_status()?.json()?;
        Ok(answer["schema"].as_str().context("the answer has a schema")?.to_owned())
    }

    /// Where the records of a key stand, in order, by `kcat`.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub fn find(&self, topic: &str, key: &str) -> Result<Vec<Place>> {
        let listed = self.read(&["-t", &self.wire(topic), "-o", "beginning", "-e", "-q", "-f", "%k %p %o\n"])?;
        let text = String::from_utf8_lossy(&listed).into_owned();
        let places = text.lines().filter_map(|line| line.strip_prefix(key)?.trim().split_once(' '));
        places.map(|(partition, offset)| Ok(Place { partition: partition.parse()?, offset: offset.parse()? })).collect()
    }

    /// One record by `kcat`, in this format.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn one(&self, topic: &str, place: Place, format: &str) -> Result<Vec<u8>> {
        let (partition, offset) = (place.partition.to_string(), place.offset.to_string());
        self.read(&["-t", &self.wire(topic), "-p", &partition, "-o", &offset, "-c", "1", "-q", "-f", format])
    }

    /// The topics of this platform, as the brokers name them.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn topics(&self) -> Result<Vec<String>> {
        let listed = self.listed()?;
        let names = listed.iter().filter_map(|topic| topic["topic"].as_str());
        Ok(names.filter(|name| name.starts_with(&self.prefix)).map(str::to_owned).collect())
    }

    /// How many partitions the brokers say a topic has; `None` when there is no such topic.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn partitions(&self, topic: &str) -> Result<Option<usize>> {
        let wire = self.wire(topic);
        let listed = self.listed()?;
        let found = listed.iter().find(|listed| listed["topic"].as_str() == Some(&wire));
        Ok(found.and_then(|topic| topic["partitions"].as_array()).map(Vec::len))
    }

    /// Every key, header and value of every topic, one after the other.
    ///
    /// # Errors
    /// When a topic cannot be read.
    pub fn everything(&self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        for topic in self.topics()? {
            all.extend(self.read(&["-t", &topic, "-o", "beginning", "-e", "-q", "-f", "%k %h %s\n"])?);
        }
        ensure!(!all.is_empty(), "the book is empty");
        Ok(all)
    }

    /// The ids of the closing replies of each operation. A record that stands there twice under one id is one. A command that came
    /// again is answered again, under an id that tells so, which is not counted.
    ///
    /// # Errors
    /// When the topic cannot be read, or what is answered again is not what was answered.
    pub fn closing_replies(&self) -> Result<HashMap<Uuid, HashSet<Uuid>>> {
        let log = self.log()?;
        Runtime::new()?.block_on(async {
            let mut replies: HashMap<Uuid, HashSet<Uuid>> = HashMap::new();
            let mut said: HashMap<Uuid, Vec<u8>> = HashMap::new();
            let mut tail = log.tail(OperationAccepted::TOPIC, Start::Beginning, false).await?;
            while let Some(record) = tail.next_raw().await? {
                let Some(header) = &record.header else { bail!("a record without header in the inbox of operations") };
                let header = HeaderRef::decode(header)?;
                let Some(command_id) = header.reply_for else { continue };
                let value = record.value.unwrap_or_default();
                let first = said.entry(command_id).or_insert_with(|| value.to_vec());
                ensure!(*first == value, "{command_id} is answered again, and otherwise");
                if header.message_id != Uuid::new_v5(&command_id, b"answered-again") {
                    replies.entry(command_id).or_default().insert(header.message_id);
                }
            }
            Ok(replies)
        })
    }

    fn listed(&self) -> Result<Vec<Value>> {
        let output = self.kcat(&["-L", "-J"]).output().context("kcat does not start")?;
        let mut listed: Value = serde_json::from_slice(&output.stdout)?;
        match listed["topics"].take() {
            Value::Array(topics) => Ok(topics),
            other => bail!("not a list of topics: {other}"),
        }
    }

    fn log(&self) -> Result<Log> {
        Ok(Log::open(Settings {
            brokers: self.brokers.clone(),
            registry: self.registry.clone(),
            topic_prefix: self.prefix.clone(),
            ..Settings::default()
        })?)
    }

    fn read(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        // The brokers answer at once where there is nothing more, instead of half a second later.
        let output =
            self.kcat(&["-C", "-X", "fetch.wait.max.ms=5"]).args(arguments).output().context("kcat does not start")?;
        ensure!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }

    fn kcat(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kcat");
        command.args(["-b", &self.brokers]).args(arguments);
        command
    }
}
