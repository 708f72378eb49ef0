use daybook_engine::{Change, Context, Fault, Incoming, Input, Leaf, Output, PartKind, Rows, Spec, Thread};
use daybook_events::{Shard, Timestamp};
use uuid::Uuid;

use crate::faults::{ROW_REFUSED, UNKNOWN_MESSAGE, fault};
use crate::table::TableOf;
use crate::{ReadRoute, Readable};

/// Rows made of the events of one topic: a pure fold, and the routes by which the rows are read.
pub trait Projection: Sized + Send + Sync + 'static {
    /// Consumer group, schema, metric label and span name, for ever.
    const NAME: &'static str;
    /// The events of one topic; a projection of several is one of these per topic.
    type Event: Readable;

    /// Its tables; names are unique in the whole system.
    fn tables() -> Vec<TableOf>;

    /// What an event changes.
    fn project(event: &Self::Event, meta: &Meta<'_>) -> Vec<Change>;

    /// What can be read, mounted by the API.
    fn routes() -> Vec<ReadRoute> {
        Vec::new()
    }
}

/// What is known of an event beside itself.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a> {
    /// The entity that it is of.
    pub key: Uuid,
    pub message_id: Uuid,
    /// When it happened.
    pub time: Timestamp,
    /// The command that a reply answers; `None` for what is not a reply.
    pub reply_for: Option<Uuid>,
    /// Who numbered it, and how: what a shard sends to one key has rising numbers. `None` for what came from outside.
    pub shard: Option<&'a Shard>,
    pub thread: &'a Thread,
}

impl<'a> Meta<'a> {
    pub(crate) fn of(incoming: &Incoming<'a>, cx: &'a Context) -> Self {
        Self {
            key: incoming.key,
            message_id: incoming.header.message_id,
            time: incoming.header.time,
            reply_for: incoming.header.reply_for,
            shard: incoming.header.shard.as_ref(),
            thread: &cx.thread,
        }
    }
}

pub(crate) struct ProjectionLeaf<P> {
    spec: Spec,
    tables: Vec<TableOf>,
    projection: std::marker::PhantomData<P>,
}

impl<P: Projection> ProjectionLeaf<P> {
    pub(crate) fn new() -> Self {
        let tables = P::tables();
        let spec = Spec {
            name: P::NAME,
            kind: PartKind::Projection,
            input: P::Event::INPUT,
            control: Spec::control_topic(PartKind::Projection, P::NAME, P::Event::INPUT),
            outputs: Vec::new(),
            tables: tables.iter().map(|declared| declared.table.clone()).collect(),
            effects: None,
        };
        Self { spec, tables, projection: std::marker::PhantomData }
    }

    fn check(&self, key: Uuid, change: &Change) -> Result<(), Fault> {
        let refused = |why: &str| fault(ROW_REFUSED, format!("{}: {why}", change.table));
        let declared = self
            .tables
            .iter()
            .find(|declared| declared.table.name == change.table)
            .ok_or_else(|| refused("the table is not declared"))?;
        let columns = &declared.table.columns;
        let value = |name: &str| change.columns.get(name);
        if columns.iter().take(declared.table.key_columns).any(|column| value(column.name).is_none()) {
            return Err(refused("the primary key is not complete"));
        }
        if change.columns.keys().any(|name| columns.iter().all(|column| column.name != name)) {
            return Err(refused("a column is not declared"));
        }
        let first = columns.first().and_then(|column| value(column.name));
        let owner = first.and_then(|value| value.as_str()).and_then(|text| text.parse::<Uuid>().ok());
        if declared.owned && owner != Some(key) {
            return Err(refused("an owned row begins with the record's key"));
        }
        Ok(())
    }
}

impl<P: Projection> Leaf for ProjectionLeaf<P> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn parts(&self, _input: &Input<'_>, _parts: &mut Vec<Uuid>) {}

    fn handle(&self, input: &Input<'_>, _rows: &mut Rows<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault> {
        let Input::Message(incoming) = input else {
            return Err(fault(UNKNOWN_MESSAGE, "a projection takes messages of its topic only"));
        };
        let event = P::Event::read(incoming)?;
        let changes = P::project(&event, &Meta::of(incoming, cx));
        for change in &changes {
            self.check(incoming.key, change)?;
        }
        out.changes = changes;
        Ok(())
    }
}
