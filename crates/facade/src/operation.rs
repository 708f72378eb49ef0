//! What became of a command: the rows of the read model, and the resource made of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Caller;
use crate::pages::title_of;
use crate::problem::page_of;

/// The most steps of one operation that are shown.
pub const STEPS_MAX: usize = 500;

/// Scope of those who see and steer everything.
pub const OPERATOR: &str = "operator";

/// Scope of those who see what others of their organization asked for.
pub const OPERATIONS_READ: &str = "operations:read";

/// A row of the table `operation`. Acceptance and reply are written as they come, in any order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct OperationRow {
    /// Id of the command.
    pub operation_id: Uuid,
    /// Full name of the command.
    pub command: Option<String>,
    /// Who asked.
    pub caller_id: Option<Uuid>,
    /// On behalf of which organization.
    pub tenant_id: Option<Uuid>,
    /// Hash of the request in hex; none while only the reply is known.
    pub request_hash: Option<String>,
    /// Path of the request.
    pub target: Option<String>,
    /// When Kafka had acknowledged the command.
    pub accepted_at: Option<String>,
    /// Full name of the closing event.
    pub closing_type: Option<String>,
    /// The closing event.
    pub closing: Option<Map<String, Value>>,
    /// Whether what was asked for was done.
    pub succeeded: Option<bool>,
    /// Why not.
    pub code: Option<String>,
    /// A sentence on why not.
    pub detail: Option<String>,
    /// When it was closed.
    pub closed_at: Option<String>,
}

/// A row of one of the tables `operation_step_…`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StepRow {
    /// Name of the saga.
    pub saga: String,
    /// Which instance of it.
    pub instance_id: Uuid,
    /// With `position` it rises strictly within an instance.
    pub incarnation: i64,
    /// See `incarnation`.
    pub position: i64,
    /// Which run of the instance.
    pub round: Option<i64>,
    /// The step.
    pub step: Option<String>,
    /// What happened.
    pub what: String,
    /// Code of a rejection.
    pub code: Option<String>,
    /// The step that follows.
    pub next_step: Option<String>,
    /// Which attempt.
    pub attempt: Option<i64>,
    /// Where the saga stands after it.
    pub state: Option<String>,
    /// When.
    pub at: String,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The command is in the book.
    Accepted,
    /// A saga is at work on it.
    Running,
    /// Done.
    Succeeded,
    /// Refused, or undone.
    Failed,
    /// Stuck: an operator has been told.
    NeedsAttention,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Operation {
    /// Id of the command.
    pub id: Uuid,
    /// Where it stands.
    pub status: Status,
    /// Type of the command.
    pub command: Option<String>,
    /// Path of the request that it came from.
    pub target: Option<String>,
    /// When it was accepted, RFC 3339.
    pub accepted_at: Option<String>,
    /// When it was closed, RFC 3339.
    pub closed_at: Option<String>,
    /// The event that closed it, if it succeeded.
    pub result: Option<Outcome>,
    /// Why it failed.
    pub problem: Option<Failure>,
    /// The saga that works on it; the one that began last, if there are several.
    pub saga: Option<SagaState>,
}

/// The event that closed an operation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Outcome {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its fields, without those that hold a person's data.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Failure {
    /// A page about the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// In kebab case.
    pub code: String,
    /// One sentence that is the same for each such failure.
    pub title: Option<String>,
    /// A sentence about this one.
    pub detail: Option<String>,
}

/// Where a saga stands.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SagaState {
    /// Its name.
    pub name: String,
    /// Which instance.
    pub instance_id: Uuid,
    /// The step that it is at, or was at last.
    pub step: Option<String>,
    /// running, waiting, retrying, stuck, compensating, completed, compensated, failed or canceled.
    pub state: Option<String>,
    /// Since when, RFC 3339.
    pub since: String,
}

impl OperationRow {
    /// Whether this caller may see it: whoever asked, who reads for the same organization, and operators.
    pub fn is_visible_to(&self, caller: &Caller) -> bool {
        let of_tenant = caller.tenant.is_some() && self.tenant_id == caller.tenant && caller.may(OPERATIONS_READ);
        self.caller_id == Some(caller.id) || of_tenant || caller.may(OPERATOR)
    }

    /// Whether nothing more is to be expected of it.
    pub fn is_closed(&self) -> bool {
        self.closing_type.is_some()
    }
}

impl Operation {
    /// The resource, of what is known.
    pub fn of(row: OperationRow, steps: &[StepRow]) -> Self {
        let stuck = steps.iter().any(|step| is_latest(step, steps) && step.state.as_deref() == Some("stuck"));
        let status = match row.succeeded {
            Some(true) => Status::Succeeded,
            Some(false) => Status::Failed,
            None if stuck => Status::NeedsAttention,
            None if steps.is_empty() => Status::Accepted,
            None => Status::Running,
        };
        let result = match (row.closing_type, row.closing) {
            (Some(kind), Some(data)) if status == Status::Succeeded => Some(Outcome { kind, data }),
            _ => None,
        };
        let failure = |code: String| Failure {
            kind: page_of(&code),
            title: title_of(&code).map(str::to_owned),
            detail: row.detail.clone(),
            code,
        };
        Self {
            id: row.operation_id,
            status,
            command: row.command,
            target: row.target,
            accepted_at: row.accepted_at,
            closed_at: row.closed_at,
            result,
            problem: row.code.filter(|_| status == Status::Failed).map(failure),
            saga: steps.last().map(SagaState::of),
        }
    }
}

impl SagaState {
    fn of(step: &StepRow) -> Self {
        Self {
            name: step.saga.clone(),
            instance_id: step.instance_id,
            step: step.next_step.clone().or_else(|| step.step.clone()),
            state: step.state.clone(),
            since: step.at.clone(),
        }
    }
}

/// How a saga's instance may end, as its last step tells it.
const ENDS: [&str; 4] = ["completed", "compensated", "failed", "canceled"];

/// Whether no more steps are to be expected of a closed operation: every instance that has told a step has told its end, and where a
/// saga has closed it there is such an instance.
pub(crate) fn is_settled(row: &OperationRow, steps: &[StepRow]) -> bool {
    let has_ended = |step: &StepRow| step.state.as_deref().is_some_and(|state| ENDS.contains(&state));
    let is_over = steps.iter().all(|step| !is_latest(step, steps) || has_ended(step));
    let closed_by_saga = row.closing_type.as_deref().is_some_and(is_of_saga);
    is_over && (!closed_by_saga || !steps.is_empty())
}

/// Whether events of this type stand in a saga's topic.
fn is_of_saga(type_name: &str) -> bool {
    daybook_events::descriptor(type_name).is_some_and(|event| event.topic.ends_with(SAGA_EVENTS))
}

/// How the topics end in which sagas tell what they do.
const SAGA_EVENTS: &str = "-saga.events.v1";

/// Whether no later step of the same instance is among `steps`.
fn is_latest(step: &StepRow, steps: &[StepRow]) -> bool {
    let place = |step: &StepRow| (step.incarnation, step.position);
    let is_same = |other: &&StepRow| (&other.saga, other.instance_id) == (&step.saga, step.instance_id);
    steps.iter().filter(is_same).all(|other| place(other) <= place(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> OperationRow {
        OperationRow { operation_id: Uuid::from_u128(1), ..OperationRow::default() }
    }

    fn step(position: i64, state: &str) -> StepRow {
        StepRow {
            saga: "enrollment-saga".into(),
            instance_id: Uuid::from_u128(2),
            incarnation: 1,
            position,
            round: Some(1),
            step: Some("open".into()),
            what: "sent".into(),
            code: None,
            next_step: None,
            attempt: Some(1),
            state: Some(state.into()),
            at: "2026-03-01T12:00:00Z".into(),
        }
    }

    #[test]
    fn the_status_follows_from_reply_and_steps() {
        let status = |row: OperationRow, steps: &[StepRow]| Operation::of(row, steps).status;
        assert_eq!(status(row(), &[]), Status::Accepted);
        assert_eq!(status(row(), &[step(1, "waiting")]), Status::Running);
        assert_eq!(status(row(), &[step(1, "waiting"), step(2, "stuck")]), Status::NeedsAttention);
        assert_eq!(status(row(), &[step(1, "stuck"), step(2, "waiting")]), Status::Running);
        assert_eq!(status(OperationRow { succeeded: Some(true), ..row() }, &[step(2, "stuck")]), Status::Succeeded);
        assert_eq!(status(OperationRow { succeeded: Some(false), ..row() }, &[]), Status::Failed);
    }

    #[test]
    fn an_operation_is_settled_when_every_saga_has_told_its_end() {
        let of_instance = |step: StepRow, instance: u128| StepRow { instance_id: Uuid::from_u128(instance), ..step };
        let settled = |closing: &str, steps: &[StepRow]| {
            is_settled(&OperationRow { closing_type: Some(closing.into()), ..row() }, steps)
        };
        let enrolled = "daybook.learning.LearnerEnrolled";
        assert!(settled("daybook.learning.CoursePublished", &[]));
        assert!(!settled(enrolled, &[]), "a saga has closed it, and its steps are not recorded yet");
        assert!(!settled(enrolled, &[step(1, "waiting")]));
        assert!(!settled(enrolled, &[step(1, "done")]), "the pivot is passed, and more steps follow");
        assert!(settled(enrolled, &[step(1, "waiting"), step(2, "completed")]));
        assert!(!settled(enrolled, &[step(2, "completed"), of_instance(step(1, "waiting"), 3)]));
        assert!(settled(enrolled, &[step(2, "completed"), of_instance(step(1, "compensated"), 3)]));
        assert!(!settled(enrolled, &[step(2, "completed"), step(3, "compensating")]), "it was taken up again");
    }

    #[test]
    fn only_caller_readers_of_the_tenant_and_operators_see_it() {
        let mine = OperationRow { caller_id: Some(Uuid::from_u128(5)), tenant_id: Some(Uuid::from_u128(6)), ..row() };
        let sees = |id, tenant: Option<u128>, scopes: &str| {
            let tenant = tenant.map(Uuid::from_u128);
            mine.is_visible_to(&Caller { id: Uuid::from_u128(id), tenant, scopes: scopes.into() })
        };
        assert!(sees(5, None, ""));
        assert!(sees(7, Some(6), OPERATIONS_READ));
        assert!(sees(7, None, OPERATOR));
        assert!(!sees(7, Some(6), ""));
        assert!(!sees(7, Some(8), OPERATIONS_READ));
        assert!(!sees(7, None, OPERATIONS_READ));
    }
}
