// Longer than 500 lines because the handle, its rebalances and its queues are one state and read best together.
//! A part's membership in its consumer group, and the records of its partitions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use daybook_engine::{Record, SchemaLookup, Stream};
use daybook_events::{Schemas, Writer};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use hashbrown::{HashMap, HashSet};
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::client::sleep_until;
use crate::inputs::{Inputs, config};
use crate::lanes::{Chunk, Chunks, Lane};
use crate::membership::{Change, Membership};
use crate::native;
use crate::record::read;
use crate::{Committed, Error, Refusal, Registry, Settings};

/// Most records and bytes that are taken from librdkafka before the engine is told.
const DRAIN_RECORDS_MAX: usize = 2_000;
const DRAIN_BYTES_MAX: usize = 1 << 20;
/// Group offsets are for lag tools, the witness and whoever waits for the part: once a second is enough.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// How long leaving the group may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);
/// How long the brokers may take to answer what the group has committed.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(10);

/// What a part learns from its topics.
#[derive(Debug)]
pub enum Fetched {
    /// The group gave us these partitions.
    Assigned(Vec<u16>),
    /// The group asks for them back and waits for [`Fetcher::release`] of each.
    Revoked(Vec<u16>),
    /// They are somebody else's already; nothing is waited for.
    Lost(Vec<u16>),
    /// Records of one partition and stream in the order of the log.
    Records { partition: u16, stream: Stream, token: u64, records: Vec<Record> },
}

type Lookup = BoxFuture<'static, (u32, SchemaLookup)>;
type GroupConsumer = StreamConsumer<Membership>;

/// Fetches for one part. Everything happens in the task that calls [`Fetcher::next`], so a record's token is exactly
/// that of the fetch that it answers.
pub struct Fetcher {
    group: String,
    topics: Inputs,
    consumer: Arc<GroupConsumer>,
    registry: Arc<Registry>,
    lanes: HashMap<(u16, Stream), Lane>,
    /// Partitions asked back by the group and not released yet.
    revoking: Vec<u16>,
    /// Partitions that are no longer fetched but still assigned, because a revocation waits.
    paused_for_good: HashSet<u16>,
    ready: VecDeque<Fetched>,
    /// Schemas met so far, so that the hot path takes no lock.
    known: HashMap<u32, Arc<Writer>>,
    lookups: FuturesUnordered<Lookup>,
    offsets: HashMap<u16, Committed>,
    commit_at: Option<Instant>,
}

impl Fetcher {
    /// Joins nothing yet.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub(crate) fn new(
        settings: &Settings,
        registry: &Arc<Registry>,
        part: &str,
        data: &str,
        control: &str,
    ) -> Result<Self, Error> {
        let group = settings.wire(part);
        let consumer = config(settings, &group)
            .create_with_context(Membership::default())
            .map_err(|refused| Refusal::Settings(refused.to_string()))?;
        Ok(Self {
            topics: Inputs { data: settings.wire(data), control: settings.wire(control) },
            group,
            consumer: Arc::new(consumer),
            registry: Arc::clone(registry),
            lanes: HashMap::new(),
            revoking: Vec::new(),
            paused_for_good: HashSet::new(),
            ready: VecDeque::new(),
            known: HashMap::new(),
            lookups: FuturesUnordered::new(),
            offsets: HashMap::new(),
            commit_at: None,
        })
    }

    /// What the group has committed of these partitions of the data topic. The answer does not need the fetcher.
    ///
    /// # Errors
    /// When the brokers do not answer in time.
    pub fn committed(&self, partitions: &[u16]) -> impl Future<Output = Result<Vec<Committed>, Error>> + Send + use<> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topics.data, i32::from(*partition));
        }
        // Not kept alive by a question: only the fetcher decides when the group is left.
        let consumer = Arc::downgrade(&self.consumer);
        let late = || Error::Late("what has the group committed");
        async move {
            let ask = tokio::task::spawn_blocking(move || {
                let consumer = consumer.upgrade().ok_or_else(late)?;
                consumer.committed_offsets(list, COMMITTED_TIMEOUT).map_err(Error::kafka("ask for committed offsets"))
            });
            let list = ask.await.map_err(|_| late())??;
            let committed = list.elements().into_iter().filter_map(|element| {
                let Offset::Offset(next) = element.offset() else { return None };
                let partition = u16::try_from(element.partition()).ok()?;
                Some(Committed::read(partition, next, element.metadata()))
            });
            Ok(committed.collect())
        }
    }

    /// Where the data topic's partition ended when records were last fetched: for lag. `None`: not known.
    pub fn end_seen(&self, partition: u16) -> Option<i64> {
        native::end_seen(self.consumer.client(), &self.topics.data, partition)
    }

    /// Joins the group. Partitions come through [`Fetcher::next`].
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn join(&self) -> Result<(), Error> {
        self.consumer.subscribe(&[&self.topics.data]).map_err(Error::kafka("subscribe"))
    }

    /// Records that are here already and come next.
    pub fn ready(&mut self) -> Option<Fetched> {
        self.ready.pop_front_if(|next| matches!(next, Fetched::Records { .. }))
    }

    /// What happens next. May be canceled: nothing is lost.
    ///
    /// # Errors
    /// A refusal when the part cannot go on as it is.
    pub async fn next(&mut self) -> Result<Fetched, Refusal> {
        let consumer = Arc::clone(&self.consumer);
        loop {
            while let Some(change) = consumer.context().take() {
                self.note(change);
            }
            if let Some(ready) = self.ready.pop_front() {
                return Ok(ready);
            }
            let commit_at = self.commit_at;
            let mut stream = consumer.stream();
            tokio::select! {
                () = consumer.context().noted.notified() => {}
                Some((id, lookup)) = self.lookups.next(), if !self.lookups.is_empty() => self.learned(id, lookup),
                () = sleep_until(commit_at) => self.commit_offsets(CommitMode::Async),
                Some(first) = stream.next() => {
                    let mut chunks = Chunks::default();
                    let mut bytes = self.take(first, &mut chunks)?;
                    for _ in 1..DRAIN_RECORDS_MAX {
                        if bytes >= DRAIN_BYTES_MAX { break; }
                        let Some(Some(next)) = stream.next().now_or_never() else { break };
                        bytes += self.take(next, &mut chunks)?;
                    }
                    self.hand_over(chunks.into_vec());
                }
            }
        }
    }

    /// Fetches both topics of a partition from these offsets; their records carry the token.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn fetch(&mut self, partition: u16, token: u64, data: i64, control: i64) -> Result<(), Error> {
        self.forget(partition)?;
        if self.paused_for_good.remove(&partition) {
            // This answers the revocation that waits for other partitions too early. The fence holds; it costs them a batch.
            self.unassign(partition)?;
        }
        let during = "fetch a partition";
        let mut list = self.topics.both(partition);
        for (stream, offset) in [(Stream::Data, data), (Stream::Control, control)] {
            list.set_partition_offset(self.topics.of(stream), i32::from(partition), Offset::Offset(offset))
                .map_err(Error::kafka(during))?;
        }
        self.consumer.incremental_assign(&list).map_err(Error::kafka(during))?;
        // librdkafka keeps an application's pause across assignments.
        self.consumer.resume(&list).map_err(Error::kafka(during))?;
        for stream in [Stream::Data, Stream::Control] {
            self.lanes.insert((partition, stream), Lane::new(token));
        }
        Ok(())
    }

    /// Stops fetching a partition. It stays ours in the group.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn forget(&mut self, partition: u16) -> Result<(), Error> {
        let was_fetched = self.lanes.remove(&(partition, Stream::Data)).is_some();
        self.lanes.remove(&(partition, Stream::Control));
        self.ready.retain(|ready| !matches!(ready, Fetched::Records { partition: of, .. } if *of == partition));
        if !was_fetched {
            return Ok(());
        }
        // While a revocation waits, an unassignment would answer it too early: a pause does as well, and the answer ends it.
        if self.revoking.is_empty() {
            self.unassign(partition)
        } else {
            self.paused_for_good.insert(partition);
            self.consumer.pause(&self.topics.both(partition)).map_err(Error::kafka("stop fetching a partition"))
        }
    }

    fn unassign(&self, partition: u16) -> Result<(), Error> {
        let list = self.topics.both(partition);
        self.consumer.incremental_unassign(&list).map_err(Error::kafka("stop fetching a partition"))
    }

    /// Answers that a revoked partition is let go. The group goes on when all of one revocation are.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn release(&mut self, partition: u16) -> Result<(), Error> {
        self.commit_offsets(CommitMode::Async);
        self.offsets.remove(&partition);
        if !self.revoking.contains(&partition) {
            return Ok(());
        }
        self.forget(partition)?;
        self.revoking.retain(|revoking| *revoking != partition);
        if self.revoking.is_empty() { self.answer_revocation() } else { Ok(()) }
    }

    /// Unassigns whatever is assigned but no longer fetched. An empty list answers too.
    fn answer_revocation(&mut self) -> Result<(), Error> {
        self.paused_for_good.clear();
        let assigned = self.consumer.assignment().map_err(Error::kafka("ask for the assignment"))?;
        let mut gone = TopicPartitionList::new();
        for element in assigned.elements() {
            let stream = self.topics.stream_of(element.topic());
            let partition = u16::try_from(element.partition()).ok();
            let is_fetched = stream.zip(partition).is_some_and(|(stream, of)| self.lanes.contains_key(&(of, stream)));
            if !is_fetched {
                gone.add_partition(element.topic(), element.partition());
            }
        }
        self.consumer.incremental_unassign(&gone).map_err(Error::kafka("answer a revocation"))
    }

    /// Holds a stream's records back: the engine has no room.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn pause(&mut self, partition: u16, stream: Stream) -> Result<(), Error> {
        self.set_paused(partition, stream, true)
    }

    /// Ends [`Fetcher::pause`].
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn resume(&mut self, partition: u16, stream: Stream) -> Result<(), Error> {
        self.set_paused(partition, stream, false)
    }

    /// Notes what is to be the group offset of a partition; committed about once a second.
    pub fn commit(&mut self, offset: Committed) {
        self.offsets.insert(offset.partition, offset);
        self.commit_at.get_or_insert_with(|| Instant::now() + COMMIT_INTERVAL);
    }

    /// Commits the last offsets and leaves the group (a static member stays in it until its session ends).
    pub async fn close(mut self) {
        let group = self.group.clone();
        let closed = tokio::task::spawn_blocking(move || {
            self.commit_offsets(CommitMode::Sync);
            drop(self);
        });
        match tokio::time::timeout(LEAVE_LIMIT, closed).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                warn!(group, "the group was not left in time; its members wait for the session to end")
            }
        }
    }

    fn note(&mut self, change: Change) {
        let noted = match change {
            Change::Assigned(partitions) => Fetched::Assigned(partitions),
            Change::Revoked(partitions) => {
                self.revoking.extend(&partitions);
                Fetched::Revoked(partitions)
            }
            Change::Lost(partitions) => {
                self.revoking.extend(&partitions);
                for partition in &partitions {
                    self.offsets.remove(partition);
                    if let Err(failed) = self.release(*partition) {
                        warn!(group = self.group, partition, %failed, "a lost partition could not be let go");
                    }
                }
                Fetched::Lost(partitions)
            }
        };
        self.ready.push_back(noted);
    }

    /// Takes one message from librdkafka; answers its size.
    fn take(
        &mut self,
        message: Result<BorrowedMessage<'_>, KafkaError>,
        chunks: &mut Chunks,
    ) -> Result<usize, Refusal> {
        let message = match message {
            Ok(message) => message,
            Err(failed) => return self.failed(&failed).map(|()| 0),
        };
        let lane = self.topics.stream_of(message.topic()).zip(u16::try_from(message.partition()).ok());
        let Some((stream, partition)) = lane else {
            return Ok(0);
        };
        if !self.lanes.contains_key(&(partition, stream)) {
            return Ok(0);
        }
        let mut record = read(&message, stream, partition);
        let wanted = self.look_up(&mut record);
        let size = record.size();
        let Some(lane) = self.lanes.get_mut(&(partition, stream)) else {
            return Ok(0);
        };
        if lane.waiting.is_empty() && wanted.is_none() {
            chunks.push(lane.token, record);
            return Ok(size);
        }
        let first_to_wait = lane.waiting.is_empty();
        lane.waiting.push_back(record);
        if let (true, Some(id)) = (first_to_wait, wanted) {
            self.hold(partition, stream);
            self.ask_registry(id);
        }
        Ok(size)
    }

    /// Sets the record's schema if it is known, or else answers the id to ask for.
    fn look_up(&mut self, record: &mut Record) -> Option<u32> {
        let SchemaLookup::NoSuchId(id) = record.schema else {
            return None;
        };
        if let Some(writer) = self.known.get(&id) {
            record.schema = SchemaLookup::Known(Arc::clone(writer));
            return None;
        }
        let Some(writer) = self.registry.writer(id) else {
            return Some(id);
        };
        record.schema = SchemaLookup::Known(Arc::clone(&writer));
        self.known.insert(id, writer);
        None
    }

    fn ask_registry(&self, id: u32) {
        let registry = Arc::clone(&self.registry);
        self.lookups.push(async move { (id, registry.resolve(id).await) }.boxed());
    }

    /// Goes on with the lanes that waited for this id.
    fn learned(&mut self, id: u32, lookup: SchemaLookup) {
        if let SchemaLookup::Known(writer) = &lookup {
            self.known.insert(id, Arc::clone(writer));
        }
        let waited: Vec<(u16, Stream)> =
            self.lanes.iter().filter(|(_, lane)| lane.wants() == Some(id)).map(|(place, _)| *place).collect();
        for place in waited {
            self.go_on(place, id, &lookup);
        }
    }

    fn go_on(&mut self, (partition, stream): (u16, Stream), id: u32, lookup: &SchemaLookup) {
        let Some(lane) = self.lanes.get_mut(&(partition, stream)) else {
            return;
        };
        let token = lane.token;
        let mut waiting = std::mem::take(&mut lane.waiting);
        let mut records = Vec::with_capacity(waiting.len());
        let mut wanted = None;
        while let Some(mut record) = waiting.pop_front() {
            match self.look_up(&mut record) {
                None => records.push(record),
                Some(same) if same == id => {
                    record.schema = lookup.clone();
                    records.push(record);
                }
                Some(other) => {
                    wanted = Some(other);
                    waiting.push_front(record);
                    break;
                }
            }
        }
        if let Some(lane) = self.lanes.get_mut(&(partition, stream)) {
            lane.waiting = waiting;
        }
        self.hand_over(vec![Chunk { partition, stream, token, records }]);
        match wanted {
            Some(other) => self.ask_registry(other),
            None => self.flow(partition, stream),
        }
    }

    fn hand_over(&mut self, chunks: Vec<Chunk>) {
        self.ready.extend(chunks.into_iter().map(|Chunk { partition, stream, token, records }| Fetched::Records {
            partition,
            stream,
            token,
            records,
        }));
    }

    /// An error instead of a message.
    fn failed(&self, failed: &KafkaError) -> Result<(), Refusal> {
        let group = self.group.clone();
        match failed {
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => {
                Err(Refusal::OffsetsGone { group, topic: self.topics.data.clone() })
            }
            KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId) => {
                Err(Refusal::InstanceTaken { group })
            }
            KafkaError::MessageConsumptionFatal(code) => Err(Refusal::ConsumerFailed { group, code: code.to_string() }),
            // librdkafka tries again by itself.
            passing => {
                debug!(group, %passing, "fetching is disturbed");
                Ok(())
            }
        }
    }

    fn set_paused(&mut self, partition: u16, stream: Stream, paused: bool) -> Result<(), Error> {
        let Some(lane) = self.lanes.get_mut(&(partition, stream)) else {
            return Ok(());
        };
        let flowed = lane.flows();
        lane.paused = paused;
        match (flowed, lane.flows()) {
            (true, false) => self.consumer.pause(&self.topics.one(partition, stream)),
            (false, true) => self.consumer.resume(&self.topics.one(partition, stream)),
            (true, true) | (false, false) => Ok(()),
        }
        .map_err(Error::kafka("pause or resume a partition"))
    }

    /// Stops a lane that waits for a schema, unless it is stopped already.
    fn hold(&self, partition: u16, stream: Stream) {
        if self.lanes.get(&(partition, stream)).is_some_and(|lane| lane.paused) {
            return;
        }
        if let Err(failed) = self.consumer.pause(&self.topics.one(partition, stream)) {
            // Harmless: what arrives waits in the lane.
            warn!(group = self.group, partition, %failed, "a partition could not be paused");
        }
    }

    /// Lets a lane flow whose schemas are known, if the engine has room.
    fn flow(&self, partition: u16, stream: Stream) {
        if !self.lanes.get(&(partition, stream)).is_some_and(Lane::flows) {
            return;
        }
        if let Err(failed) = self.consumer.resume(&self.topics.one(partition, stream)) {
            warn!(group = self.group, partition, %failed, "a partition could not be resumed");
        }
    }

    fn commit_offsets(&mut self, mode: CommitMode) {
        self.commit_at = None;
        if self.offsets.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in self.offsets.drain() {
            let mut element = list.add_partition(&self.topics.data, i32::from(partition));
            if element.set_offset(Offset::Offset(offset.next)).is_ok() {
                element.set_metadata(offset.metadata());
            }
        }
        if let Err(failed) = self.consumer.commit(&list, mode) {
            warn!(group = self.group, %failed, "group offsets were not committed");
        }
    }
}

impl Drop for Fetcher {
    /// Leaves the group, which blocks until the broker knows (see [`Fetcher::close`]).
    fn drop(&mut self) {
        self.consumer.context().leave(&*self.consumer, !self.revoking.is_empty());
    }
}
