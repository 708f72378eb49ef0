use std::collections::BTreeMap;

use daybook_engine::{Change, Fold, Table};
use daybook_events::Timestamp;
use serde_json::{Map, Value};

type Columns = Map<String, Value>;

/// Tables of a projection in memory, folded as the store folds them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    rows: BTreeMap<&'static str, BTreeMap<String, Columns>>,
}

impl Tables {
    /// The rows of a table in the order of their primary keys' JSON.
    pub fn rows(&self, table: &str) -> Vec<&Columns> {
        self.rows.get(table).into_iter().flat_map(BTreeMap::values).collect()
    }

    /// # Panics
    /// When the change is for a table that is not among `declared`.
    pub fn apply(&mut self, declared: &[Table], change: &Change) {
        let table = declared
            .iter()
            .find(|table| table.name == change.table)
            .expect("the kit has checked that the table is declared");
        let key: Vec<_> =
            table.columns.iter().take(table.key_columns).map(|column| change.columns.get(column.name)).collect();
        let key = format!("{key:?}");
        let rows = self.rows.entry(table.name).or_default();
        if change.delete {
            rows.remove(&key);
            return;
        }
        let row = rows.entry(key).or_default();
        for column in &table.columns {
            let Some(new) = change.columns.get(column.name).filter(|value| !value.is_null()) else {
                continue;
            };
            let folded = match row.get(column.name) {
                Some(old) => fold(column.fold, old, new),
                None => new.clone(),
            };
            row.insert(column.name.to_owned(), folded);
        }
    }
}

fn fold(fold: Fold, old: &Value, new: &Value) -> Value {
    match fold {
        Fold::Set => new.clone(),
        Fold::Once => old.clone(),
        Fold::Add => (integer(old) + integer(new)).into(),
        Fold::Min if is_less(new, old) => new.clone(),
        Fold::Max if is_less(old, new) => new.clone(),
        Fold::Min | Fold::Max => old.clone(),
    }
}

fn integer(value: &Value) -> i64 {
    value.as_i64().expect("columns that add up are integers")
}

fn is_less(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => match (one.parse::<Timestamp>(), other.parse::<Timestamp>()) {
            (Ok(one), Ok(other)) => one < other,
            _ => one < other,
        },
        _ => integer(one) < integer(other),
    }
}
