use std::sync::Arc;

use bytes::Bytes;
use daybook_events::{FRAME_BYTES, Header, Schemas, Writer, key, unframe};
use uuid::Uuid;

use crate::{Fault, Incoming, Intent, RawRecord, Record, SchemaLookup};

/// A record, and as much of it as makes sense.
#[derive(Clone, Debug)]
pub(crate) struct Understood {
    pub(crate) record: Arc<Record>,
    pub(crate) header: Option<Header>,
    writer: Option<Arc<Writer>>,
    /// The entity it is for, or the first thing that is wrong with the record.
    key: Result<Uuid, Fault>,
}

impl Understood {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        let header = record.header.as_deref().map(Header::decode);
        let writer = match &record.schema {
            SchemaLookup::Known(writer) => Ok(Arc::clone(writer)),
            SchemaLookup::NoSuchId(id) => Err(Fault::with("schema-unknown", format!("schema id {id}"))),
            SchemaLookup::Unframed => Err(Fault::new("not-framed")),
        };
        let id = record.key.as_deref().and_then(key::parse);
        let key = match (&header, id, &writer) {
            (None, ..) => Err(Fault::new("header-missing")),
            (Some(Err(_)), ..) => Err(Fault::new("header-invalid")),
            (_, None, _) => Err(Fault::new("key-invalid")),
            (.., Err(fault)) => Err(fault.clone()),
            (_, Some(id), Ok(_)) => Ok(id),
        };
        Self { header: header.and_then(Result::ok), writer: writer.ok(), key, record }
    }

    /// A record that was kept. Its schema was looked up before it was handed over, so one that is not
    /// known now does not exist.
    pub(crate) fn kept(raw: &RawRecord, partition: u16, schemas: &dyn Schemas) -> Self {
        let schema = match raw.value.as_deref().map(unframe) {
            Some(Ok((id, _))) => match schemas.writer(id) {
                Some(writer) => SchemaLookup::Known(writer),
                None => SchemaLookup::NoSuchId(id),
            },
            _ => SchemaLookup::Unframed,
        };
        Self::new(Arc::new(Record {
            stream: raw.stream,
            partition,
            offset: raw.offset,
            time: raw.time,
            key: raw.key.clone(),
            header: raw.header.clone(),
            value: raw.value.clone(),
            schema,
        }))
    }

    pub(crate) fn raw(&self) -> RawRecord {
        RawRecord {
            stream: self.record.stream,
            offset: self.record.offset,
            time: self.record.time,
            key: self.record.key.clone(),
            header: self.record.header.clone(),
            value: self.record.value.clone(),
        }
    }

    /// The raw key: what order is kept by. A record without one is behind nothing.
    pub(crate) fn raw_key(&self) -> Option<Bytes> {
        self.record.key.clone()
    }

    /// Full name of the record's type; empty when it cannot be told.
    pub(crate) fn type_name(&self) -> &str {
        self.writer().map_or("", Writer::full_name)
    }

    pub(crate) fn writer(&self) -> Option<&Writer> {
        self.writer.as_deref()
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.record.value.as_deref().and_then(|value| value.get(FRAME_BYTES..)).unwrap_or_default()
    }

    /// Whether it comes from outside: not numbered by a shard, so it is known by its id alone.
    pub(crate) fn outside_id(&self) -> Option<Uuid> {
        self.header.as_ref().filter(|header| header.shard.is_none()).map(|header| header.message_id)
    }

    /// # Errors
    /// Why it cannot be handed to a leaf.
    pub(crate) fn incoming<'a>(&'a self, intent: Option<&'a Intent>) -> Result<Incoming<'a>, Fault> {
        let key = self.key.clone()?;
        let header = self.header.as_ref().ok_or_else(|| Fault::new("header-missing"))?;
        let writer = self.writer().ok_or_else(|| Fault::new("not-framed"))?;
        Ok(Incoming { key, header, writer, body: self.body(), intent })
    }
}
