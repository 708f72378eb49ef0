//! An engine with one partition, whose log and store answer at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use daybook_engine::{
    Action, Claimed, Context, DueRow, Emit, Engine, Event, Fault, Input, Leaf, Limits, Load, Loaded, Output, PartKind,
    Participant, Record, Row, RowKey, Rows, SchemaLookup, Spec, Stream, unpack,
};
use daybook_events::{Header, Message, Schemas, SeatReleased, SeatReserved, StaticSchemas, Timestamp, frame, key};
use uuid::Uuid;

pub const PARTITION: u16 = 0;
pub const PARTICIPANT: &str = "test.participant.commands.v1";
/// How long the leaf waits for an answer, in ms.
pub const DEADLINE_MS: i64 = 60_000;

/// Asks a participant when it is told to begin, and gives up when it is not answered in time.
struct Waiter(Spec);

/// What begins it, what it asks, and what answers it; only the names matter.
const BEGIN: &str = SeatReserved::FULL_NAME;
const ANSWER: &str = SeatReleased::FULL_NAME;
pub const GAVE_UP: &str = SeatReleased::FULL_NAME;

impl Leaf for Waiter {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn parts(&self, _: &Input<'_>, _: &mut Vec<Uuid>) {}

    fn handle(&self, input: &Input<'_>, rows: &mut Rows<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault> {
        let row = RowKey::entity(input.key());
        let (due, told) = match input {
            Input::Message(incoming) if incoming.writer.full_name() == BEGIN => {
                (Some(cx.now.plus_ms(DEADLINE_MS)), Some((PARTICIPANT, BEGIN)))
            }
            Input::Due { .. } => (None, Some(("test.waiter.events.v1", GAVE_UP))),
            Input::Message(_) | Input::Control(_) | Input::Concluded { .. } => (None, None),
        };
        rows.put(row, Row { number: 1, due, status: None, body: Bytes::new() });
        out.messages.extend(told.map(|(topic, type_name)| Emit {
            topic: topic.into(),
            key: row.key,
            type_name,
            body: Vec::new(),
            id: None,
            reply_to: None,
            reply_for: None,
            thread: None,
        }));
        Ok(())
    }

    fn awaits(&self, _: &Row) -> Option<Participant> {
        Some(Participant { topic: PARTICIPANT, key: entity() })
    }
}

/// An entity of the one partition.
fn entity() -> Uuid {
    let ids = (1..).map(Uuid::from_u128);
    let mut here = ids.filter(|id| key::partition(&key::of(*id), 8) == u32::from(PARTITION));
    here.next().expect("one in eight is")
}

/// Another entity of whatever partition; only where its records stand matters.
fn other(number: i64) -> Uuid {
    Uuid::from_u128((1 << 64) + u128::from(number.unsigned_abs()))
}

pub struct Desk {
    pub engine: Engine,
    pub now: Timestamp,
    /// What has happened and was not told yet.
    events: VecDeque<Event>,
    rows: BTreeMap<RowKey, Row>,
    version: i64,
    token: u64,
    /// Where the leaf's own topic ends.
    end: i64,
    /// How long a commit takes.
    pub commit_ms: i64,
    /// Whether messages reach the log.
    pub delivers: bool,
    /// Where the participant's partition ends, and what comes next for the participant.
    pub participant: (i64, i64),
    /// Whether the participant waits for somebody itself.
    pub participant_waits: bool,
    /// How often that was asked.
    pub asked: usize,
    /// Types of the messages that were committed.
    pub told: Vec<String>,
    pub alarms: usize,
    /// Group offsets that were committed.
    pub offsets: Vec<i64>,
    /// What the last of them tells: whether something waits for the participant.
    pub waits: bool,
}

impl Desk {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        let spec = Spec {
            name: "waiter",
            kind: PartKind::Saga,
            input: "test.waiter.inbox.v1",
            control: "test.waiter.control.v1".to_owned(),
            outputs: Vec::new(),
            tables: Vec::new(),
            effects: None,
        };
        let engine = Engine::new(Arc::new(Waiter(spec)), Arc::new(StaticSchemas), limits);
        let mut desk = Self {
            engine,
            now: Timestamp::from_millis(1_800_000_000_000),
            events: VecDeque::from([Event::Assigned { partition: PARTITION }]),
            rows: BTreeMap::new(),
            version: 1,
            token: 0,
            end: 0,
            commit_ms: 0,
            delivers: true,
            participant: (1, 0),
            participant_waits: false,
            asked: 0,
            told: Vec::new(),
            alarms: 0,
            offsets: Vec::new(),
            waits: false,
        };
        desk.settle();
        desk
    }

    /// Somebody tells the leaf to begin.
    pub fn begin(&mut self) {
        self.end += 1;
        self.fetch(BEGIN);
    }

    /// The participant's answer reaches the log, but nobody has read it.
    pub fn answer_is_published(&mut self) {
        self.end += 1;
    }

    pub fn answer_is_read(&mut self) {
        self.fetch(ANSWER);
    }

    /// Whether the leaf has given up.
    pub fn has_given_up(&self) -> bool {
        self.told.iter().any(|told| told == GAVE_UP)
    }

    /// Lets time pass, up to when the engine wants to be told and on, for as long as this.
    pub fn pass(&mut self, ms: i64) {
        let until = self.now.plus_ms(ms);
        while let Some(wake_at) = self.engine.wake_at().filter(|at| *at <= until) {
            self.now = wake_at.max(self.now.plus_ms(1));
            self.tell(Event::Tick);
        }
        self.now = until;
        self.tell(Event::Tick);
    }

    /// So many others begin, at once, and later than the log was asked where it ends.
    pub fn flood(&mut self, count: i64) {
        let records = (0..count).map(|more| self.record(BEGIN, other(more), self.end + more)).collect();
        self.tell(Event::Fetched { partition: PARTITION, token: self.token, records });
    }

    fn fetch(&mut self, type_name: &str) {
        let records = vec![self.record(type_name, entity(), self.end - 1)];
        self.tell(Event::Fetched { partition: PARTITION, token: self.token, records });
    }

    fn record(&self, type_name: &str, key: Uuid, offset: i64) -> Record {
        let id = StaticSchemas.id_of(type_name).expect("a type of this build");
        let mut value = Vec::new();
        frame(id, &mut value);
        let mut header = Vec::new();
        let message_id = Uuid::from_u128(offset.unsigned_abs().into());
        Header::first(message_id, self.now).encode(&mut header).expect("it has no texts");
        Record {
            stream: Stream::Data,
            partition: PARTITION,
            offset,
            time: self.now,
            key: Some(Bytes::copy_from_slice(&key::of(key))),
            header: Some(header.into()),
            value: Some(value.into()),
            schema: SchemaLookup::Known(StaticSchemas.writer(id).expect("a type of this build")),
        }
    }

    fn tell(&mut self, event: Event) {
        self.events.push_back(event);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let mut actions = Vec::new();
            self.engine.on(event, self.now, &mut actions);
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Claim { .. } => {
                let claimed = Box::new(Claimed::first(PARTITION, self.version));
                self.events.push_back(Event::Claimed(claimed));
            }
            Action::Fetch { token, .. } => self.token = token,
            Action::Load { ticket, load } => {
                let result = Ok(Box::new(self.load(&load)));
                self.events.push_back(Event::Loaded { ticket, result });
            }
            Action::Commit { ticket, commit } => {
                self.version += 1;
                self.now = self.now.plus_ms(self.commit_ms);
                for row in commit.rows {
                    self.rows.insert(row.key, row.row.expect("none is deleted"));
                }
                for message in commit.outbox.iter().flat_map(|row| unpack(&row.messages).expect("just packed")) {
                    self.told.push(message.type_name.to_string());
                }
                self.events.push_back(Event::Committed { ticket, result: Ok(()) });
            }
            Action::Publish { partition, attempt, messages } if self.delivers => {
                let delivered = messages.into_iter().map(|message| message.seq);
                self.events.extend(delivered.map(|seq| Event::Delivered { partition, attempt, seq, ok: true }));
            }
            Action::AskEnds { partition, token } => {
                self.events.push_back(Event::Ends { partition, token, data: self.end, control: 0 });
            }
            Action::AskProgress { partition, token, topic, of } => {
                self.asked += 1;
                let (end, next) = self.participant;
                let waits = self.participant_waits;
                self.events.push_back(Event::Progress { partition, token, topic, of, end, next, waits });
            }
            Action::Witness { next_data, waits, .. } => {
                self.offsets.push(next_data);
                self.waits = waits;
            }
            Action::Alarm(_) => self.alarms += 1,
            Action::Publish { .. } | Action::Forget { .. } | Action::Pause { .. } | Action::Resume { .. } => {}
            Action::Perform { .. } | Action::Released { .. } | Action::StoodDown { .. } => unreachable!("{action:?}"),
        }
    }

    fn load(&self, load: &Load) -> Loaded {
        let rows = load.rows.iter().filter_map(|(_, key)| Some((*key, self.rows.get(key)?.clone())));
        let mut loaded = Loaded { rows: rows.collect(), ..Loaded::default() };
        for ask in &load.due {
            let due = |(key, row): (&RowKey, &Row)| Some((row.due?, *key));
            let mut rows: Vec<_> = self.rows.iter().filter_map(due).collect();
            rows.sort_unstable();
            let next = rows.iter().find(|(due, _)| *due > ask.until).map(|(due, _)| *due);
            loaded.next_due.push((PARTITION, next));
            rows.retain(|entry| entry.0 <= ask.until && ask.after.is_none_or(|after| *entry > after));
            loaded.due.extend(rows.into_iter().map(|(due, row)| DueRow { partition: PARTITION, due, row }));
        }
        loaded
    }
}
