//! Turns a batch into the arguments of the commit function, in the order of [`crate::function::ARGUMENTS`].

use std::collections::BTreeMap;

use daybook_engine::{
    Applied, Commit, Held, HistoryRow, Intent, IntentStatus, OutboxRow, Parked, PartitionCommit, RawRecord, StateRow,
    Stream, TableChanges,
};
use serde_json::{Map, Value};
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::types::Json;
use sqlx::{Arguments, Encode, Postgres, Type};
use uuid::Uuid;

use crate::moment::Moment;

/// Encodes a batch.
///
/// # Errors
/// A number or time outside of what the database can hold: the data's fault, for ever.
pub(crate) fn of_commit(commit: &Commit) -> Result<PgArguments, BoxDynError> {
    let mut arguments = Columns::default();
    arguments.partitions(&commit.partitions)?;
    arguments.states(&commit.rows)?;
    arguments.outbox(&commit.outbox)?;
    arguments.intents(&commit.intents_put)?;
    arguments.each(&commit.intents_gone, |id| Ok(*id))?;
    arguments.held(&commit.held_put)?;
    arguments.each(&commit.held_gone, |(partition, _)| Ok(i32::from(*partition)))?;
    arguments.each(&commit.held_gone, |(_, number)| signed(*number))?;
    arguments.parked(&commit.parked_put)?;
    arguments.each(&commit.parked_gone, |id| Ok(*id))?;
    arguments.applied(&commit.applied_put)?;
    arguments.history(&commit.history)?;
    arguments.tables(&commit.tables)?;
    Ok(arguments.encoded)
}

pub(crate) fn stream_text(stream: Stream) -> &'static str {
    match stream {
        Stream::Data => "data",
        Stream::Control => "control",
    }
}

pub(crate) fn status_text(status: IntentStatus) -> &'static str {
    match status {
        IntentStatus::Open => "open",
        IntentStatus::NeedsAttention => "needs-attention",
    }
}

fn signed(number: u64) -> Result<i64, BoxDynError> {
    Ok(i64::try_from(number)?)
}

#[derive(Default)]
struct Columns {
    encoded: PgArguments,
}

impl Columns {
    /// One array: `column` of every row. NULL where there is none: an empty array the server would read, copy and keep, and most of
    /// the arrays of a batch are empty.
    fn each<'t, R, C: 't>(
        &mut self,
        rows: &'t [R],
        column: impl Fn(&'t R) -> Result<C, BoxDynError>,
    ) -> Result<(), BoxDynError>
    where
        Vec<C>: Encode<'t, Postgres> + Type<Postgres>,
    {
        let values: Vec<C> = rows.iter().map(column).collect::<Result<_, _>>()?;
        self.encoded.add((!rows.is_empty()).then_some(values))
    }

    fn partitions(&mut self, rows: &[PartitionCommit]) -> Result<(), BoxDynError> {
        self.each(rows, |row| Ok(i32::from(row.partition)))?;
        self.each(rows, |row| Ok(row.version))?;
        self.each(rows, |row| Ok(row.next_data))?;
        self.each(rows, |row| Ok(row.next_control))?;
        self.each(rows, |row| signed(row.out_seq))?;
        self.each(rows, |row| signed(row.published_seq))?;
        self.each(rows, |row| signed(row.held_next))?;
        self.each(rows, |row| Ok(row.marks.as_deref()))?;
        self.each(rows, |row| Ok(row.last_numbers.as_deref()))
    }

    fn states(&mut self, rows: &[StateRow]) -> Result<(), BoxDynError> {
        let kept: Vec<_> = rows.iter().filter_map(|state| Some((state, state.row.as_ref()?))).collect();
        self.each(&kept, |(state, _)| Ok(state.key.key))?;
        self.each(&kept, |(state, _)| Ok(state.key.part))?;
        self.each(&kept, |(state, _)| Ok(i32::from(state.partition)))?;
        self.each(&kept, |(_, row)| signed(row.number))?;
        self.each(&kept, |(_, row)| Ok(row.due.map(Moment)))?;
        self.each(&kept, |(_, row)| Ok(row.status.as_deref()))?;
        self.each(&kept, |(_, row)| Ok(&row.body[..]))?;
        let gone: Vec<_> = rows.iter().filter(|state| state.row.is_none()).map(|state| state.key).collect();
        self.each(&gone, |key| Ok(key.key))?;
        self.each(&gone, |key| Ok(key.part))
    }

    fn outbox(&mut self, rows: &[OutboxRow]) -> Result<(), BoxDynError> {
        self.each(rows, |row| Ok(i32::from(row.partition)))?;
        self.each(rows, |row| signed(row.first_seq))?;
        self.each(rows, |row| signed(row.last_seq))?;
        self.each(rows, |row| Ok(&row.messages[..]))
    }

    fn intents(&mut self, rows: &[Intent]) -> Result<(), BoxDynError> {
        self.each(rows, |row| Ok(row.id))?;
        self.each(rows, |row| Ok(i32::from(row.partition)))?;
        self.each(rows, |row| Ok(row.key))?;
        self.each(rows, |row| Ok(&row.request[..]))?;
        self.each(rows, |row| Ok(row.reply.as_ref().map(serde_json::to_string).transpose()?))?;
        self.each(rows, |row| Ok(serde_json::to_string(&row.thread)?))?;
        self.each(rows, |row| Ok(Moment(row.created_at)))?;
        self.each(rows, |row| Ok(status_text(row.status)))?;
        self.each(rows, |row| Ok(i32::try_from(row.attempts)?))?;
        self.each(rows, |row| Ok(row.code.as_deref()))
    }

    fn held(&mut self, rows: &[Held]) -> Result<(), BoxDynError> {
        self.each(rows, |row| Ok(i32::from(row.partition)))?;
        self.each(rows, |row| signed(row.number))?;
        let raw: Vec<&RawRecord> = rows.iter().map(|row| &row.raw).collect();
        self.raw(&raw)
    }

    fn raw(&mut self, rows: &[&RawRecord]) -> Result<(), BoxDynError> {
        self.each(rows, |row| Ok(stream_text(row.stream)))?;
        self.each(rows, |row| Ok(row.offset))?;
        self.each(rows, |row| Ok(Moment(row.time)))?;
        self.each(rows, |row| Ok(row.key.as_deref()))?;
        self.each(rows, |row| Ok(row.header.as_deref()))?;
        self.each(rows, |row| Ok(row.value.as_deref()))
    }

    fn parked(&mut self, rows: &[Parked]) -> Result<(), BoxDynError> {
        self.each(rows, |row| Ok(row.id))?;
        self.each(rows, |row| Ok(i32::from(row.partition)))?;
        let raw: Vec<&RawRecord> = rows.iter().map(|row| &row.raw).collect();
        self.raw(&raw)?;
        self.each(rows, |row| Ok(row.code.as_str()))?;
        self.each(rows, |row| Ok(row.detail.as_str()))?;
        self.each(rows, |row| Ok(i32::try_from(row.attempts)?))?;
        self.each(rows, |row| Ok(Moment(row.parked_at)))?;
        self.each(rows, |row| Ok(row.blocks))
    }

    fn applied(&mut self, rows: &[Applied]) -> Result<(), BoxDynError> {
        self.each(rows, |row| Ok(row.id))?;
        self.each(rows, |row| Ok(row.request_hash.as_ref().map(|hash| &hash[..])))?;
        self.each(rows, |row| Ok(row.closing.as_ref().map(|(type_name, _)| type_name.as_str())))?;
        self.each(rows, |row| Ok(row.closing.as_ref().map(|(_, body)| &body[..])))
    }

    fn history(&mut self, rows: &[HistoryRow]) -> Result<(), BoxDynError> {
        self.each(rows, |row| Ok(i32::from(row.partition)))?;
        self.each(rows, |row| Ok(row.key))?;
        self.each(rows, |row| Ok(Moment(row.at)))?;
        self.each(rows, |row| Ok(row.entry.as_str()))
    }

    fn tables(&mut self, changes: &[TableChanges]) -> Result<(), BoxDynError> {
        type ByTable<'a> = BTreeMap<&'a str, Vec<&'a Map<String, Value>>>;
        let (mut upserts, mut deletes) = (ByTable::new(), ByTable::new());
        for change in changes {
            if !change.upserts.is_empty() {
                upserts.entry(change.table).or_default().extend(&change.upserts);
            }
            if !change.deletes.is_empty() {
                deletes.entry(change.table).or_default().extend(&change.deletes);
            }
        }
        self.encoded.add((!upserts.is_empty()).then_some(Json(upserts)))?;
        self.encoded.add((!deletes.is_empty()).then_some(Json(deletes)))
    }
}

/// Ids that are asked for, as two arrays.
pub(crate) fn split_keys(rows: &[(u16, daybook_engine::RowKey)]) -> (Vec<Uuid>, Vec<Uuid>) {
    rows.iter().map(|(_, key)| (key.key, key.part)).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::{ARGUMENTS, TABLE_ARGUMENTS};

    #[test]
    fn an_argument_is_bound_for_each_one_declared() -> Result<(), BoxDynError> {
        let bound = of_commit(&Commit::default())?.len();
        assert_eq!(bound, ARGUMENTS.len() + TABLE_ARGUMENTS.len());
        Ok(())
    }
}
