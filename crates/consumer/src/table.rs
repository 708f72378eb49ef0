//! Tables of projections: which columns there are, and how a new value meets the one that is there.

use std::marker::PhantomData;

use daybook_engine::{Change, Column, Fold, Table};
use daybook_events::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// A row of a projection's table. What serializes to null, or not at all, stays as it is in the table; so all
/// fields but the primary key are `Option`s.
pub trait Row: Serialize {
    const TABLE: &'static str;
    /// [`Owned`] or [`Merged`].
    type Kind: RowKind;

    /// The columns in order, primary key first.
    fn columns() -> Columns<Self::Kind>;
}

/// The two kinds of rows that a shuffled log leaves equal.
pub trait RowKind {
    const OWNED: bool;
}

/// The row belongs to the record's key, which is its first column: all that writes it comes in order, so
/// the latest may win.
pub enum Owned {}

/// The row is written from several keys, which come in any order: only what commutes is allowed.
pub enum Merged {}

impl RowKind for Owned {
    const OWNED: bool = true;
}

impl RowKind for Merged {
    const OWNED: bool = false;
}

/// Columns under construction. Types are those of Postgres.
pub struct Columns<K> {
    columns: Vec<Column>,
    key_columns: usize,
    indexes: Vec<&'static str>,
    checks: Vec<&'static str>,
    kind: PhantomData<K>,
}

impl<K: RowKind> Columns<K> {
    /// The first column of the primary key; of an owned row, the record's key.
    pub fn key(name: &'static str, sql_type: &'static str) -> Self {
        let columns = vec![Column { name, sql_type, fold: Fold::Once }];
        Self { columns, key_columns: 1, indexes: Vec::new(), checks: Vec::new(), kind: PhantomData }
    }

    /// A further column of the primary key; before all that are not.
    #[must_use]
    pub fn and_key(mut self, name: &'static str, sql_type: &'static str) -> Self {
        self.key_columns += 1;
        self.with(name, sql_type, Fold::Once)
    }

    /// The first value stays.
    #[must_use]
    pub fn once(self, name: &'static str, sql_type: &'static str) -> Self {
        self.with(name, sql_type, Fold::Once)
    }

    /// Values add up; integers.
    #[must_use]
    pub fn add(self, name: &'static str, sql_type: &'static str) -> Self {
        self.with(name, sql_type, Fold::Add)
    }

    /// The smallest value stays.
    #[must_use]
    pub fn min(self, name: &'static str, sql_type: &'static str) -> Self {
        self.with(name, sql_type, Fold::Min)
    }

    /// The largest value stays.
    #[must_use]
    pub fn max(self, name: &'static str, sql_type: &'static str) -> Self {
        self.with(name, sql_type, Fold::Max)
    }

    /// Columns that get an index together, as in `"learner_id, opened_at"`.
    #[must_use]
    pub fn index(mut self, columns: &'static str) -> Self {
        self.indexes.push(columns);
        self
    }

    /// A condition, in SQL, that the database itself holds every row to. A record whose rows break it is parked.
    #[must_use]
    pub fn check(mut self, condition: &'static str) -> Self {
        self.checks.push(condition);
        self
    }

    fn with(mut self, name: &'static str, sql_type: &'static str, fold: Fold) -> Self {
        self.columns.push(Column { name, sql_type, fold });
        self
    }
}

impl Columns<Owned> {
    /// The latest value wins.
    #[must_use]
    pub fn set(self, name: &'static str, sql_type: &'static str) -> Self {
        self.with(name, sql_type, Fold::Set)
    }
}

/// A table as a projection declares it.
#[derive(Clone, Debug)]
pub struct TableOf {
    pub(crate) table: Table,
    pub(crate) owned: bool,
}

impl TableOf {
    /// The table of these rows.
    pub fn rows<R: Row>() -> Self {
        let Columns { columns, key_columns, indexes, checks, .. } = R::columns();
        Self { table: Table { name: R::TABLE, columns, key_columns, indexes, checks }, owned: R::Kind::OWNED }
    }
}

/// Writes a row: each column by its own rule.
pub fn put<R: Row>(row: &R) -> Change {
    Change { table: R::TABLE, columns: columns(row), delete: false }
}

/// Deletes the row with this primary key; only what is owned can be deleted.
pub fn delete<R: Row<Kind = Owned>>(row: &R) -> Change {
    Change { table: R::TABLE, columns: columns(row), delete: true }
}

fn columns<R: Row>(row: &R) -> Map<String, Value> {
    match serde_json::to_value(row) {
        Ok(Value::Object(mut columns)) => {
            columns.retain(|_, value| !value.is_null());
            columns
        }
        // Rows are structs of plain fields; anything else has no primary key and is refused as a row.
        _ => Map::new(),
    }
}

/// A time in a row: RFC 3339, as Postgres reads a `timestamptz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowTime(pub Timestamp);

impl Serialize for RowTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
