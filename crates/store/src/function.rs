//! The function that applies a batch: its arguments, in the order in which `arguments.rs` binds them, and its text.

use daybook_engine::{Column, Fold, Spec, Table};

use crate::names::{Names, quoted};
use crate::{Error, ring};

/// Name and type of every argument.
pub(crate) const ARGUMENTS: [(&str, &str); 65] = [
    ("p_part", "int[]"),
    ("p_version", "bigint[]"),
    ("p_next_data", "bigint[]"),
    ("p_next_control", "bigint[]"),
    ("p_out_seq", "bigint[]"),
    ("p_published_seq", "bigint[]"),
    ("p_held_next", "bigint[]"),
    ("p_marks", "bytea[]"),
    ("p_last_numbers", "bytea[]"),
    ("s_key", "uuid[]"),
    ("s_sub", "uuid[]"),
    ("s_part", "int[]"),
    ("s_number", "bigint[]"),
    ("s_due", "timestamptz[]"),
    ("s_status", "text[]"),
    ("s_body", "bytea[]"),
    ("d_key", "uuid[]"),
    ("d_sub", "uuid[]"),
    ("o_part", "int[]"),
    ("o_first", "bigint[]"),
    ("o_last", "bigint[]"),
    ("o_messages", "bytea[]"),
    ("i_id", "uuid[]"),
    ("i_part", "int[]"),
    ("i_key", "uuid[]"),
    ("i_request", "bytea[]"),
    ("i_reply", "text[]"),
    ("i_thread", "text[]"),
    ("i_created_at", "timestamptz[]"),
    ("i_status", "text[]"),
    ("i_attempts", "int[]"),
    ("i_code", "text[]"),
    ("i_gone", "uuid[]"),
    ("h_part", "int[]"),
    ("h_number", "bigint[]"),
    ("h_stream", "text[]"),
    ("h_offset", "bigint[]"),
    ("h_time", "timestamptz[]"),
    ("h_key", "bytea[]"),
    ("h_header", "bytea[]"),
    ("h_value", "bytea[]"),
    ("h_gone_part", "int[]"),
    ("h_gone_number", "bigint[]"),
    ("k_id", "uuid[]"),
    ("k_part", "int[]"),
    ("k_stream", "text[]"),
    ("k_offset", "bigint[]"),
    ("k_time", "timestamptz[]"),
    ("k_key", "bytea[]"),
    ("k_header", "bytea[]"),
    ("k_value", "bytea[]"),
    ("k_code", "text[]"),
    ("k_detail", "text[]"),
    ("k_attempts", "int[]"),
    ("k_parked_at", "timestamptz[]"),
    ("k_blocks", "boolean[]"),
    ("k_gone", "uuid[]"),
    ("a_id", "uuid[]"),
    ("a_hash", "bytea[]"),
    ("a_type", "text[]"),
    ("a_body", "bytea[]"),
    ("y_part", "int[]"),
    ("y_key", "uuid[]"),
    ("y_at", "timestamptz[]"),
    ("y_entry", "text[]"),
];

/// Arguments of the function for a part that has tables of its own, after [`ARGUMENTS`].
pub(crate) const TABLE_ARGUMENTS: [(&str, &str); 2] = [("t_upserts", "jsonb"), ("t_deletes", "jsonb")];

fn arguments() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    ARGUMENTS.iter().chain(&TABLE_ARGUMENTS)
}

/// The statement that commits a batch.
pub(crate) fn call_sql(names: &Names) -> String {
    let placeholders: Vec<String> =
        arguments().enumerate().map(|(index, (_, sql_type))| format!("${}::{sql_type}", index + 1)).collect();
    format!("SELECT failed, at FROM {}.commit_batch({})", names.control, placeholders.join(", "))
}

/// The statement that makes, or makes anew, the function that writes to `generation`.
pub(crate) fn create_sql(names: &Names, generation: i32, spec: &Spec) -> Result<String, Error> {
    let derived = names.derived(generation);
    let declared: Vec<String> = arguments().map(|(name, sql_type)| format!("{name} {sql_type}")).collect();
    let tables: Result<Vec<String>, Error> = spec.tables.iter().map(|table| table_sql(&derived, table)).collect();
    Ok(include_str!("sql/commit.sql")
        .replace("{arguments}", &declared.join(", "))
        .replace("{tables}", &tables?.concat())
        .replace("{outbox_slot}", &ring::OUTBOX.slot_sql())
        .replace("{applied_slot}", &ring::APPLIED.slot_sql())
        .replace("{control}", &names.control)
        .replace("{derived}", &derived))
}

/// Applies the changes to one table of a projection. Merged rows are shared by all writers, so they are taken in
/// the order of the key, by everybody.
fn table_sql(derived: &str, table: &Table) -> Result<String, Error> {
    let name = quoted(table.name)?;
    let plain = table.name;
    let (keys, values) = table.columns.split_at(table.key_columns);
    let columns = each(&table.columns, |column| quoted(column.name))?.join(", ");
    let read = each(&table.columns, read_sql)?.join(", ");
    let recordset = each(&table.columns, recordset_sql)?.join(", ");
    let key_columns = each(keys, |column| quoted(column.name))?.join(", ");
    let key_recordset = each(keys, recordset_sql)?.join(", ");
    let key_equal =
        each(keys, |column| Ok(format!("t.{} = {}", quoted(column.name)?, read_sql(column)?)))?.join(" AND ");
    let key_order: Vec<String> = (1..=keys.len()).map(|place| place.to_string()).collect();
    let key_order = key_order.join(", ");
    let on_conflict = match values {
        [] => "NOTHING".to_owned(),
        _ => format!("UPDATE SET {}", each(values, fold_sql)?.join(", ")),
    };
    Ok(format!(
        "
  IF t_deletes ? '{plain}' THEN
    DELETE FROM {derived}.{name} t USING jsonb_to_recordset(t_deletes -> '{plain}') AS r ({key_recordset})
      WHERE {key_equal};
  END IF;
  IF t_upserts ? '{plain}' THEN
    INSERT INTO {derived}.{name} AS t ({columns})
      SELECT {read} FROM jsonb_to_recordset(t_upserts -> '{plain}') AS r ({recordset}) ORDER BY {key_order}
      ON CONFLICT ({key_columns}) DO {on_conflict};
  END IF;
"
    ))
}

fn each(columns: &[Column], text: impl Fn(&Column) -> Result<String, Error>) -> Result<Vec<String>, Error> {
    columns.iter().map(text).collect()
}

/// How a column stands in the JSON: times are RFC 3339, bytes are hex.
fn recordset_sql(column: &Column) -> Result<String, Error> {
    let sql_type = if column.sql_type == "bytea" { "text" } else { column.sql_type };
    Ok(format!("{} {sql_type}", quoted(column.name)?))
}

/// The value of a column as read from the JSON.
fn read_sql(column: &Column) -> Result<String, Error> {
    let name = format!("r.{}", quoted(column.name)?);
    Ok(if column.sql_type == "bytea" { format!("decode({name}, 'hex')") } else { name })
}

/// What becomes of a column when the row is there already. A null in the change leaves it as it is.
fn fold_sql(column: &Column) -> Result<String, Error> {
    let name = quoted(column.name)?;
    let (old, new) = (format!("t.{name}"), format!("excluded.{name}"));
    let folded = match column.fold {
        Fold::Set => format!("coalesce({new}, {old})"),
        Fold::Once => format!("coalesce({old}, {new})"),
        Fold::Add => {
            format!("CASE WHEN {new} IS NULL THEN {old} ELSE coalesce({old}, 0) + {new} END")
        }
        // Both pass over nulls.
        Fold::Min => format!("least({old}, {new})"),
        Fold::Max => format!("greatest({old}, {new})"),
    };
    Ok(format!("{name} = {folded}"))
}
