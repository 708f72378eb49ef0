//! One request after the other: keys, faults, the decision, the log, the answer.

use crate::answer::{asked, error_answer, raw, refusal, show};
use crate::books::Books;
use crate::clock::Clock;
use crate::decide::{self, Command, Context, Decision, Fees};
use crate::error::ApiError;
use crate::faults::{Fault, Faults, Operation, Plan, Wish};
use crate::ids::{Ids, Random};
use crate::keys::{Admission, Fingerprint, Keys};
use crate::stats::Stats;
use crate::store::{self, Commit, DeliveryNote, KeptAnswer, Opened, QueuedEvent, Span, Store};
use crate::webhooks::{self, Job, Queue};
use crate::wire::{self, Expand};
use serde_json::Value;
use serde_json::value::RawValue;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// How long an answer waits for a webhook that is to come first.
const EARLY_WEBHOOK_WAIT: Duration = Duration::from_secs(10);

/// What the control routes can change while the process runs. A restart starts from the configuration again.
#[derive(Clone, Debug)]
pub struct Settings {
    pub faults: Faults,
    pub key_lifetime_ms: u64,
    pub fees: Fees,
}

/// A validated request that changes something.
pub struct Call {
    /// `None` for the control routes, which no fault strikes.
    pub operation: Option<Operation>,
    pub command: Command,
    pub key: Option<String>,
    pub fingerprint: Fingerprint,
    pub wishes: Vec<Wish>,
    pub expand: Expand,
    pub request_id: String,
}

/// What goes back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
    /// For a replayed answer: the request that it was first given to.
    pub original_request: Option<String>,
    /// Close the connection instead of answering.
    pub hang_up: bool,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Reply {
        Reply { status, body: body.to_string(), original_request: None, hang_up: false }
    }

    pub fn error(error: &ApiError) -> Reply {
        Reply::json(error.status, &error.body())
    }
}

struct Core {
    books: Books,
    ids: Ids,
    request_ids: Ids,
    keys: Keys,
    queue: Queue,
    settings: Settings,
    random: Random,
    stats: Stats,
}

impl Core {
    /// Folds a commit of the log into the state.
    fn absorb(&mut self, commit: &Commit, span: Span) {
        for fact in &commit.facts {
            self.books.apply(commit.at_ms / 1_000, fact);
        }
        if let Some(answer) = &commit.answer {
            self.keys.answered(&answer.key, answer.fingerprint.clone(), span, commit.at_ms);
        }
        for event in &commit.events {
            self.queue.push(event.number, &event.intent, event.held, span, commit.at_ms);
        }
        match &commit.delivery {
            Some(DeliveryNote { number, attempts, next_at_ms: Some(at_ms) }) => {
                self.queue.retry(*number, *attempts, *at_ms);
            }
            Some(DeliveryNote { number, next_at_ms: None, .. }) => self.queue.settle(*number, commit.at_ms),
            None => {}
        }
    }
}

/// The provider: its state in memory, its log on disk.
pub struct Provider {
    core: Mutex<Core>,
    store: Store,
    clock: Arc<dyn Clock>,
    sends_webhooks: bool,
    queued: Notify,
    attempted: Notify,
}

/// What was done under the lock; not yet durable.
struct Done {
    status: u16,
    body: Box<RawValue>,
    webhooks: Vec<u64>,
}

impl Provider {
    /// Opens the log and rebuilds the state from it. `fresh_seed` seeds the ids of a new log, and of requests.
    ///
    /// # Errors
    /// The log can't be opened, or is damaged.
    pub fn open(
        folder: &Path,
        settings: Settings,
        sends_webhooks: bool,
        clock: Arc<dyn Clock>,
        fresh_seed: u64,
    ) -> Result<Provider, store::Error> {
        let mut core = Core {
            books: Books::default(),
            ids: Ids::resume(0, 0),
            request_ids: Ids::resume(fresh_seed, 0),
            keys: Keys::default(),
            queue: Queue::default(),
            random: Random::seeded(settings.faults.seed),
            settings,
            stats: Stats::default(),
        };
        let mut issued = 0;
        let Opened { store, id_seed } = Store::open(folder, fresh_seed, |commit, span| {
            issued = commit.ids;
            core.absorb(&commit, span);
        })?;
        core.ids = Ids::resume(id_seed, issued);
        Ok(Provider {
            core: Mutex::new(core),
            store,
            clock,
            sends_webhooks,
            queued: Notify::new(),
            attempted: Notify::new(),
        })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().expect("no holder of this lock panics")
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub fn next_request_id(&self) -> String {
        self.core().request_ids.next("req")
    }

    /// Whether new work can be taken: the log is fine, and no request died halfway.
    pub fn is_ready(&self) -> bool {
        !self.core.is_poisoned() && self.store.is_writable()
    }

    /// Waits until the disk refuses something: then the process must end, since its memory is ahead of its log.
    pub async fn failed(&self) {
        self.store.failed().await;
    }

    /// Carries out a request that changes something. Must be run to its end, even if the caller has gone.
    pub async fn run(&self, call: Call) -> Reply {
        let struck = match self.admit(&call) {
            Admission::Go { struck } => struck,
            Admission::Replay(span) => return self.replay(span).await,
            Admission::InUse => return Reply::error(&ApiError::key_in_use()),
            Admission::Reused => return Reply::error(&ApiError::key_reused()),
        };
        let reply = self.execute(&call, struck).await;
        if let Some(key) = &call.key {
            self.core().keys.release(key);
        }
        reply
    }

    fn admit(&self, call: &Call) -> Admission {
        let now_ms = self.now_ms();
        let core = &mut *self.core();
        let Some(key) = &call.key else { return Admission::Go { struck: false } };
        let admission = core.keys.admit(key, &call.fingerprint, now_ms, core.settings.key_lifetime_ms);
        match admission {
            Admission::Replay(_) => core.stats.replays += 1,
            Admission::InUse => core.stats.keys_in_use += 1,
            Admission::Reused => core.stats.keys_reused += 1,
            Admission::Go { .. } => {}
        }
        admission
    }

    async fn replay(&self, span: Span) -> Reply {
        if let Err(error) = self.store.settled().await {
            return Reply::error(&error);
        }
        match self.store.read(span).map(|commit| commit.answer) {
            Ok(Some(answer)) => Reply {
                status: answer.status,
                body: answer.body.get().to_owned(),
                original_request: Some(answer.request_id),
                hang_up: false,
            },
            Ok(None) => Reply::error(&ApiError::internal()),
            Err(error) => {
                tracing::error!(%error, "a kept answer cannot be read from the log");
                Reply::error(&ApiError::internal())
            }
        }
    }

    async fn execute(&self, call: &Call, struck: bool) -> Reply {
        let (plan, latency_ms) = self.plan(call, struck);
        if plan.has(Fault::Slow) {
            tokio::time::sleep(Duration::from_millis(latency_ms)).await;
        }
        if let Some(error) = refusal(&plan) {
            if let Some(key) = &call.key {
                let now_ms = self.now_ms();
                self.core().keys.struck(key, now_ms);
            }
            return Reply::error(&error);
        }
        if !self.store.is_writable() {
            return Reply::error(&ApiError::store_failed());
        }
        let done = self.commit(call, &plan);
        self.queued.notify_one();
        if let Err(error) = self.store.settled().await {
            return Reply::error(&error);
        }
        if plan.has(Fault::WebhookEarly) || plan.has(Fault::WebhookOnly) {
            self.wait_for_attempts(&done.webhooks).await;
        }
        Reply {
            status: done.status,
            body: done.body.get().to_owned(),
            original_request: None,
            hang_up: plan.has(Fault::DropAnswer) || plan.has(Fault::WebhookOnly),
        }
    }

    /// The faults that strike a call: those asked for, if any, else one by chance.
    fn plan(&self, call: &Call, struck: bool) -> (Plan, u64) {
        let core = &mut *self.core();
        let plan = match call.operation {
            None => Plan::default(),
            Some(_) if struck => Plan::default(),
            Some(operation) => match asked(&core.books, call, operation) {
                asked if asked.is_empty() => core.settings.faults.draw(&mut core.random),
                asked => asked,
            },
        };
        core.stats.count_faults(&plan);
        let latency_ms = plan.latency_ms(core.settings.faults.latency_ms);
        (plan, latency_ms)
    }

    /// Decides, applies and appends, all under the lock: the log has the order in which things happened.
    fn commit(&self, call: &Call, plan: &Plan) -> Done {
        let now_ms = self.now_ms();
        let core = &mut *self.core();
        let mut cx = Context {
            ids: &mut core.ids,
            now_s: now_ms / 1_000,
            fees: core.settings.fees,
            decline: plan.has(Fault::Decline),
        };
        let (facts, shown) = match decide::decide(&core.books, &call.command, &mut cx) {
            Ok(Decision { facts, shown }) => (facts, Ok(shown)),
            Err(refusal) => (Vec::new(), Err(refusal)),
        };
        for fact in &facts {
            core.books.apply(now_ms / 1_000, fact);
        }
        let (status, body) = match shown {
            _ if plan.has(Fault::FailAfter) => error_answer(&ApiError::internal()),
            Ok(shown) => show(&core.books, shown, &call.expand),
            Err(refusal) => error_answer(&refusal),
        };
        let body = raw(&body);
        let mut commit = Commit { at_ms: now_ms, ids: 0, facts, answer: None, events: Vec::new(), delivery: None };
        if self.sends_webhooks {
            commit.events = events(core, &commit, call, plan);
        }
        if let Some(key) = call.key.as_ref().filter(|_| !plan.has(Fault::ForgetKey)) {
            commit.answer = Some(KeptAnswer {
                key: key.clone(),
                fingerprint: call.fingerprint.clone(),
                request_id: call.request_id.clone(),
                status,
                body: body.clone(),
            });
        }
        commit.ids = core.ids.issued();
        self.append(core, call, &commit);
        Done { status, body, webhooks: commit.events.iter().map(|event| event.number).collect() }
    }

    /// Appends what was already applied to the books, and remembers the rest.
    fn append(&self, core: &mut Core, call: &Call, commit: &Commit) {
        if !commit.facts.is_empty() || commit.answer.is_some() {
            let span = self.store.append(commit);
            for event in &commit.events {
                core.queue.push(event.number, &event.intent, event.held, span, commit.at_ms);
            }
            if let Some(answer) = &commit.answer {
                core.keys.answered(&answer.key, answer.fingerprint.clone(), span, commit.at_ms);
            }
        }
        if let (Some(key), None) = (&call.key, &commit.answer) {
            core.keys.struck(key, commit.at_ms);
        }
    }

    async fn wait_for_attempts(&self, webhooks: &[u64]) {
        let all_attempted = async {
            loop {
                let attempted = self.attempted.notified();
                if webhooks.iter().all(|number| self.core().queue.was_attempted(*number)) {
                    return;
                }
                attempted.await;
            }
        };
        if tokio::time::timeout(EARLY_WEBHOOK_WAIT, all_attempted).await.is_err() {
            tracing::warn!("a webhook that was to come first did not get through in time");
        }
    }

    /// Answers a request that only reads. What it shows is durable before it is shown.
    pub async fn read(&self, wish: Option<&Wish>, look: impl FnOnce(&Books) -> Result<Value, ApiError>) -> Reply {
        let (plan, latency_ms) = {
            let core = &mut *self.core();
            let asked = wish.map(|wish| wish.for_carrier(None)).unwrap_or_default();
            let plan = if asked.is_empty() { core.settings.faults.draw(&mut core.random) } else { asked }.for_reads();
            core.stats.count_faults(&plan);
            let latency_ms = plan.latency_ms(core.settings.faults.latency_ms);
            (plan, latency_ms)
        };
        if plan.has(Fault::Slow) {
            tokio::time::sleep(Duration::from_millis(latency_ms)).await;
        }
        if let Some(error) = refusal(&plan) {
            return Reply::error(&error);
        }
        let mut reply = self.look(look).await;
        reply.hang_up = plan.has(Fault::DropAnswer);
        reply
    }

    /// Reads without any fault.
    pub async fn look(&self, look: impl FnOnce(&Books) -> Result<Value, ApiError>) -> Reply {
        let seen = look(&self.core().books);
        match (seen, self.store.settled().await) {
            (Ok(value), Ok(())) => Reply::json(200, &value),
            (Err(error), _) | (_, Err(error)) => Reply::error(&error),
        }
    }

    pub fn settings(&self) -> Settings {
        self.core().settings.clone()
    }

    /// Changes the settings, and starts the dice again from the seed.
    pub fn change_settings(&self, settings: Settings) {
        let core = &mut *self.core();
        core.random = Random::seeded(settings.faults.seed);
        core.settings = settings;
    }

    /// Counts an answered request.
    pub fn count_answer(&self, status: u16) {
        self.core().stats.count_answer(status);
    }

    pub fn stats(&self) -> Stats {
        let core = self.core();
        let mut stats = core.stats.clone();
        stats.webhooks.pending = core.queue.len();
        stats.log_syncs = self.store.syncs();
        stats
    }

    pub fn take_due_webhook(&self) -> Option<Job> {
        let now_ms = self.now_ms();
        self.core().queue.take_due(now_ms)
    }

    pub fn until_next_webhook(&self) -> Option<Duration> {
        let due_ms = self.core().queue.next_due_ms()?;
        Some(Duration::from_millis(due_ms.saturating_sub(self.now_ms())))
    }

    /// Waits until a webhook is queued.
    pub async fn webhook_queued(&self) {
        self.queued.notified().await;
    }

    /// The payload of a webhook, once the commit that holds it is durable.
    ///
    /// # Errors
    /// The log can't be written or read.
    pub async fn webhook_payload(&self, job: &Job) -> Result<String, store::Error> {
        let unwritten = || store::Error::Io(std::io::Error::other("the log cannot be written"));
        self.store.settled().await.map_err(|_| unwritten())?;
        let commit = self.store.read(job.span)?;
        let event = commit.events.into_iter().find(|event| event.number == job.number);
        event.map(|event| event.payload.get().to_owned()).ok_or(store::Error::Damaged { offset: job.span.offset })
    }

    /// Notes in the log what became of an attempt. Lost with a crash, it is made again.
    pub fn note_delivery(&self, job: &Job, delivered: bool) {
        let now_ms = self.now_ms();
        let core = &mut *self.core();
        let attempts = job.attempts + 1;
        let next_at_ms = if delivered { None } else { webhooks::backoff_ms(attempts).map(|wait_ms| now_ms + wait_ms) };
        core.stats.count_delivery(delivered, next_at_ms.is_some());
        if !delivered && next_at_ms.is_none() {
            tracing::warn!(number = job.number, attempts, "a webhook was given up");
        }
        let commit = Commit {
            at_ms: now_ms,
            ids: core.ids.issued(),
            facts: Vec::new(),
            answer: None,
            events: Vec::new(),
            delivery: Some(DeliveryNote { number: job.number, attempts, next_at_ms }),
        };
        let span = self.store.append(&commit);
        core.absorb(&commit, span);
        self.attempted.notify_waiters();
        self.queued.notify_one();
    }
}

/// The webhooks of a commit whose facts are applied.
fn events(core: &mut Core, commit: &Commit, call: &Call, plan: &Plan) -> Vec<QueuedEvent> {
    let copies = if plan.has(Fault::WebhookTwice) { 2 } else { 1 };
    let mut events = Vec::new();
    for notice in commit.facts.iter().filter_map(|fact| wire::notice(&core.books, fact)) {
        let id = core.ids.next("evt");
        let payload = wire::event(&id, commit.at_ms / 1_000, &notice, &call.request_id, call.key.as_deref());
        let payload = raw(&payload);
        for _ in 0..copies {
            core.stats.webhooks.queued += 1;
            events.push(QueuedEvent {
                number: core.queue.next_number(),
                intent: notice.intent.clone(),
                held: plan.has(Fault::WebhookOutOfOrder),
                payload: payload.clone(),
            });
        }
    }
    events
}
