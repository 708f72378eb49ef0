//! Changes to projection tables, merged so that each row comes out once per batch.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Change, Fault, Fold, Table, TableChanges};

type Columns = Map<String, Value>;

/// What a batch does to one row: delete what was there, then put these columns.
#[derive(Debug)]
struct RowChange {
    key: Columns,
    delete: bool,
    upsert: Option<Columns>,
}

#[derive(Debug, Default)]
pub(crate) struct TableFold {
    rows: BTreeMap<(usize, String), RowChange>,
}

impl TableFold {
    /// # Errors
    /// When the change names a table or column that was not declared, or lacks its primary key.
    pub(crate) fn check(tables: &[Table], change: &Change) -> Result<(), Fault> {
        let (_, table) = find(tables, change)?;
        for name in change.columns.keys() {
            if !table.columns.iter().any(|column| column.name == name) {
                return Err(Fault::with("column-unknown", format!("{}.{name}", table.name)));
            }
        }
        key_text(table, &change.columns).map(|_| ())
    }

    /// Takes a change that was checked.
    pub(crate) fn add(&mut self, tables: &[Table], change: Change) {
        let Ok((index, table)) = find(tables, &change) else {
            return;
        };
        let Ok(key) = key_text(table, &change.columns) else {
            return;
        };
        let row = self.rows.entry((index, key)).or_insert_with(|| RowChange {
            key: key_columns(table, &change.columns),
            delete: false,
            upsert: None,
        });
        if change.delete {
            row.delete = true;
            row.upsert = None;
            return;
        }
        match &mut row.upsert {
            Some(columns) => merge(table, columns, change.columns),
            None => row.upsert = Some(change.columns),
        }
    }

    pub(crate) fn finish(self, tables: &[Table]) -> Vec<TableChanges> {
        let mut changes: Vec<TableChanges> = tables
            .iter()
            .map(|table| TableChanges { table: table.name, upserts: Vec::new(), deletes: Vec::new() })
            .collect();
        for ((index, _), row) in self.rows {
            if row.delete {
                changes[index].deletes.push(row.key);
            }
            changes[index].upserts.extend(row.upsert);
        }
        changes.retain(|change| !change.upserts.is_empty() || !change.deletes.is_empty());
        changes
    }
}

fn find<'a>(tables: &'a [Table], change: &Change) -> Result<(usize, &'a Table), Fault> {
    let found = tables.iter().enumerate().find(|(_, table)| table.name == change.table);
    found.ok_or_else(|| Fault::with("table-unknown", change.table))
}

fn key_text(table: &Table, columns: &Columns) -> Result<String, Fault> {
    let mut text = String::new();
    for column in &table.columns[..table.key_columns] {
        match columns.get(column.name) {
            None | Some(Value::Null) => {
                return Err(Fault::with("row-key-missing", format!("{}.{}", table.name, column.name)));
            }
            Some(value) => {
                text.push_str(&value.to_string());
                text.push('\u{1f}');
            }
        }
    }
    Ok(text)
}

fn key_columns(table: &Table, columns: &Columns) -> Columns {
    let names = table.columns[..table.key_columns].iter().map(|column| column.name);
    names.filter_map(|name| columns.get(name).map(|value| (name.to_owned(), value.clone()))).collect()
}

fn merge(table: &Table, into: &mut Columns, new: Columns) {
    for (name, value) in new {
        if value.is_null() {
            continue;
        }
        let fold = table.columns.iter().find(|column| column.name == name).map_or(Fold::Set, |column| column.fold);
        let old = into.remove(&name).filter(|old| !old.is_null());
        let merged = match (old, fold) {
            (None, _) | (_, Fold::Set) => value,
            (Some(old), Fold::Once) => old,
            (Some(old), Fold::Add) => {
                Value::from(old.as_i64().unwrap_or(0).saturating_add(value.as_i64().unwrap_or(0)))
            }
            (Some(old), Fold::Min) => {
                if less(&value, &old) {
                    value
                } else {
                    old
                }
            }
            (Some(old), Fold::Max) => {
                if less(&old, &value) {
                    value
                } else {
                    old
                }
            }
        };
        into.insert(name, merged);
    }
}

fn less(a: &Value, b: &Value) -> bool {
    match (a.as_i64(), b.as_i64(), a.as_str(), b.as_str()) {
        (Some(a), Some(b), ..) => a < b,
        (.., Some(a), Some(b)) => a < b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Column;

    fn tables() -> Vec<Table> {
        let column = |name, fold| Column { name, sql_type: "bigint", fold };
        let columns = vec![
            column("id", Fold::Set),
            column("latest", Fold::Set),
            column("first", Fold::Once),
            column("sum", Fold::Add),
            column("low", Fold::Min),
            column("high", Fold::Max),
        ];
        vec![Table { name: "t", columns, key_columns: 1, indexes: vec![], checks: vec![] }]
    }

    fn change(columns: Value, delete: bool) -> Change {
        let Value::Object(columns) = columns else { panic!("an object") };
        Change { table: "t", columns, delete }
    }

    fn fold(changes: Vec<Change>) -> Vec<TableChanges> {
        let mut fold = TableFold::default();
        for change in changes {
            TableFold::check(&tables(), &change).expect("declared");
            fold.add(&tables(), change);
        }
        fold.finish(&tables())
    }

    #[test]
    fn changes_of_one_row_become_one() {
        let one = json!({"id": 1, "latest": 1, "first": 1, "sum": 1, "low": 5, "high": 5});
        let two = json!({"id": 1, "latest": 2, "first": 2, "sum": 2, "low": 3, "high": 3});
        let folded = fold(vec![change(one, false), change(two, false)]);
        let expected = json!({"id": 1, "latest": 2, "first": 1, "sum": 3, "low": 3, "high": 5});
        assert_eq!(Value::Object(folded[0].upserts[0].clone()), expected);
    }

    #[test]
    fn a_deleted_row_may_come_back() {
        let gone = fold(vec![change(json!({"id": 1, "sum": 1}), false), change(json!({"id": 1}), true)]);
        assert_eq!((gone[0].upserts.len(), gone[0].deletes.len()), (0, 1));
        let back = fold(vec![change(json!({"id": 1}), true), change(json!({"id": 1, "sum": 4}), false)]);
        assert_eq!(back[0].upserts[0]["sum"], json!(4));
        assert_eq!(back[0].deletes.len(), 1);
    }

    #[test]
    fn what_was_not_declared_is_a_fault() {
        let code = |columns| TableFold::check(&tables(), &change(columns, false)).unwrap_err().code;
        assert_eq!(code(json!({"id": 1, "colour": 1})), "column-unknown");
        assert_eq!(code(json!({"sum": 1})), "row-key-missing");
    }
}
