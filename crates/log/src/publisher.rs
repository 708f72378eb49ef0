//! Publishing for the shards of one part.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use daybook_engine::Outgoing;
use hashbrown::HashMap;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::error;

use crate::Settings;
use crate::client::sleep_until;
use crate::headers::{Envelope, source};
use crate::producer::{NotTaken, Outbound, Producer, Publishing, Ticket, TopicNo};

/// How soon a message is offered again after the queue was full.
const FULL_RETRY: Duration = Duration::from_millis(10);
/// How long a part publishes nothing after a message was refused outright (its topic is gone, say): the shard goes
/// back and would otherwise offer it again at once, for ever.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Of the part's input: which shard.
    pub partition: u16,
    pub attempt: u64,
    pub seq: u64,
    pub ok: bool,
}

/// Publishes what one part's shards have numbered, each shard's messages in the order in which they are handed over.
pub struct Publisher {
    settings: Settings,
    producer: Arc<Producer>,
    /// Name of the part.
    part: String,
    source: String,
    sender: mpsc::UnboundedSender<Delivered>,
    deliveries: mpsc::UnboundedReceiver<Delivered>,
    /// The producer's numbers of topics, so that no name is made anew for each message.
    topics: HashMap<Arc<str>, TopicNo>,
    /// Not yet taken by the producer; bounded by what the engine allows to be unacknowledged.
    pending: VecDeque<Pending>,
    retry_at: Option<Instant>,
}

struct Pending {
    partition: u16,
    attempt: u64,
    message: Arc<Outgoing>,
}

impl Publisher {
    pub(crate) fn new(settings: &Settings, producer: &Arc<Producer>, part: &str) -> Self {
        let (sender, deliveries) = mpsc::unbounded_channel();
        Self {
            settings: settings.clone(),
            producer: Arc::clone(producer),
            part: part.to_owned(),
            source: source(part),
            sender,
            deliveries,
            topics: HashMap::new(),
            pending: VecDeque::new(),
            retry_at: None,
        }
    }

    /// Publishes messages of the shard in this order. Never blocks: what the producer can't take yet waits here. A later
    /// attempt of a shard takes the place of what still waits of an earlier one.
    pub fn publish<M: Into<Arc<Outgoing>>>(
        &mut self,
        partition: u16,
        attempt: u64,
        messages: impl IntoIterator<Item = M>,
    ) {
        self.pending.retain(|waiting| waiting.partition != partition || waiting.attempt == attempt);
        for message in messages.into_iter().map(Into::<Arc<Outgoing>>::into) {
            if !self.topics.contains_key(&message.topic) {
                let number = self.producer.topic(&self.settings.wire(&message.topic));
                self.topics.insert(Arc::clone(&message.topic), number);
            }
            self.pending.push_back(Pending { partition, attempt, message });
        }
        self.offer();
    }

    /// Drops what still waits of a shard that is no longer ours.
    pub fn forget(&mut self, partition: u16) {
        self.pending.retain(|waiting| waiting.partition != partition);
    }

    /// How many messages the producer has not taken yet.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// The next acknowledgment, or failure. Also where waiting messages are offered again, so somebody must always be waiting here. May be
    /// canceled.
    ///
    /// # Panics
    /// When the producer failed, which ends the part, and with it the process.
    pub async fn next(&mut self) -> Delivered {
        loop {
            let retry_at = self.retry_at;
            tokio::select! {
                delivered = self.deliveries.recv() => {
                    let delivered = delivered.expect("this publisher holds a sender of its own channel");
                    self.look_at(delivered);
                    return delivered;
                }
                () = self.producer.ended() => panic!("nothing is published any more: the producer failed"),
                () = sleep_until(retry_at) => {
                    self.retry_at = None;
                    self.offer();
                }
            }
        }
    }

    /// Acknowledgments that are here already, at most `limit`.
    pub fn ready(&mut self, limit: usize) -> Vec<Delivered> {
        let ready: Vec<_> = std::iter::from_fn(|| self.deliveries.try_recv().ok()).take(limit).collect();
        ready.iter().for_each(|delivered| self.look_at(*delivered));
        ready
    }

    fn look_at(&mut self, delivered: Delivered) {
        if !delivered.ok {
            self.retry_at = Some(Instant::now() + REFUSED_RETRY);
        }
    }

    fn offer(&mut self) {
        if self.retry_at.is_some() {
            return;
        }
        let producer = Arc::clone(&self.producer);
        let mut publishing = producer.publishing();
        while let Some(next) = self.pending.front() {
            match self.push(next, &mut publishing) {
                Ok(()) => {
                    self.pending.pop_front();
                }
                Err(NotTaken::Later) => {
                    self.retry_at = Some(Instant::now() + FULL_RETRY);
                    return;
                }
                Err(NotTaken::TooLarge) => {
                    error!(
                        part = self.part, topic = %next.message.topic, partition = next.message.partition,
                        seq = next.message.seq, "a message is larger than the log takes"
                    );
                    self.retry_at = Some(Instant::now() + REFUSED_RETRY);
                    self.fail_front();
                    return;
                }
            }
        }
    }

    fn fail_front(&mut self) {
        if let Some(Pending { partition, attempt, message }) = self.pending.pop_front() {
            let failed = Delivered { partition, attempt, seq: message.seq, ok: false };
            self.sender.send(failed).expect("this publisher holds the receiver of its own channel");
        }
    }

    fn push(&self, pending: &Pending, publishing: &mut Publishing<'_>) -> Result<(), NotTaken> {
        let Pending { partition, attempt, message } = pending;
        let envelope = Envelope {
            topic: &message.topic,
            source: &self.source,
            type_name: &message.type_name,
            message_id: message.message_id,
            time: message.time,
            header: &message.header,
        };
        let outbound = Outbound { key: &message.key, value: &message.value, envelope };
        let topic = *self.topics.get(&message.topic).expect("noted when the message was handed over");
        let delivered = Delivered { partition: *partition, attempt: *attempt, seq: message.seq, ok: false };
        publishing.push(topic, message.partition, &outbound, Ticket::Shard { to: self.sender.clone(), delivered })
    }
}
