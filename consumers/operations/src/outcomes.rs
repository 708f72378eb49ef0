//! What became of each operation.

use daybook_consumer::{Change, Columns, Meta, Owned, Projection, Row, RowTime, TableOf, put};
use daybook_events::{OperationAccepted, OperationId};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Closing, OperationRecord};

/// The projection.
pub struct Operations;

/// An operation, as far as it is known. Acceptance and reply come in either order, so that the first word stays.
#[derive(Debug, Default, Serialize)]
struct OperationRow {
    operation_id: Option<OperationId>,
    /// Full name of the command's type.
    command: Option<String>,
    caller_id: Option<Uuid>,
    tenant_id: Option<Uuid>,
    /// Hex.
    request_hash: Option<String>,
    /// Path of the resource.
    target: Option<String>,
    accepted_at: Option<RowTime>,
    /// Full name of the closing event's type.
    closing_type: Option<String>,
    /// Its fields but those that are sealed.
    closing: Option<Map<String, Value>>,
    succeeded: Option<bool>,
    code: Option<String>,
    detail: Option<String>,
    closed_at: Option<RowTime>,
}

impl Row for OperationRow {
    const TABLE: &'static str = "operation";
    type Kind = Owned;

    fn columns() -> Columns<Owned> {
        Columns::key("operation_id", "uuid")
            .once("command", "text")
            .once("caller_id", "uuid")
            .once("tenant_id", "uuid")
            .once("request_hash", "text")
            .once("target", "text")
            .once("accepted_at", "timestamptz")
            .once("closing_type", "text")
            .once("closing", "jsonb")
            .once("succeeded", "boolean")
            .once("code", "text")
            .once("detail", "text")
            .once("closed_at", "timestamptz")
    }
}

impl Projection for Operations {
    const NAME: &'static str = "operations";
    type Event = OperationRecord;

    fn tables() -> Vec<TableOf> {
        vec![TableOf::rows::<OperationRow>()]
    }

    fn project(record: &OperationRecord, meta: &Meta<'_>) -> Vec<Change> {
        let row = match record {
            OperationRecord::Accepted(accepted) => of_acceptance(accepted),
            // The id of an operation is that of its command.
            OperationRecord::Closed(closing) if meta.reply_for == Some(meta.key) => of_reply(closing, meta),
            OperationRecord::Closed(_) => return Vec::new(),
        };
        vec![put(&OperationRow {
            operation_id: Some(OperationId::new(meta.key)),
            tenant_id: meta.thread.tenant,
            ..row
        })]
    }
}

fn of_acceptance(accepted: &OperationAccepted) -> OperationRow {
    OperationRow {
        command: Some(accepted.command.clone()),
        caller_id: Some(accepted.caller_id.uuid()),
        request_hash: Some(hex::encode(&accepted.request_hash)),
        target: Some(accepted.target.clone()),
        accepted_at: Some(RowTime(accepted.accepted_at)),
        ..OperationRow::default()
    }
}

fn of_reply(closing: &Closing, meta: &Meta<'_>) -> OperationRow {
    OperationRow {
        command: closing.command(),
        caller_id: meta.thread.actor.as_ref().map(|actor| actor.id),
        closing_type: Some(closing.type_name.to_owned()),
        closing: Some(closing.fields.clone()),
        succeeded: Some(closing.succeeded()),
        code: closing.code(),
        detail: closing.detail(),
        closed_at: Some(RowTime(meta.time)),
        ..OperationRow::default()
    }
}
