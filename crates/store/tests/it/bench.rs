//! A part of its own for each test, in schemas of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use bytes::Bytes;
use daybook_engine::{
    Claimed, Column, Commit, Fold, PARTITIONS, PartKind, PartitionCommit, RawRecord, Row, RowKey, Spec, StateRow,
    Stream, Table,
};
use daybook_events::Timestamp;
use daybook_store::{PartStore, Seen, SeenTopic, Settings, Store};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::server::Server;

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Bench {
    pub store: Store,
    pub prefix: String,
    pub spec: Spec,
    pub server: Arc<Server>,
}

impl Bench {
    pub async fn new() -> Result<Self> {
        let server = Server::shared()?;
        let prefix = format!("t{}_{}_", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let store = Store::connect(Settings { schema_prefix: prefix.clone(), ..Settings::of(&server.url) }).await?;
        Ok(Self { store, prefix, spec: spec("enrollment-saga", PartKind::Saga), server })
    }

    pub fn settings(&self) -> Settings {
        Settings { schema_prefix: self.prefix.clone(), ..Settings::of(&self.server.url) }
    }

    pub async fn part(&self) -> Result<PartStore> {
        Ok(self.store.prepare(&self.spec, &fresh_log(), None).await?)
    }

    /// A connection beside the store, for faults and for looking behind it.
    pub async fn beside(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.server.url).await?)
    }
}

pub fn spec(name: &'static str, kind: PartKind) -> Spec {
    let input = "learning.enrollment-saga.inbox.v1";
    Spec {
        name,
        kind,
        input,
        control: Spec::control_topic(kind, name, input),
        outputs: Vec::new(),
        tables: Vec::new(),
        effects: None,
    }
}

pub fn balance_table() -> Table {
    let column = |name, sql_type, fold| Column { name, sql_type, fold };
    Table {
        name: "balance",
        columns: vec![
            column("owner", "uuid", Fold::Once),
            column("currency", "text", Fold::Once),
            column("label", "text", Fold::Set),
            column("first_label", "text", Fold::Once),
            column("total", "bigint", Fold::Add),
            column("least", "bigint", Fold::Min),
            column("latest", "timestamptz", Fold::Max),
            column("hash", "bytea", Fold::Set),
            column("order", "jsonb", Fold::Set),
        ],
        key_columns: 2,
        indexes: vec!["label, total"],
        checks: vec!["total IS DISTINCT FROM -999"],
    }
}

pub fn fresh_log() -> Seen {
    log(0, 0)
}

pub fn log(start: i64, end: i64) -> Seen {
    let topic = |name: &str| SeenTopic {
        name: name.to_owned(),
        id: format!("id-of-{name}"),
        offsets: vec![(start, end); usize::from(PARTITIONS)],
    };
    Seen { cluster_id: "cluster".to_owned(), data: topic("data"), control: topic("control") }
}

/// The partition as claimed, to be changed and committed.
pub fn next(claimed: &Claimed) -> PartitionCommit {
    PartitionCommit {
        partition: claimed.partition,
        version: claimed.version,
        next_data: claimed.next_data,
        next_control: claimed.next_control,
        out_seq: claimed.out_seq,
        published_seq: claimed.published_seq,
        held_next: claimed.held_next,
        marks: None,
        last_numbers: None,
    }
}

pub fn of_partition(partition: PartitionCommit) -> Commit {
    Commit { partitions: vec![partition], ..Commit::default() }
}

pub fn state(partition: u16, key: RowKey, number: u64, due: Option<Timestamp>) -> StateRow {
    let row = Row { number, due, status: Some("running".into()), body: Bytes::from(number.to_string()) };
    StateRow { partition, key, row: Some(row) }
}

pub fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A record with odd bytes everywhere.
pub fn raw(offset: i64, key: Option<&[u8]>) -> RawRecord {
    RawRecord {
        stream: Stream::Data,
        offset,
        time: Timestamp(1_767_225_600_123_456),
        key: key.map(Bytes::copy_from_slice),
        header: Some(Bytes::from_static(b"\0\xffheader")),
        value: None,
    }
}
