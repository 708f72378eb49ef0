//! A façade's surroundings in memory, for the tests of leaves: what is published is kept, what is read is put there by the test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daybook_engine::PARTITIONS;
use daybook_events::{Message, Schemas as _, StaticSchemas, decode};
use daybook_service::{Clock, Metrics, Secret, Settings, Sources, settings};
use daybook_vault::{InMemoryKeyStore, MasterKeys, OsAmbient, Vault};
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    Claims, Deps, LogEnds, NotPublished, NotReadable, Offsets, OperationRow, Outgoing, Overload, Param, Publisher,
    RateLimits, ReadStore, RequestHasher, StepRow, Tokens, Wakes, mint,
};

/// What tokens are signed with.
pub const SECRET: &str = "a secret of the tests, long enough for HS256";

/// When all tests happen: 2026-03-01T12:00:00Z, in seconds since 1970.
pub const NOW_SECONDS: i64 = 1_772_366_400;

/// The question that a read route asked, and with what.
pub type Question = (&'static str, Vec<Param>);

/// Log and read store in memory. Clones share them.
#[derive(Clone, Default)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    published: Vec<Outgoing>,
    failing: Option<NotPublished>,
    unreadable: bool,
    operations: HashMap<Uuid, OperationRow>,
    steps: HashMap<Uuid, Vec<StepRow>>,
    rows: HashMap<&'static str, Vec<Value>>,
    questions: Vec<Question>,
    applied: Offsets,
    ends: Offsets,
}

impl Memory {
    /// Everything that was published, in order.
    pub fn published(&self) -> Vec<Outgoing> {
        self.inner().published.clone()
    }

    /// The messages of this type among them.
    ///
    /// # Panics
    /// When one of them can't be read.
    pub fn messages<M: Message>(&self) -> Vec<M> {
        let schema = StaticSchemas.id_of(M::FULL_NAME).and_then(|id| StaticSchemas.writer(id));
        let writer = schema.expect("every message of this build has a schema");
        let published = self.published();
        let bodies = published.iter().filter(|message| message.type_name == M::FULL_NAME).map(|message| &message.body);
        bodies.map(|body| decode(&writer, body).expect("what was published can be read")).collect()
    }

    /// From now on publishing fails so, or works again.
    pub fn fail(&self, how: Option<NotPublished>) {
        self.inner().failing = how;
    }

    /// From now on nothing can be read, or everything again.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.inner().unreadable = unreadable;
    }

    /// Puts the row of an operation.
    pub fn put_operation(&self, row: OperationRow) {
        self.inner().operations.insert(row.operation_id, row);
    }

    /// Puts the steps of an operation.
    pub fn put_steps(&self, operation_id: Uuid, steps: Vec<StepRow>) {
        self.inner().steps.insert(operation_id, steps);
    }

    /// Puts the answer to a read route's question.
    pub fn put_rows(&self, sql: &'static str, rows: Vec<Value>) {
        self.inner().rows.insert(sql, rows);
    }

    /// The questions that were asked.
    pub fn questions(&self) -> Vec<Question> {
        self.inner().questions.clone()
    }

    /// Says where every partition ends, and up to where projections have come.
    pub fn set_offsets(&self, ends: i64, applied: i64) {
        let mut inner = self.inner();
        inner.ends = [ends; PARTITIONS as usize];
        inner.applied = [applied; PARTITIONS as usize];
    }

    fn read<T: Send + 'static>(&self, look: impl FnOnce(&mut Inner) -> T) -> BoxFuture<'_, Result<T, NotReadable>> {
        let mut inner = self.inner();
        let switched_off = || NotReadable("it is switched off".to_owned());
        let answer = if inner.unreadable { Err(switched_off()) } else { Ok(look(&mut inner)) };
        ready(answer).boxed()
    }

    /// A panic while it was held has failed the test already.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher for Memory {
    fn publish(&self, message: Outgoing, _by: Instant) -> BoxFuture<'_, Result<(), NotPublished>> {
        ready(self.hand_over(message)).boxed()
    }

    fn hand_over(&self, message: Outgoing) -> Result<(), NotPublished> {
        let mut inner = self.inner();
        match &inner.failing {
            Some(failing) => Err(failing.clone()),
            None => {
                inner.published.push(message);
                Ok(())
            }
        }
    }
}

impl ReadStore for Memory {
    fn operation(&self, id: Uuid) -> BoxFuture<'_, Result<Option<OperationRow>, NotReadable>> {
        self.read(|inner| inner.operations.get(&id).cloned())
    }

    fn steps(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<StepRow>, NotReadable>> {
        self.read(|inner| inner.steps.get(&id).cloned().unwrap_or_default())
    }

    fn rows(&self, sql: &'static str, params: Vec<Param>) -> BoxFuture<'_, Result<Vec<Value>, NotReadable>> {
        self.read(|inner| {
            inner.questions.push((sql, params));
            inner.rows.get(sql).cloned().unwrap_or_default()
        })
    }

    fn applied(&self, _projection: &'static str) -> BoxFuture<'_, Result<Offsets, NotReadable>> {
        self.read(|inner| inner.applied)
    }
}

impl LogEnds for Memory {
    fn ends<'a>(&'a self, topics: &'a [&'static str]) -> BoxFuture<'a, Result<Vec<Offsets>, NotReadable>> {
        self.read(|inner| vec![inner.ends; topics.len()])
    }
}

/// A clock that stands at [`NOW_SECONDS`].
#[derive(Clone, Copy, Debug, Default)]
pub struct StandingClock;

impl Clock for StandingClock {
    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW_SECONDS.unsigned_abs())
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// What a façade needs, in memory.
///
/// # Panics
/// Never, as the defaults of the settings are good.
pub fn deps(memory: &Memory) -> Deps {
    let environment =
        [("DAYBOOK_AUTH__SHARED_SECRET", SECRET), ("DAYBOOK_HTTP__CORS_ORIGINS", "https://app.example.org")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let settings = Settings::load(&Sources::of(None, environment), &[]).expect("the defaults are good");
    let tokens = Tokens::new(&settings.auth, Arc::new(StandingClock)).expect("no key set is fetched");
    let metrics = Metrics::new().expect("a fresh registry takes them");
    Deps {
        publisher: Arc::new(memory.clone()),
        reads: Arc::new(memory.clone()),
        ends: Arc::new(memory.clone()),
        tokens: Arc::new(tokens),
        limits: limits(&settings.http),
        overload: Overload::default(),
        hasher: RequestHasher::new(SECRET.as_bytes()),
        wakes: Wakes::default(),
        metrics,
        clock: Arc::new(StandingClock),
        http: settings.http,
    }
}

/// Limits of these settings, counted in memory; time stands still.
///
/// # Panics
/// Never, as there is no Redis that could be refused.
pub fn limits(http: &settings::Http) -> Arc<RateLimits> {
    let metrics = Metrics::new().expect("a fresh registry takes them");
    let limits = RateLimits::new(http, None, Arc::new(StandingClock), &metrics);
    Arc::new(limits.expect("without Redis they are made"))
}

/// A vault with keys in memory.
///
/// # Panics
/// Never, as its key has the right form.
pub fn vault() -> Vault {
    let master = format!("test:{}=", "A".repeat(43));
    let masters = MasterKeys::parse(&[master]).expect("32 bytes in base64");
    Vault::new(masters, Arc::new(InMemoryKeyStore::default()), Arc::new(OsAmbient::default()))
}

/// What a good token for an hour says.
pub fn claims(sub: Uuid, org: Option<Uuid>, scope: &str) -> Claims {
    Claims {
        iss: "daybook".to_owned(),
        aud: "daybook".to_owned(),
        sub,
        org,
        scope: scope.to_owned(),
        iat: NOW_SECONDS,
        nbf: None,
        exp: NOW_SECONDS + 3_600,
    }
}

/// A good token for an hour.
///
/// # Panics
/// Never, as claims can be signed.
pub fn token(sub: Uuid, org: Option<Uuid>, scope: &str) -> String {
    mint(&claims(sub, org, scope), &Secret::new(SECRET.to_owned())).expect("claims can be signed")
}
