//! What waits for the brokers, and what becomes of it: without a connection and without a clock of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::Notify;

use crate::Position;
use crate::producer::batch::{Batch, Outbound};
use crate::producer::{NotTaken, Ticket};

/// Messages that wait or are under way at most; beyond, publishers wait.
const MESSAGES_MAX: usize = 500_000;
/// Their bytes, likewise.
const BYTES_MAX: usize = 128 << 20;
/// Bytes of a batch at which another one is begun: some less than what a topic takes unless it is told otherwise.
const BATCH_BYTES_MAX: usize = 1_000_000;
/// Bytes of a request, likewise.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// How long a topic may be unknown to the brokers, as one is that was made just now, before its messages are refused.
const UNKNOWN_MAX: Duration = Duration::from_secs(10);

/// A topic, as the queues number them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicNo(usize);

/// One partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub topic: TopicNo,
    pub partition: u16,
}

/// A broker's id.
pub(crate) type BrokerId = i32;

/// A batch that a request carries.
pub(crate) struct Taken {
    pub place: Place,
    pub topic: TopicName,
    pub batch: Batch,
}

/// What the brokers say of a topic.
pub(crate) enum Seen {
    /// The leaders of its partitions, where there are any.
    Leaders(BTreeMap<u16, BrokerId>),
    /// Nothing that lasts.
    Passing,
    Unknown,
    Refused(ResponseError),
}

struct Topic {
    name: TopicName,
    /// By partition.
    queues: Vec<Queue>,
    unknown_since: Option<Instant>,
}

#[derive(Default)]
struct Queue {
    leader: Option<BrokerId>,
    waiting: VecDeque<Batch>,
    /// A request carries its first messages.
    is_under_way: bool,
    /// Stands in its leader's list.
    is_listed: bool,
}

/// What a broker has to be sent.
#[derive(Default)]
struct Leads {
    /// Partitions with something to send, in turns.
    places: VecDeque<Place>,
    wake: Arc<Notify>,
}

/// All that waits, by partition and by the broker that leads it. A partition has one batch under way at a time, which is what keeps order.
#[derive(Default)]
pub(crate) struct Queues {
    topics: Vec<Topic>,
    numbers: HashMap<String, TopicNo>,
    brokers: HashMap<BrokerId, Leads>,
    messages: usize,
    bytes: usize,
    scratch: Vec<u8>,
    /// Older ones are given up.
    age_max: Option<Duration>,
}

impl Queues {
    pub fn new(age_max: Option<Duration>) -> Self {
        Self { age_max, ..Self::default() }
    }

    /// The number of a topic, which it keeps.
    pub fn number(&mut self, wire: &str) -> TopicNo {
        if let Some(number) = self.numbers.get(wire) {
            return *number;
        }
        let number = TopicNo(self.topics.len());
        let name = TopicName(StrBytes::from_string(wire.to_owned()));
        self.topics.push(Topic { name, queues: Vec::new(), unknown_since: None });
        self.numbers.insert(wire.to_owned(), number);
        number
    }

    /// Puts a message behind those of its partition. Answers who is to be woken.
    ///
    /// # Errors
    /// When too much waits.
    pub fn push(
        &mut self,
        place: Place,
        message: &Outbound<'_>,
        ticket: Ticket,
        now: Instant,
    ) -> Result<Woken, NotTaken> {
        if self.messages >= MESSAGES_MAX || self.bytes >= BYTES_MAX {
            return Err(NotTaken::Later);
        }
        let queues = &mut self.topics[place.topic.0].queues;
        let index = usize::from(place.partition);
        if queues.len() <= index {
            queues.resize_with(index + 1, Queue::default);
        }
        let queue = &mut queues[index];
        let has_room = |batch: &&mut Batch| batch.is_open() && batch.len() + message.value.len() < BATCH_BYTES_MAX;
        let before = match queue.waiting.back_mut().filter(has_room) {
            Some(open) => open.len(),
            None => {
                queue.waiting.push_back(Batch::new(now));
                0
            }
        };
        let open = queue.waiting.back_mut().expect("there is one, or one was begun");
        open.push(message, ticket, &mut self.scratch);
        self.bytes += open.len() - before;
        self.messages += 1;
        Ok(self.listed(place))
    }

    /// Sees to it that a partition with something to send stands in its leader's list.
    fn listed(&mut self, place: Place) -> Woken {
        let queue = &mut self.topics[place.topic.0].queues[usize::from(place.partition)];
        if queue.is_listed || queue.is_under_way || queue.waiting.is_empty() {
            return Woken::Nobody;
        }
        let Some(leader) = queue.leader else {
            return Woken::WhoAsksForLeaders;
        };
        queue.is_listed = true;
        let leads = self.brokers.entry(leader).or_default();
        leads.places.push_back(place);
        Woken::Broker(Arc::clone(&leads.wake))
    }

    /// What wakes the one who sends to this broker.
    pub fn wake_of(&mut self, broker: BrokerId) -> Arc<Notify> {
        Arc::clone(&self.brokers.entry(broker).or_default().wake)
    }

    /// Takes what goes to a broker in one request, and what has become too old for one.
    pub fn take(&mut self, broker: BrokerId, now: Instant) -> (Vec<Taken>, Vec<Batch>) {
        let (mut taken, mut old, mut bytes) = (Vec::new(), Vec::new(), 0);
        let Some(leads) = self.brokers.get_mut(&broker) else {
            return (taken, old);
        };
        while bytes < REQUEST_BYTES_MAX
            && let Some(place) = leads.places.pop_front()
        {
            let topic = &mut self.topics[place.topic.0];
            let queue = &mut topic.queues[usize::from(place.partition)];
            queue.is_listed = false;
            old.extend(queue.too_old(now, self.age_max));
            if let Some(batch) = queue.waiting.pop_front() {
                bytes += batch.len();
                queue.is_under_way = true;
                taken.push(Taken { place, topic: topic.name.clone(), batch });
            }
        }
        self.gone(&old);
        (taken, old)
    }

    /// A request has come to its end for this batch. Answers what to tell whom, and who is to be woken.
    pub fn answered(&mut self, taken: Taken, answer: Result<i64, ResponseError>) -> (Vec<(Batch, Told)>, Woken) {
        let Taken { place, batch, .. } = taken;
        let queue = &mut self.topics[place.topic.0].queues[usize::from(place.partition)];
        queue.is_under_way = false;
        let told = match answer {
            Ok(offset) => vec![(batch, Ok(Position { partition: i32::from(place.partition), offset }))],
            Err(passing) if passing.is_retriable() => {
                // Whatever it is, whoever asks for the leader again also waits a moment.
                queue.leader = None;
                queue.waiting.push_front(batch);
                Vec::new()
            }
            // What comes after it in its partition must not overtake it.
            Err(refused) => std::iter::once(batch).chain(queue.drain()).map(|batch| (batch, Err(refused))).collect(),
        };
        told.iter().for_each(|(batch, _)| self.gone(std::slice::from_ref(batch)));
        (told, self.listed(place))
    }

    /// A broker could not be reached, or did not answer: what it was sent, if anything, is sent again to whoever leads then.
    pub fn lost(&mut self, broker: BrokerId, taken: Vec<Taken>) -> Woken {
        for Taken { place, batch, .. } in taken {
            let queue = &mut self.topics[place.topic.0].queues[usize::from(place.partition)];
            queue.is_under_way = false;
            queue.waiting.push_front(batch);
        }
        if let Some(leads) = self.brokers.get_mut(&broker) {
            leads.places.clear();
        }
        for queue in self.topics.iter_mut().flat_map(|topic| &mut topic.queues) {
            if queue.leader == Some(broker) {
                queue.leader = None;
                queue.is_listed = false;
            }
        }
        Woken::WhoAsksForLeaders
    }

    /// Names of topics with something to send that has no leader.
    pub fn leaderless(&self) -> Vec<TopicName> {
        let waits = |queue: &Queue| queue.leader.is_none() && !queue.waiting.is_empty();
        self.topics.iter().filter(|topic| topic.queues.iter().any(waits)).map(|topic| topic.name.clone()).collect()
    }

    /// The brokers were asked about a topic. Answers what is refused, and who is to be woken.
    pub fn seen(&mut self, name: &str, seen: &Seen, now: Instant) -> (Vec<(Batch, Told)>, Vec<Woken>) {
        let Some(number) = self.numbers.get(name).copied() else {
            return (Vec::new(), Vec::new());
        };
        let topic = &mut self.topics[number.0];
        let unknown_since = matches!(seen, Seen::Unknown).then(|| topic.unknown_since.unwrap_or(now));
        topic.unknown_since = unknown_since;
        let refused = match seen {
            Seen::Refused(refused) => Some(*refused),
            Seen::Unknown => unknown_since
                .filter(|since| now.duration_since(*since) >= UNKNOWN_MAX)
                .map(|_| ResponseError::UnknownTopicOrPartition),
            Seen::Leaders(_) | Seen::Passing => None,
        };
        let mut told = Vec::new();
        let mut woken = Vec::new();
        for (partition, queue) in (0_u16..).zip(&mut topic.queues) {
            match (seen, refused) {
                // Whoever waits for an answer to what is under way under another leader gets it or loses the connection.
                (Seen::Leaders(leaders), _) if queue.leader.is_none() => {
                    queue.leader = leaders.get(&partition).copied();
                    woken.push(Place { topic: number, partition });
                }
                (_, Some(refused)) => told.extend(queue.drain().into_iter().map(|batch| (batch, Err(refused)))),
                _ => {}
            }
        }
        told.iter().for_each(|(batch, _)| self.gone(std::slice::from_ref(batch)));
        (told, woken.into_iter().map(|place| self.listed(place)).collect())
    }

    /// What has waited for too long, wherever it waits.
    pub fn too_old(&mut self, now: Instant) -> Vec<Batch> {
        let age_max = self.age_max;
        let queues = self.topics.iter_mut().flat_map(|topic| &mut topic.queues);
        let old: Vec<Batch> = queues.flat_map(|queue| queue.too_old(now, age_max)).collect();
        self.gone(&old);
        old
    }

    /// All that waits, for whoever ends.
    pub fn drain(&mut self) -> Vec<Batch> {
        let queues = self.topics.iter_mut().flat_map(|topic| &mut topic.queues);
        queues.flat_map(Queue::drain).collect()
    }

    fn gone(&mut self, batches: &[Batch]) {
        self.messages -= batches.iter().map(Batch::count).sum::<usize>();
        self.bytes -= batches.iter().map(Batch::len).sum::<usize>();
    }
}

impl Queue {
    fn drain(&mut self) -> Vec<Batch> {
        self.waiting.drain(..).collect()
    }

    fn too_old(&mut self, now: Instant, age_max: Option<Duration>) -> Vec<Batch> {
        let Some(most) = age_max else { return Vec::new() };
        let is_old = |batch: &&Batch| now.duration_since(batch.begun()) > most;
        let count = self.waiting.iter().take_while(is_old).count();
        self.waiting.drain(..count).collect()
    }
}

/// What whoever waits for the messages of a batch is told; the position is that of its first one.
pub(crate) type Told = Result<Position, ResponseError>;

/// Who has something to do now.
pub(crate) enum Woken {
    Nobody,
    Broker(Arc<Notify>),
    WhoAsksForLeaders,
}

#[cfg(test)]
mod tests {
    use daybook_events::Timestamp;
    use tokio::sync::oneshot;
    use uuid::Uuid;

    use super::*;
    use crate::headers::Envelope;
    use crate::producer::Failure;

    const ONE: BrokerId = 1;
    const TWO: BrokerId = 2;
    const NAME: &str = "learning.course.commands.v1";
    type Answer = oneshot::Receiver<Result<Position, Failure>>;

    /// Queues whose topic is led by broker one.
    struct Stage {
        queues: Queues,
        topic: TopicNo,
        begun: Instant,
    }

    impl Stage {
        fn new(age_max: Option<Duration>) -> Self {
            let mut queues = Queues::new(age_max);
            let topic = queues.number(NAME);
            Self { queues, topic, begun: Instant::now() }
        }

        fn led_by_one() -> Self {
            let mut stage = Self::new(None);
            let answers: Vec<_> = (0..2).map(|partition| stage.push(partition, b"first")).collect();
            stage.see(ONE);
            stage.take(ONE).into_iter().for_each(|taken| drop(stage.queues.answered(taken, Ok(0))));
            drop(answers);
            stage
        }

        fn push(&mut self, partition: u16, value: &[u8]) -> Answer {
            let (ticket, answer) = oneshot::channel();
            self.offer(partition, value, Ticket::Request(ticket)).unwrap();
            answer
        }

        fn offer(&mut self, partition: u16, value: &[u8], ticket: Ticket) -> Result<Woken, NotTaken> {
            let envelope = Envelope {
                topic: NAME,
                source: "",
                type_name: "",
                message_id: Uuid::nil(),
                time: Timestamp(0),
                header: b"",
            };
            let place = Place { topic: self.topic, partition };
            self.queues.push(place, &Outbound { key: b"", value, envelope }, ticket, self.begun)
        }

        fn see(&mut self, leader: BrokerId) -> Vec<Woken> {
            let leaders = Seen::Leaders((0..2).map(|partition| (partition, leader)).collect());
            self.queues.seen(NAME, &leaders, self.begun).1
        }

        fn take(&mut self, broker: BrokerId) -> Vec<Taken> {
            self.queues.take(broker, self.begun).0
        }
    }

    /// Partitions and numbers of messages.
    fn shape(taken: &[Taken]) -> Vec<(u16, usize)> {
        taken.iter().map(|taken| (taken.place.partition, taken.batch.count())).collect()
    }

    #[test]
    fn what_waits_for_a_broker_goes_in_one_request_and_gathers_while_one_is_under_way() {
        let mut stage = Stage::led_by_one();
        assert!(matches!(stage.offer(1, b"a", Ticket::Nobody), Ok(Woken::Broker(_))));
        assert!(matches!(stage.offer(1, b"b", Ticket::Nobody), Ok(Woken::Nobody)));
        assert!(matches!(stage.offer(0, b"c", Ticket::Nobody), Ok(Woken::Broker(_))));
        let mut taken = stage.take(ONE);
        assert_eq!(shape(&taken), [(1, 2), (0, 1)]);
        assert!(matches!(stage.offer(1, b"d", Ticket::Nobody), Ok(Woken::Nobody)), "its partition is under way");
        assert!(stage.take(ONE).is_empty());
        let (told, woken) = stage.queues.answered(taken.remove(0), Ok(7));
        assert_eq!(told[0].1, Ok(Position { partition: 1, offset: 7 }));
        assert!(matches!(woken, Woken::Broker(_)));
        assert_eq!(shape(&stage.take(ONE)), [(1, 1)]);
    }

    #[test]
    fn what_a_broker_passingly_refuses_goes_first_to_the_next_leader() {
        let mut stage = Stage::led_by_one();
        let _first = (stage.push(0, b"first"), stage.push(0, b"second"));
        let taken = stage.take(ONE).remove(0);
        let _later = stage.push(0, b"third");
        let (told, woken) = stage.queues.answered(taken, Err(ResponseError::NotLeaderOrFollower));
        assert!(told.is_empty());
        assert!(matches!(woken, Woken::WhoAsksForLeaders));
        assert_eq!(stage.queues.leaderless().len(), 1);
        stage.see(TWO);
        assert!(stage.take(ONE).is_empty());
        assert_eq!(shape(&stage.take(TWO)), [(0, 2)], "as it was sent before: nothing is added to it");
    }

    #[test]
    fn what_is_refused_takes_with_it_what_comes_after_it_in_its_partition() {
        let mut stage = Stage::led_by_one();
        let _first = (stage.push(0, b"first"), stage.push(1, b"elsewhere"));
        let mut taken = stage.take(ONE);
        let _later = (stage.push(0, b"second"), stage.push(1, b"elsewhere"));
        let (told, _) = stage.queues.answered(taken.remove(0), Err(ResponseError::MessageTooLarge));
        let counts: Vec<_> = told.iter().map(|(batch, told)| (batch.count(), *told)).collect();
        assert_eq!(counts, [(1, Err(ResponseError::MessageTooLarge)); 2]);
        stage.queues.answered(taken.remove(0), Ok(1));
        assert_eq!(shape(&stage.take(ONE)), [(1, 1)]);
    }

    #[test]
    fn what_a_lost_broker_was_sent_goes_first_and_so_does_what_it_was_not_sent_yet() {
        let mut stage = Stage::led_by_one();
        let _sent = stage.push(0, b"sent");
        let taken = stage.take(ONE);
        let _waiting = (stage.push(0, b"waits"), stage.push(1, b"waits"));
        assert!(matches!(stage.queues.lost(ONE, taken), Woken::WhoAsksForLeaders));
        assert!(stage.take(ONE).is_empty());
        assert_eq!(stage.see(ONE).len(), 2);
        let taken = stage.take(ONE);
        assert_eq!(shape(&taken), [(0, 1), (1, 1)]);
        taken.into_iter().for_each(|taken| drop(stage.queues.answered(taken, Ok(0))));
        assert_eq!(shape(&stage.take(ONE)), [(0, 1)]);
    }

    #[test]
    fn an_unknown_topic_is_refused_after_a_while_and_a_forbidden_one_at_once() {
        let mut stage = Stage::new(None);
        let _answer = stage.push(0, b"value");
        assert!(stage.queues.seen(NAME, &Seen::Unknown, stage.begun).0.is_empty());
        let later = stage.begun + UNKNOWN_MAX;
        assert!(stage.queues.seen(NAME, &Seen::Passing, later).0.is_empty(), "and it begins anew");
        assert!(stage.queues.seen(NAME, &Seen::Unknown, later).0.is_empty());
        let (told, _) = stage.queues.seen(NAME, &Seen::Unknown, later + UNKNOWN_MAX);
        assert_eq!(told[0].1, Err(ResponseError::UnknownTopicOrPartition));
        let _answer = stage.push(0, b"value");
        let forbidden = ResponseError::TopicAuthorizationFailed;
        let (told, _) = stage.queues.seen(NAME, &Seen::Refused(forbidden), stage.begun);
        assert_eq!(told[0].1, Err(forbidden));
    }

    #[test]
    fn no_more_is_taken_than_there_is_room_for() {
        let mut stage = Stage::led_by_one();
        let value = vec![0; 1_000_000];
        let taken = (0..1_000).take_while(|_| stage.offer(0, &value, Ticket::Nobody).is_ok()).count();
        assert_eq!(taken, BYTES_MAX.div_ceil(value.len()));
        let one = stage.take(ONE);
        assert_eq!(shape(&one), [(0, 1)], "each fills a batch");
        one.into_iter().for_each(|taken| drop(stage.queues.answered(taken, Ok(0))));
        assert!(stage.offer(0, b"small", Ticket::Nobody).is_ok());
        assert_eq!(stage.queues.drain().len(), taken);
    }

    #[test]
    fn what_is_too_old_is_given_up_wherever_it_waits() {
        let mut stage = Stage::new(Some(Duration::from_secs(5)));
        let _answers = (stage.push(0, b"old"), stage.push(1, b"old"));
        let begun = stage.begun;
        assert!(stage.queues.too_old(begun + Duration::from_secs(5)).is_empty());
        stage.begun += Duration::from_secs(4);
        let _young = stage.push(0, &vec![0; BATCH_BYTES_MAX]);
        stage.see(ONE);
        let (taken, old) = stage.queues.take(ONE, begun + Duration::from_secs(6));
        assert_eq!((shape(&taken), old.len()), (vec![(0, 1)], 2));
        assert_eq!((stage.queues.messages, taken[0].batch.count()), (1, 1));
    }
}
