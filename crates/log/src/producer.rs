//! A producer that is replaced when it fails for good.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, warn};

use crate::client::{RECORD_BYTES_MAX, base, forward_error, forward_log};
use crate::{Delivered, Error, Position, Refusal, Settings};

/// Messages and bytes that librdkafka holds for the brokers; beyond, publishers wait.
const QUEUE_MESSAGES_MAX: &str = "500000";
const QUEUE_KBYTES_MAX: &str = "131072";
/// How long acknowledgments are waited for at a time; a producer ends after at most so long.
const POLL: Duration = Duration::from_millis(500);

/// Settings of every producer: idempotent, acknowledged by all copies, no linger.
pub(crate) fn config(settings: &Settings) -> ClientConfig {
    let mut config = base(settings);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("compression.type", "none")
        // Explicit partitions everywhere; should one be missing, Java tools must agree.
        .set("partitioner", "murmur2_random")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "10000")
        .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
        .set("queue.buffering.max.messages", QUEUE_MESSAGES_MAX)
        .set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX);
    config
}

/// One message for librdkafka, which copies it.
pub(crate) struct Outbound<'a> {
    /// As the brokers know it.
    pub topic: &'a str,
    pub partition: u16,
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub headers: OwnedHeaders,
    pub time_ms: i64,
}

/// Who waits for the acknowledgment of a message.
pub(crate) enum Ticket {
    /// A shard. The channel is unbounded; what is in it is bounded by what a shard may have unacknowledged.
    Shard { to: mpsc::UnboundedSender<Delivered>, delivered: Delivered },
    /// A request.
    Request(oneshot::Sender<Result<Position, RDKafkaErrorCode>>),
    /// A request that was handed over.
    Nobody,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The queue is full, or the producer is being replaced. It will be taken later.
    Later,
    /// This message will never be taken.
    Never(RDKafkaErrorCode),
}

/// A producer, shared by all who publish with the same settings.
pub(crate) struct Handle {
    config: ClientConfig,
    current: RwLock<Option<Polled>>,
    /// Only one replaces.
    replacing: Mutex<()>,
    /// Counts failures for good, so that waiting publishers wake up and replace.
    broken: watch::Sender<u64>,
}

impl Handle {
    /// Does not wait for a connection.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        let broken = watch::Sender::new(0);
        let first = Polled::start(&config, &broken).map_err(|refused| Refusal::Settings(refused.to_string()))?;
        Ok(Self { config, current: RwLock::new(Some(first)), replacing: Mutex::new(()), broken })
    }

    /// Changes whenever the producer failed for good.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.broken.subscribe()
    }

    /// Hands a message over. Never blocks. The ticket is answered unless an error is.
    pub fn send(&self, message: Outbound<'_>, ticket: Ticket) -> Result<(), NotTaken> {
        let Ok(current) = self.current.try_read() else {
            return Err(NotTaken::Later);
        };
        let Some(producer) = current.as_ref() else {
            return Err(NotTaken::Later);
        };
        let record = BaseRecord::with_opaque_to(message.topic, Box::new(ticket))
            .partition(i32::from(message.partition))
            .key(message.key)
            .payload(message.value)
            .headers(message.headers)
            .timestamp(message.time_ms);
        match producer.inner.send(record) {
            Ok(()) => Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(NotTaken::Later),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::Fatal), _)) => {
                producer.deliveries().fail(&self.broken);
                Err(NotTaken::Later)
            }
            Err((KafkaError::MessageProduction(code), _)) => Err(NotTaken::Never(code)),
            Err(_) => Err(NotTaken::Never(RDKafkaErrorCode::InvalidArgument)),
        }
    }

    /// If the producer has failed for good, fails all that is under way and starts another.
    pub async fn replace_broken(self: &Arc<Self>) {
        let handle = Arc::clone(self);
        let replaced = tokio::task::spawn_blocking(move || handle.replace_blocking()).await;
        if replaced.is_err() {
            warn!("a failed producer was not replaced: the process ends");
        }
    }

    fn replace_blocking(&self) {
        let _only = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            match current.as_ref() {
                Some(producer) if !producer.deliveries().is_broken() => return,
                _ => current.take(),
            }
        };
        // The old one's messages are failed, and its connections closed, before a new one sends any.
        if let Some(old) = old {
            old.inner.purge(PurgeConfig::default().queue().inflight());
            drop(old);
        }
        match Polled::start(&self.config, &self.broken) {
            Ok(new) => {
                warn!("the producer failed for good and was replaced; what was under way is sent again");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(new);
            }
            Err(failed) => {
                error!(%failed, "a failed producer could not be replaced; trying again");
                self.broken.send_modify(|count| *count += 1);
            }
        }
    }
}

/// A producer and the thread that takes its acknowledgments.
///
/// *2026-11: not `ThreadedProducer`.* That one waits for 100 ms at a time, and as rdkafka tells librdkafka the time left in whole
/// milliseconds, rounded down, it spins through the last of them: half of what an idle platform costs.
struct Polled {
    inner: Arc<BaseProducer<Deliveries>>,
    is_ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Polled {
    fn start(config: &ClientConfig, broken: &watch::Sender<u64>) -> Result<Self, KafkaError> {
        let deliveries = Deliveries { failed: AtomicBool::new(false), broken: broken.clone() };
        let inner: Arc<BaseProducer<Deliveries>> = Arc::new(config.create_with_context(deliveries)?);
        let is_ending = Arc::new(AtomicBool::new(false));
        let (polled, ending) = (Arc::clone(&inner), Arc::clone(&is_ending));
        let poll = move || {
            while !ending.load(Ordering::Acquire) {
                polled.poll(POLL);
            }
        };
        let thread = thread::Builder::new().name("acknowledgments".to_owned()).spawn(poll);
        let thread = thread.map_err(|failed| KafkaError::ClientCreation(format!("no thread for it: {failed}")))?;
        Ok(Self { inner, is_ending, thread: Some(thread) })
    }

    fn deliveries(&self) -> &Deliveries {
        self.inner.client().context()
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the thread that takes acknowledgments panicked");
        }
    }
}

/// Takes acknowledgments to those who wait for them. Called on the producer's own thread, which it never blocks.
pub(crate) struct Deliveries {
    failed: AtomicBool,
    broken: watch::Sender<u64>,
}

impl Deliveries {
    fn is_broken(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn fail(&self, broken: &watch::Sender<u64>) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            broken.send_modify(|count| *count += 1);
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&error, reason);
        if error == KafkaError::Global(RDKafkaErrorCode::Fatal) {
            self.fail(&self.broken);
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let outcome = match result {
            Ok(message) => Ok(Position { partition: message.partition(), offset: message.offset() }),
            Err((KafkaError::MessageProduction(code), _)) => Err(*code),
            Err(_) => Err(RDKafkaErrorCode::Unknown),
        };
        match *ticket {
            Ticket::Shard { to, delivered } => {
                let known = to.send(Delivered { ok: outcome.is_ok(), ..delivered });
                if known.is_err() {
                    // The part has ended; on its next start it publishes again what is not marked as published.
                    tracing::debug!("an acknowledgment came after its part had ended");
                }
            }
            Ticket::Nobody => {
                if let Err(code) = outcome {
                    tracing::warn!(%code, "a message that nobody waited for was not published");
                }
            }
            Ticket::Request(to) => {
                if to.send(outcome).is_err() {
                    tracing::debug!("an acknowledgment came after its request's deadline");
                }
            }
        }
    }
}
