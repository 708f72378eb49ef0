//! Publishes to the brokers: all that waits for a broker in one request, over one connection, one request at a time.
//!
//! *2026-11: not librdkafka's producer.* It sends a request for each partition (confluentinc/librdkafka#1700). A step of a saga writes to
//! many partitions a little each, and what a request costs the broker and us hardly depends on what is in it: `docs/performance.md` has
//! the figures. To be replaced by librdkafka's when it does the same.
//!
//! While one request is under way, messages gather for the next, so there is no linger. A batch is sent until it is answered: what is sent
//! twice because an answer was lost is dropped by every reader, by its number or its id (`docs/runtime.md`), so brokers are not asked to
//! tell repetitions, too. A batch that a broker refuses takes what waits behind it in its partition with it, and nothing overtakes.

mod answers;
mod batch;
mod connection;
mod queues;
mod sending;

use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use crate::client::RECORD_BYTES_MAX;
use crate::{Delivered, Error, Position, Refusal, Settings};

pub use answers::read_answer;
pub(crate) use batch::Outbound;
use connection::Address;
pub(crate) use queues::TopicNo;
use queues::{Place, Queues, Woken};

/// Who waits for the acknowledgment of a message.
pub(crate) enum Ticket {
    /// A shard. The channel is unbounded; what is in it is bounded by what a shard may have unacknowledged.
    Shard { to: mpsc::UnboundedSender<Delivered>, delivered: Delivered },
    /// A request.
    Request(oneshot::Sender<Result<Position, Failure>>),
    /// A request that was handed over.
    Nobody,
}

/// Why a message that was taken is not known to be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Given up after the time that a request has. It may be in the log.
    Late,
    /// The brokers refuse it. It is not in the log.
    Refused(ResponseError),
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Too much waits, or nothing is sent any more.
    Later,
    /// It is larger than any topic takes.
    TooLarge,
}

/// A producer, shared by all who publish with the same bound of time. What it has not sent yet is gone when it is dropped.
pub(crate) struct Producer {
    shared: Arc<Shared>,
    /// Whether anybody sends.
    begun: Once,
    _ends: DropGuard,
}

/// What its tasks have in common with it.
struct Shared {
    /// Where to ask first.
    bootstrap: Vec<Address>,
    queues: Mutex<Queues>,
    /// Something waits for a broker that is not known.
    leaders_wanted: Notify,
    ended: CancellationToken,
}

impl Producer {
    /// Messages that are older than `age_max` are given up; without it, they are sent until they are answered. Does nothing until it is first
    /// given one.
    ///
    /// # Errors
    /// When the settings are refused.
    pub fn new(settings: &Settings, age_max: Option<Duration>) -> Result<Self, Error> {
        let bootstrap = settings.brokers.split(',').map(|text| address(text.trim())).collect::<Result<_, _>>()?;
        let ended = CancellationToken::new();
        let shared = Arc::new(Shared {
            bootstrap,
            queues: Mutex::new(Queues::new(age_max)),
            leaders_wanted: Notify::new(),
            ended: ended.clone(),
        });
        Ok(Self { shared, begun: Once::new(), _ends: ended.drop_guard() })
    }

    /// The number of a topic, by its name on the wire.
    pub fn topic(&self, wire: &str) -> TopicNo {
        self.shared.queues().number(wire)
    }

    /// Comes when nothing is sent any more. While somebody has the producer, that is because it failed.
    pub async fn ended(&self) {
        self.shared.ended.cancelled().await;
    }

    /// Takes messages. Who sends them is woken when this is dropped, so that what is published at once can go at once. They are sent from the
    /// runtime of the first caller.
    ///
    /// *2026-11: not from a thread of its own.* That one would send the first of what a batch publishes before the rest is there, and is
    /// woken for it: an eighth fewer messages at 128 sagas in flight.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the producer, and what fails in it is told to those who wait"
    )]
    pub fn publishing(&self) -> Publishing<'_> {
        self.begun.call_once(|| {
            tokio::spawn(sending::run(Arc::clone(&self.shared)));
        });
        let is_ended = self.shared.ended.is_cancelled();
        Publishing { shared: &self.shared, is_ended, now: Instant::now(), woken: Vec::new() }
    }
}

/// Takes messages.
pub(crate) struct Publishing<'a> {
    shared: &'a Shared,
    is_ended: bool,
    now: Instant,
    woken: Vec<Arc<Notify>>,
}

impl Publishing<'_> {
    /// Takes a message. Never blocks for long. The ticket is answered unless an error is.
    pub fn push(
        &mut self,
        topic: TopicNo,
        partition: u16,
        message: &Outbound<'_>,
        ticket: Ticket,
    ) -> Result<(), NotTaken> {
        if message.size() > RECORD_BYTES_MAX {
            return Err(NotTaken::TooLarge);
        }
        if self.is_ended {
            return Err(NotTaken::Later);
        }
        let woken = self.shared.queues().push(Place { topic, partition }, message, ticket, self.now)?;
        match woken {
            Woken::Nobody => {}
            Woken::WhoAsksForLeaders => self.shared.leaders_wanted.notify_one(),
            Woken::Broker(wake) => {
                if !self.woken.iter().any(|known| Arc::ptr_eq(known, &wake)) {
                    self.woken.push(wake);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.woken.iter().for_each(|wake| wake.notify_one());
    }
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, woken: Woken) {
        match woken {
            Woken::Nobody => {}
            Woken::Broker(wake) => wake.notify_one(),
            Woken::WhoAsksForLeaders => self.leaders_wanted.notify_one(),
        }
    }
}

impl Ticket {
    fn answer(self, outcome: Result<Position, Failure>) {
        match self {
            Self::Shard { to, delivered } => {
                let known = to.send(Delivered { ok: outcome.is_ok(), ..delivered });
                if known.is_err() {
                    // The part has ended; on its next start it publishes again what is not marked as published.
                    debug!("an acknowledgment came after its part had ended");
                }
            }
            Self::Nobody => {
                if let Err(failure) = outcome {
                    warn!(?failure, "a message that nobody waited for was not published");
                }
            }
            Self::Request(to) => {
                if to.send(outcome).is_err() {
                    debug!("an acknowledgment came after its request's deadline");
                }
            }
        }
    }
}

/// `host:port`; IPv6 addresses in brackets.
fn address(text: &str) -> Result<Address, Refusal> {
    let refused = || Refusal::Settings(format!("brokers: {text:?} is not host:port"));
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse().map_err(|_| refused())?;
    if host.is_empty() { Err(refused()) } else { Ok(Address { host, port }) }
}

#[cfg(test)]
mod tests {
    use daybook_events::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::headers::Envelope;

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        let told = |text| address(text).map(|address| (address.host, address.port));
        assert_eq!(told("kafka.example:9092"), Ok(("kafka.example".to_owned(), 9092)));
        assert_eq!(told("[::1]:9092"), Ok(("::1".to_owned(), 9092)));
        for wrong in ["kafka", ":9092", "kafka:", "kafka:70000", ""] {
            assert!(told(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn whoever_waits_hears_that_the_tasks_have_ended() {
        let settings = Settings { brokers: "127.0.0.1:1".to_owned(), ..Settings::default() };
        let producer = Producer::new(&settings, None).unwrap();
        let topic = producer.topic("learning.course.commands.v1");
        let envelope = Envelope {
            topic: "learning.course.commands.v1",
            source: "",
            type_name: "",
            message_id: Uuid::nil(),
            time: Timestamp(0),
            header: b"",
        };
        let message = Outbound { key: b"", value: b"", envelope };
        let (ticket, answer) = oneshot::channel();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let taken = first.block_on(async { producer.publishing().push(topic, 0, &message, Ticket::Request(ticket)) });
        assert_eq!(taken, Ok(()));
        drop(first);
        runtime().block_on(async {
            producer.ended().await;
            assert!(answer.await.is_err());
            let refused = producer.publishing().push(topic, 0, &message, Ticket::Nobody);
            assert_eq!(refused, Err(NotTaken::Later));
        });
    }
}
