//! Load on the whole platform: paid enrollments over HTTP, each followed until its outcome stands in the book.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use daybook_bench::{Answer, Connection, Post};
use daybook_engine::Record;
use daybook_events::{HeaderRef, LearnerEnrolled, LearnerNotEnrolled, Message, Schemas, Timestamp, unframe};
use daybook_log::{Start, Tail};
use daybook_service::ids;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use http::StatusCode;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use uuid::Uuid;

use super::crowd::Crowd;
use super::platform::Platform;
use super::staff::{Staff, TOKEN_LIFETIME};
use crate::cli::token::signed;

const PATH: &str = "/api/v1/enrollments";
const SCOPES: &str = "enrollments:write enrollments:write-any";
/// Requests without an answer yet, in an open loop and in a closed one; beyond, the next ones wait. The API takes 256 connections: an
/// open loop comes with more, as a crowd does, and a closed one stays below.
const UNANSWERED_MAX: usize = 900;
const CLOSED_UNANSWERED_MAX: usize = 200;
/// How often an open loop looks what is due.
const TICK: Duration = Duration::from_millis(10);
/// How long all that was accepted may take to come to its end.
const FINISH_LIMIT: Duration = Duration::from_secs(300);
/// Before capacity is measured, and while it is. A broker's second compiler takes most of a minute of this load until it has done its work.
const WARM_UP: Duration = Duration::from_secs(60);
const SETTLING: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(15);
/// Enrollments under way while it is warmed up, and at first while capacity is measured; then twice as many, for as long as that brings so
/// much more: batches grow with what waits, and what a batch costs hardly grows with it.
const AT_ONCE_MIN: usize = 64;
const AT_ONCE_MAX: usize = 4_096;
const MORE: f64 = 1.1;
/// More than can be done while capacity is measured.
const CAPACITY_ENROLLMENTS: u64 = 200_000;

/// When the next request is sent.
#[derive(Clone, Debug)]
pub(super) enum Pace {
    /// When fewer than so many are under way; all by the first caller. The first refusal ends it: who asked again at once would close no loop.
    Closed(usize),
    /// So many a second of each caller, however many are under way.
    Open(Vec<f64>),
}

/// An enrollment that has come to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) caller: usize,
    /// From sending the request until the outcome was seen in the book, in ms.
    pub(super) took_ms: f64,
}

/// What became of the requests of one caller.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// Neither: the platform, or what it stands on, was away.
    pub(super) failed: u64,
    pub(super) retry_after_max_s: u64,
}

/// Sends, and follows.
pub(super) struct Enrolling {
    crowd: Crowd,
    address: SocketAddr,
    callers: Vec<Arc<str>>,
    tail: Tail,
    schemas: [u32; 2],
    idle: Vec<Connection>,
    asked: FuturesUnordered<BoxFuture<'static, Asked>>,
    accepted: HashMap<Uuid, Sent>,
    /// Outcomes that were seen before the answer to their request.
    early: HashMap<Uuid, Instant>,
    pub(super) ended: Vec<Ended>,
    pub(super) answers: Vec<Answers>,
}

#[derive(Clone, Copy)]
struct Sent {
    caller: usize,
    at: Instant,
}

struct Asked {
    sent: Sent,
    result: Result<(Connection, Answer)>,
}

impl Enrolling {
    /// So many callers; nobody has enrolled yet.
    ///
    /// # Errors
    /// When the platform does not take what has to be there before.
    pub(super) async fn new(platform: &Platform, callers: usize) -> Result<Self> {
        let settings = platform.settings()?;
        let log = platform.log().await?;
        let schema = |name| log.registry().id_of(name).context("a schema is not registered");
        let token = |_| Ok(signed(&settings, ids::random(), None, SCOPES, TOKEN_LIFETIME)?.into());
        Ok(Self {
            crowd: Crowd::new(Staff::new(&settings)?).await?,
            address: settings.http.listen,
            callers: (0..callers).map(token).collect::<Result<_>>()?,
            schemas: [schema(LearnerEnrolled::FULL_NAME)?, schema(LearnerNotEnrolled::FULL_NAME)?],
            tail: log.tail(LearnerEnrolled::TOPIC, Start::End, true).await?,
            idle: Vec::new(),
            asked: FuturesUnordered::new(),
            accepted: HashMap::new(),
            early: HashMap::new(),
            ended: Vec::new(),
            answers: vec![Answers::default(); callers],
        })
    }

    /// Enrollments a second that the platform completes at most while none is refused and none fails.
    ///
    /// # Errors
    /// As [`Enrolling::run`]; also when that is so with the fewest under way.
    pub(super) async fn capacity(&mut self) -> Result<f64> {
        self.provide(CAPACITY_ENROLLMENTS).await?;
        let warm_at = Instant::now() + WARM_UP;
        // What is refused meanwhile is refused by a platform that is not warm.
        while Instant::now() < warm_at {
            self.rate_of(AT_ONCE_MIN, SETTLING).await?;
        }
        let (mut at_once, mut best) = (AT_ONCE_MIN, 0.0);
        while at_once <= AT_ONCE_MAX {
            self.rate_of(at_once, SETTLING).await?;
            let Some(per_s) = self.rate_of(at_once, MEASURED).await? else { break };
            let is_more = per_s > best * MORE;
            best = per_s.max(best);
            if !is_more {
                break;
            }
            at_once *= 2;
        }
        self.finish().await?;
        self.ended.clear();
        self.answers[0] = Answers::default();
        ensure!(
            best > 0.0,
            "capacity cannot be measured: with {AT_ONCE_MIN} enrollments under way some are refused or fail"
        );
        Ok(best)
    }

    /// Enrollments a second with so many under way. `None`: some were refused, or failed.
    async fn rate_of(&mut self, at_once: usize, duration: Duration) -> Result<Option<f64>> {
        self.ended.clear();
        let begun = Instant::now();
        self.run(&Pace::Closed(at_once), duration).await?;
        let per_s = self.ended.len() as f64 / begun.elapsed().as_secs_f64();
        let Answers { refused, failed, .. } = std::mem::take(&mut self.answers[0]);
        Ok((refused + failed == 0).then_some(per_s))
    }

    /// Makes room for so many enrollments.
    ///
    /// # Errors
    /// When the API refuses.
    pub(super) async fn provide(&mut self, enrollments: u64) -> Result<()> {
        self.crowd.provide(enrollments).await
    }

    /// Sends for so long.
    ///
    /// # Errors
    /// When a request is answered otherwise than with 202, 429 or a failure of the server, or an enrollment was refused.
    pub(super) async fn run(&mut self, pace: &Pace, duration: Duration) -> Result<()> {
        self.until(pace, Instant::now() + duration, |_| false).await.map(drop)
    }

    /// Sends until a record made after `moment` comes into the book, at most so long.
    ///
    /// # Errors
    /// Also when none comes.
    pub(super) async fn run_until_made_after(
        &mut self,
        pace: &Pace,
        moment: Timestamp,
        limit: Duration,
    ) -> Result<Instant> {
        let seen = self.until(pace, Instant::now() + limit, |header| header.time > moment).await?;
        seen.with_context(|| format!("nothing was applied for {} s", limit.as_secs()))
    }

    /// Sends nothing more, and waits for all that was accepted.
    ///
    /// # Errors
    /// When something does not come to its end.
    pub(super) async fn finish(&mut self) -> Result<()> {
        let until = Instant::now() + FINISH_LIMIT;
        while self.under_way() > 0 {
            let event = timeout_at(until, self.one_event()).await;
            event.with_context(|| format!("{} enrollments do not come to their end", self.under_way()))??;
        }
        Ok(())
    }

    /// Enrollments that are not at their end.
    pub(super) fn under_way(&self) -> usize {
        self.asked.len() + self.accepted.len()
    }

    async fn until(
        &mut self,
        pace: &Pace,
        until: Instant,
        is_it: impl Fn(&HeaderRef<'_>) -> bool,
    ) -> Result<Option<Instant>> {
        let begun = Instant::now();
        let mut sent = vec![0; self.callers.len()];
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.send_due(pace, begun, &mut sent)?;
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(None),
                _ = ticks.tick() => {}
                record = self.one_event() => {
                    let Some(record) = record? else { continue };
                    if is_it(&header_of(&record)?) {
                        return Ok(Some(Instant::now()));
                    }
                }
            }
        }
    }

    /// Sends what is due by now; `sent` counts each caller's since `begun`.
    fn send_due(&mut self, pace: &Pace, begun: Instant, sent: &mut [u64]) -> Result<()> {
        match pace {
            Pace::Closed(at_once) => {
                let room = at_once.saturating_sub(self.accepted.len());
                while self.asked.len() < room.min(CLOSED_UNANSWERED_MAX) && self.answers[0].refused == 0 {
                    self.send(0)?;
                }
            }
            Pace::Open(rates) => {
                for (caller, rate) in rates.iter().enumerate() {
                    let due = (begun.elapsed().as_secs_f64() * rate) as u64;
                    while sent[caller] < due && self.asked.len() < UNANSWERED_MAX {
                        self.send(caller)?;
                        sent[caller] += 1;
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, caller: usize) -> Result<()> {
        let post = Post {
            path: PATH,
            token: Some(Arc::clone(&self.callers[caller])),
            idempotency_key: ids::random(),
            body: self.crowd.next()?,
        };
        self.idle.retain(Connection::is_fresh);
        let (idle, address) = (self.idle.pop(), self.address);
        let sent = Sent { caller, at: Instant::now() };
        self.asked.push(Box::pin(async move {
            let exchange = async {
                let mut connection = match idle {
                    Some(connection) => connection,
                    None => Connection::open(address).await?,
                };
                let answer = connection.post(post).await?;
                Ok((connection, answer))
            };
            Asked { sent, result: exchange.await }
        }));
        Ok(())
    }

    /// Waits for an answer, or for a record of the saga's events, which is handed back.
    async fn one_event(&mut self) -> Result<Option<Record>> {
        tokio::select! {
            Some(asked) = self.asked.next(), if !self.asked.is_empty() => self.answered(asked).map(|()| None),
            record = self.tail.next_raw() => {
                let record = record?.context("a followed topic has no end")?;
                self.seen(&record)?;
                Ok(Some(record))
            }
        }
    }

    fn answered(&mut self, Asked { sent, result }: Asked) -> Result<()> {
        let answers = &mut self.answers[sent.caller];
        let Ok((connection, answer)) = result else {
            // A connection that breaks tells nothing of the command: who counts failures will see it.
            answers.failed += 1;
            return Ok(());
        };
        self.idle.push(connection);
        match answer.status {
            StatusCode::ACCEPTED => {
                answers.accepted += 1;
                let operation = operation_of(&answer)?;
                match self.early.remove(&operation) {
                    Some(at) => self.ended.push(ended(sent, at)),
                    None => drop(self.accepted.insert(operation, sent)),
                }
            }
            StatusCode::TOO_MANY_REQUESTS => {
                answers.refused += 1;
                let retry_after = answer.retry_after_s.context("429 without Retry-After")?;
                answers.retry_after_max_s = answers.retry_after_max_s.max(retry_after);
            }
            status if status.is_server_error() => answers.failed += 1,
            status => bail!("{PATH}: {status}: {}", String::from_utf8_lossy(&answer.body)),
        }
        Ok(())
    }

    fn seen(&mut self, record: &Record) -> Result<()> {
        let (schema, _) = unframe(record.value.as_deref().unwrap_or_default())?;
        let [enrolled, not_enrolled] = self.schemas;
        ensure!(schema != not_enrolled, "an enrollment was refused");
        if schema == enrolled {
            let operation = header_of(record)?.correlation_id;
            match self.accepted.remove(&operation) {
                Some(sent) => self.ended.push(ended(sent, Instant::now())),
                None => drop(self.early.insert(operation, Instant::now())),
            }
        }
        Ok(())
    }
}

fn ended(sent: Sent, at: Instant) -> Ended {
    Ended { caller: sent.caller, took_ms: at.duration_since(sent.at).as_secs_f64() * 1_000.0 }
}

fn header_of(record: &Record) -> Result<HeaderRef<'_>> {
    Ok(HeaderRef::decode(record.header.as_deref().context("a record without a header")?)?)
}

/// The operation, which is named as the command and as all that it leads to.
fn operation_of(answer: &Answer) -> Result<Uuid> {
    let location = answer.location.as_deref().context("an accepted command has no Location")?;
    let (_, id) = location.rsplit_once('/').context("a Location without an id")?;
    Ok(id.parse()?)
}
