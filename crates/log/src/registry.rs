//! The schema registry, over Confluent's API.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use daybook_engine::SchemaLookup;
use daybook_events::{MAX_SCHEMA_BYTES, Schemas, Writer};
use futures::stream::{self, StreamExt, TryStreamExt};
use hashbrown::HashMap;
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

use crate::{Error, Refusal, Registered, Settings, Subject};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Registrations under way at once.
const CONCURRENT: usize = 8;
/// Most bytes of an answer: a schema as a JSON text inside JSON.
const ANSWER_BYTES_MAX: usize = 2 * MAX_SCHEMA_BYTES + 4_096;
/// How much of an answer an error quotes.
const SAID_CHARS_MAX: usize = 300;
/// First and largest wait before an unreachable registry is asked again.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A client of the registry, with all it has learned. What it answers never changes: an id means one schema for ever.
pub struct Registry {
    http: Client,
    base: String,
    prefix: String,
    learned: RwLock<Learned>,
}

#[derive(Default)]
struct Learned {
    writers: HashMap<u32, Arc<Writer>>,
    ids: HashMap<String, u32>,
}

impl Registry {
    /// Does not connect.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        if rustls::crypto::CryptoProvider::get_default().is_none()
            && rustls::crypto::ring::default_provider().install_default().is_err()
        {
            tracing::debug!("another thread installed the process's crypto provider first");
        }
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .build()
            .map_err(|refused| Refusal::Settings(refused.to_string()))?;
        Ok(Self {
            http,
            base: settings.registry.trim_end_matches('/').to_owned(),
            prefix: settings.topic_prefix.clone(),
            learned: RwLock::default(),
        })
    }

    /// Registers what the registry does not have yet and learns the ids of all.
    ///
    /// # Errors
    /// When the registry cannot be reached; a refusal when it finds a schema incompatible with an earlier version, or gives one
    /// schema two ids.
    pub async fn register(&self, subjects: &[Subject]) -> Result<Registered, Error> {
        let answers: Vec<(&Subject, u32, bool)> = stream::iter(subjects)
            .map(|subject| async move {
                let (id, added) = self.register_one(subject).await?;
                Ok::<_, Error>((subject, id, added))
            })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await?;
        let mut registered = Registered::default();
        for (subject, id, added) in answers {
            if added {
                registered.added += 1;
            } else {
                registered.known += 1;
            }
            self.learn_own(subject, id)?;
        }
        Ok(registered)
    }

    async fn register_one(&self, subject: &Subject) -> Result<(u32, bool), Error> {
        let name = format!("{}{}", self.prefix, subject.name);
        let schema = json!({ "schema": subject.schema });
        let versions = format!("subjects/{name}/versions");
        if let Some(id) = self.find(&name, &schema).await? {
            return Ok((id, false));
        }
        // The rule comes first, so that it already holds for this version; a registry that knows rules only of subjects that exist
        // has nothing yet to compare with, and gets the rule afterwards.
        let ruled = self.set_rule(&name, subject.compatibility).await?;
        let added = self.ask(Method::POST, &versions, Some(&schema)).await?;
        match added.status {
            StatusCode::OK => {}
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
                // It is no conflict when another process has registered the very same in between.
                let found = self.find(&name, &schema).await?;
                let refused = || Refusal::SchemaIncompatible { subject: name, said: added.said() };
                return Ok((found.ok_or_else(refused)?, false));
            }
            _ => return Err(added.refused(&versions).into()),
        }
        if !ruled && !self.set_rule(&name, subject.compatibility).await? {
            warn!(subject = name, "the registry has no such subject right after it was registered");
        }
        Ok((added.id(&name)?, true))
    }

    /// The id of a schema under a subject, if it has one.
    async fn find(&self, name: &str, schema: &Value) -> Result<Option<u32>, Error> {
        let found = self.ask(Method::POST, &format!("subjects/{name}"), Some(schema)).await?;
        match found.status {
            StatusCode::OK => Ok(Some(found.id(name)?)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(found.refused(name).into()),
        }
    }

    /// Answers whether the registry knows the subject.
    async fn set_rule(&self, name: &str, compatibility: &str) -> Result<bool, Error> {
        let path = format!("config/{name}");
        let answer = self.ask(Method::PUT, &path, Some(&json!({ "compatibility": compatibility }))).await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            // Apicurio's answer to the second of two that set the rule of a new subject at once. Asked again, it sets it.
            StatusCode::CONFLICT => Err(Error::RegistryUnreachable(format!("it answers {}", answer.said()))),
            _ => Err(answer.refused(&path).into()),
        }
    }

    /// The writer's schema with this id, which is then known for ever. `None`: the registry has no such id, or what it has is no
    /// schema that a message of ours can have been written with.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn fetch(&self, id: u32) -> Result<Option<Arc<Writer>>, Error> {
        if let Some(writer) = self.writer(id) {
            return Ok(Some(writer));
        }
        let path = format!("schemas/ids/{id}");
        let answer = self.ask(Method::GET, &path, None).await?;
        match answer.status {
            StatusCode::OK => Ok(answer.schema().and_then(|schema| self.learn(id, &schema))),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(answer.refused(&path).into()),
        }
    }

    /// As [`Registry::fetch`], but waits as long as the registry cannot be asked.
    pub async fn resolve(&self, id: u32) -> SchemaLookup {
        let mut wait = RETRY_MIN;
        loop {
            match self.fetch(id).await {
                Ok(Some(writer)) => return SchemaLookup::Known(writer),
                Ok(None) => return SchemaLookup::NoSuchId(id),
                Err(failed) => warn!(id, %failed, "a schema cannot be asked for; trying again"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Asks for anything at all.
    ///
    /// # Errors
    /// When the registry cannot be reached or does not speak Confluent's API.
    pub async fn ping(&self) -> Result<(), Error> {
        let answer = self.ask(Method::GET, "config", None).await?;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.refused("config").into()) }
    }

    fn learn(&self, id: u32, schema: &str) -> Option<Arc<Writer>> {
        match Writer::parse(id, schema) {
            Ok(writer) => {
                let writer = Arc::new(writer);
                let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
                Some(Arc::clone(learned.writers.entry(id).or_insert(writer)))
            }
            Err(unusable) => {
                warn!(id, %unusable, "the registry has a schema that no message can be read with");
                None
            }
        }
    }

    fn learn_own(&self, subject: &Subject, id: u32) -> Result<(), Refusal> {
        let first = {
            let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
            *learned.ids.entry(subject.full_name.to_owned()).or_insert(id)
        };
        if first != id {
            let full_name = subject.full_name.to_owned();
            return Err(Refusal::SchemaIdsDiffer { full_name, first, second: id });
        }
        if self.writer(id).is_none() {
            self.learn(id, subject.schema);
        }
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let request = self.http.request(method, format!("{}/{path}", self.base));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(Error::RegistryUnreachable(format!("an answer of more than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        if status.is_server_error() {
            return Err(Error::RegistryUnreachable(format!("it answers {status}")));
        }
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_default() })
    }
}

impl Schemas for Registry {
    fn writer(&self, id: u32) -> Option<Arc<Writer>> {
        self.learned.read().unwrap_or_else(PoisonError::into_inner).writers.get(&id).cloned()
    }

    fn id_of(&self, full_name: &str) -> Option<u32> {
        self.learned.read().unwrap_or_else(PoisonError::into_inner).ids.get(full_name).copied()
    }
}

fn unreachable(failed: reqwest::Error) -> Error {
    Error::RegistryUnreachable(failed.without_url().to_string())
}

struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    fn id(&self, subject: &str) -> Result<u32, Refusal> {
        #[derive(Deserialize)]
        struct WithId {
            id: u32,
        }
        let WithId { id } = WithId::deserialize(&self.body).map_err(|_| self.refused(subject))?;
        Ok(id)
    }

    fn schema(&self) -> Option<String> {
        Some(self.body.get("schema")?.as_str()?.to_owned())
    }

    fn said(&self) -> String {
        let said = self.body.get("message").and_then(Value::as_str).unwrap_or("(nothing)");
        said.chars().take(SAID_CHARS_MAX).collect()
    }

    fn refused(&self, what: &str) -> Refusal {
        Refusal::RegistryAnswer { what: what.to_owned(), status: self.status.as_u16(), said: self.said() }
    }
}
