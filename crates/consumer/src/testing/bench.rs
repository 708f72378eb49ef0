use std::collections::BTreeMap;
use std::sync::Arc;

use daybook_engine::{
    Conclusion, Context, Emit, Fault, Incoming, Input, Intent, IntentStatus, Leaf, Output, Row, RowKey, Rows, Thread,
};
use daybook_events::{Family, Header, Message, ReplyTo, Schemas, Shard, StaticSchemas, Timestamp, Writer};
use uuid::Uuid;

use super::Tables;
use crate::Part;

/// The topic where commands sent by [`Bench::send`] want their replies.
pub const REPLIES: &str = "test.reply.inbox.v1";

/// A part with its rows in memory: it is told what the engine would tell it, and keeps what comes of it as the
/// engine would.
pub struct Bench {
    leaf: Arc<dyn Leaf>,
    /// What time it is.
    pub now: Timestamp,
    /// On whose behalf messages are sent.
    pub thread: Thread,
    /// Id of the next message; rises by one.
    pub next_id: Uuid,
    /// Who numbered the next message; nobody otherwise.
    pub shard: Option<Shard>,
    /// Rows of a projection.
    pub tables: Tables,
    rows: BTreeMap<RowKey, Row>,
    intents: BTreeMap<Uuid, Intent>,
}

/// What came of one input.
#[derive(Debug)]
pub struct Handled {
    /// Id of the message sent.
    pub message_id: Uuid,
    pub output: Output,
}

impl Bench {
    pub fn new(part: &Part) -> Self {
        Self::of(Arc::clone(&part.leaf))
    }

    pub(crate) fn of(leaf: Arc<dyn Leaf>) -> Self {
        Self {
            leaf,
            now: Timestamp(0),
            thread: Thread::default(),
            next_id: Uuid::from_u128(1),
            shard: None,
            tables: Tables::default(),
            rows: BTreeMap::new(),
            intents: BTreeMap::new(),
        }
    }

    /// Sends a message to the part's topic, wanting a reply in [`REPLIES`] under its own key.
    ///
    /// # Errors
    /// The fault under which it would be parked.
    pub fn send<M: Message>(&mut self, message: &M) -> Result<Handled, Fault> {
        let reply_to = ReplyTo { topic: REPLIES.into(), key: message.key() };
        let header = Header { reply_to: Some(reply_to), ..self.header() };
        self.raw(message.key(), M::FULL_NAME, &encode(message), header, false)
    }

    /// Sends a message to the part's control topic, as the reply to a command or a provider's notice.
    ///
    /// # Errors
    /// The fault under which it would be parked.
    pub fn control<M: Message>(&mut self, key: Uuid, message: &M) -> Result<Handled, Fault> {
        let header = Header { reply_for: Some(Uuid::from_u128(0xa5c)), ..self.header() };
        self.raw(key, M::FULL_NAME, &encode(message), header, true)
    }

    /// Sends a message to the part's topic as the reply to this command, under the key that was asked for.
    ///
    /// # Errors
    /// The fault under which it would be parked.
    pub fn reply<M: Message>(&mut self, key: Uuid, reply_for: Uuid, message: &M) -> Result<Handled, Fault> {
        let header = Header { reply_for: Some(reply_for), ..self.header() };
        self.raw(key, M::FULL_NAME, &encode(message), header, false)
    }

    /// Sends whatever bytes as a record of this type.
    ///
    /// # Errors
    /// The fault under which it would be parked.
    pub fn bytes(&mut self, key: Uuid, type_name: &str, body: &[u8]) -> Result<Handled, Fault> {
        let header = self.header();
        self.raw(key, type_name, body, header, false)
    }

    pub(crate) fn family<E: Family>(&mut self, message: &E) -> Result<Handled, Fault> {
        let mut body = Vec::new();
        message.encode(&mut body).expect("messages of tests fit their schemas");
        let header = self.header();
        self.raw(message.key(), message.full_name(), &body, header, false)
    }

    /// Fires every timer that is due by now, the earliest first, until none is.
    ///
    /// # Errors
    /// The first fault.
    pub fn fire(&mut self) -> Result<Vec<Handled>, Fault> {
        let mut handled = Vec::new();
        while let Some(row) = self.next_due() {
            handled.push(self.handle(&Input::Due { row })?);
        }
        Ok(handled)
    }

    /// The entity's effect under way is answered with these bytes.
    ///
    /// # Errors
    /// The fault under which its outcome would be parked.
    ///
    /// # Panics
    /// When there is none.
    pub fn answer(&mut self, key: impl Into<Uuid>, answer: Vec<u8>) -> Result<Handled, Fault> {
        self.conclude(key.into(), &Conclusion::Answered(answer))
    }

    /// The entity's effect under way is given up, known not to have acted.
    ///
    /// # Errors
    /// The fault under which its outcome would be parked.
    ///
    /// # Panics
    /// When there is none.
    pub fn give_up(&mut self, key: impl Into<Uuid>, code: &str) -> Result<Handled, Fault> {
        self.conclude(key.into(), &Conclusion::GaveUp { code: code.to_owned() })
    }

    /// The entity's effect under way.
    pub fn intent(&self, key: impl Into<Uuid>) -> Option<&Intent> {
        self.intents.get(&key.into())
    }

    /// How many rows the part keeps: entities and parts.
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    fn conclude(&mut self, key: Uuid, conclusion: &Conclusion) -> Result<Handled, Fault> {
        let intent = self.intents.remove(&key).expect("an effect is under way");
        self.handle(&Input::Concluded { intent: &intent, conclusion })
    }

    fn header(&self) -> Header {
        Header {
            message_id: self.next_id,
            shard: self.shard.clone(),
            correlation_id: self.next_id,
            causation_id: None,
            time: self.now,
            actor: self.thread.actor.clone(),
            tenant: self.thread.tenant,
            reply_to: None,
            reply_for: None,
            trace: None,
            request_hash: None,
        }
    }

    fn raw(
        &mut self,
        key: Uuid,
        type_name: &str,
        body: &[u8],
        header: Header,
        control: bool,
    ) -> Result<Handled, Fault> {
        let writer = writer(type_name);
        let intent = self.intents.get(&key).filter(|_| control).cloned();
        let incoming = Incoming { key, header: &header, writer: &writer, body, intent: intent.as_ref() };
        self.handle(&if control { Input::Control(incoming) } else { Input::Message(incoming) })
    }

    fn handle(&mut self, input: &Input<'_>) -> Result<Handled, Fault> {
        let message_id = self.next_id;
        self.next_id = Uuid::from_u128(message_id.as_u128() + 1);
        let cx = Context { now: self.now, message_id, thread: self.thread.clone() };
        let mut declared = Vec::new();
        self.leaf.parts(input, &mut declared);
        let key = input.key();
        let loaded = |row: &RowKey| {
            let is_declared = row.is_entity() || declared.contains(&row.part);
            (row.key == key && is_declared).then(|| self.rows.get(row).cloned())
        };
        let mut rows = Rows::new(&loaded);
        let mut output = Output::default();
        self.leaf.handle(input, &mut rows, &cx, &mut output)?;
        let written = rows.into_written();
        self.keep(key, &cx, written, &output);
        Ok(Handled { message_id, output })
    }

    fn keep(
        &mut self,
        key: Uuid,
        cx: &Context,
        written: impl IntoIterator<Item = (RowKey, Option<Row>)>,
        output: &Output,
    ) {
        for (row_key, row) in written {
            match row {
                Some(row) => self.rows.insert(row_key, row),
                None => self.rows.remove(&row_key),
            };
        }
        if output.concludes.is_some() {
            self.intents.remove(&key);
        }
        for new in &output.intents {
            let intent = Intent {
                id: cx.message_id,
                partition: 0,
                key,
                request: new.request.clone(),
                reply: new.reply.clone(),
                thread: cx.thread.clone(),
                created_at: cx.now,
                status: IntentStatus::Open,
                attempts: 0,
                code: None,
            };
            self.intents.insert(key, intent);
        }
        for change in &output.changes {
            self.tables.apply(&self.leaf.spec().tables, change);
        }
    }

    fn next_due(&self) -> Option<RowKey> {
        self.rows
            .iter()
            .filter_map(|(key, row)| Some((row.due?, *key)))
            .filter(|(due, _)| *due <= self.now)
            .min()
            .map(|(_, key)| key)
    }
}

impl Handled {
    /// The messages of this type that went to its own topic.
    pub fn events<M: Message>(&self) -> Vec<M> {
        self.messages(|emit| emit.reply_for.is_none())
    }

    /// The replies of this type.
    pub fn replies<M: Message>(&self) -> Vec<M> {
        self.messages(|emit| emit.reply_for.is_some())
    }

    fn messages<M: Message>(&self, is_wanted: impl Fn(&Emit) -> bool) -> Vec<M> {
        self.output
            .messages
            .iter()
            .filter(|emit| emit.type_name == M::FULL_NAME && is_wanted(emit))
            .map(|emit| {
                daybook_events::decode(&writer(M::FULL_NAME), &emit.body).expect("the part has just written it")
            })
            .collect()
    }
}

fn encode<M: Message>(message: &M) -> Vec<u8> {
    let mut body = Vec::new();
    daybook_events::encode(message, &mut body).expect("messages of tests fit their schemas");
    body
}

fn writer(type_name: &str) -> Arc<Writer> {
    StaticSchemas.id_of(type_name).and_then(|id| StaticSchemas.writer(id)).expect("the type is one of this build's")
}
