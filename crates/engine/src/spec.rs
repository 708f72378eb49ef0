//! What a part of a leaf declares about itself; everything operational follows from it.

use crate::EffectPolicy;

/// Partitions of every topic. Part of the contract: growing means a new topic and a copy.
pub const PARTITIONS: u16 = 8;

/// The kinds of parts that consume; a façade only produces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    Aggregate,
    Saga,
    Projection,
    Policy,
}

/// One part: its name is its consumer group, schema, metric label and span name, for ever.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: &'static str,
    pub kind: PartKind,
    /// The one data topic that it reads.
    pub input: &'static str,
    /// Its control topic, co-partitioned with `input`.
    pub control: String,
    /// The topics it publishes to besides replies; for checks and the flow map.
    pub outputs: Vec<&'static str>,
    /// Tables of a projection; empty for the other kinds.
    pub tables: Vec<Table>,
    /// Set where the part acts on the outside world.
    pub effects: Option<EffectPolicy>,
}

impl Spec {
    /// The control topic of a part that reads `input`: that of the entity for aggregates and sagas
    /// (`learning.course.control.v1`), one under its own name for projections and policies
    /// (`learning.course-catalog.control.v1`).
    pub fn control_topic(kind: PartKind, name: &str, input: &str) -> String {
        let mut pieces = input.split('.');
        let domain = pieces.next().unwrap_or("daybook");
        let entity = match kind {
            PartKind::Aggregate | PartKind::Saga => pieces.next().unwrap_or(name),
            PartKind::Projection | PartKind::Policy => name,
        };
        format!("{domain}.{entity}.control.v1")
    }
}

/// A table of a projection: `columns` in order; the first `key_columns` of them are the primary key.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: Vec<Column>,
    pub key_columns: usize,
    /// Column lists that get an index, e.g. `"person_id, opened_at"`.
    pub indexes: Vec<&'static str>,
    /// Conditions that the database refuses every row without, e.g. `"debit_minor + credit_minor = 0"`.
    pub checks: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: &'static str,
    /// Postgres type: `uuid`, `text`, `bigint`, `boolean`, `timestamptz`, `jsonb`, `bytea` (hex text in changes), …
    pub sql_type: &'static str,
    pub fold: Fold,
}

/// How a new value meets the one that is there. `null` or absent always leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The latest wins: only for rows owned by the record's key and one topic.
    Set,
    /// The first stays.
    Once,
    /// Sum (integers).
    Add,
    Min,
    Max,
}
