//! Which steps were taken for an operation, by which saga.

use std::marker::PhantomData;

use daybook_consumer::{Change, Columns, Merged, Meta, Projection, Row, RowTime, TableOf, put};
use daybook_events::{
    EnrollmentSagaEvent, Family, OperationId, PaymentSagaEvent, SagaAdvanced, SagaEnded, SagaStarted,
    WithdrawalSagaEvent,
};
use serde::Serialize;
use uuid::Uuid;

/// The tables of steps; all have the same columns.
pub const STEP_TABLES: [&str; 3] = [EnrollmentSteps::TABLE, PaymentSteps::TABLE, WithdrawalSteps::TABLE];

/// The saga whose steps are shown.
pub trait StepsOf: Send + Sync + 'static {
    /// Name of the projection.
    const NAME: &'static str;
    const TABLE: &'static str;
    /// The saga's events.
    type Event: Family;

    /// The transition that an event tells of; `None` for what the saga tells others, such as its closing event.
    fn transition(event: &Self::Event) -> Option<Transition<'_>>;
}

/// What every saga's events topic has.
#[derive(Clone, Copy, Debug)]
pub enum Transition<'e> {
    Started(&'e SagaStarted),
    Advanced(&'e SagaAdvanced),
    Ended(&'e SagaEnded),
}

/// The steps of the enrollment saga.
#[derive(Debug)]
pub enum EnrollmentSteps {}

impl StepsOf for EnrollmentSteps {
    const NAME: &'static str = "operation-steps-enrollment";
    const TABLE: &'static str = "operation_step_enrollment";
    type Event = EnrollmentSagaEvent;

    fn transition(event: &EnrollmentSagaEvent) -> Option<Transition<'_>> {
        match event {
            EnrollmentSagaEvent::SagaStarted(event) => Some(Transition::Started(event)),
            EnrollmentSagaEvent::SagaAdvanced(event) => Some(Transition::Advanced(event)),
            EnrollmentSagaEvent::SagaEnded(event) => Some(Transition::Ended(event)),
            EnrollmentSagaEvent::LearnerEnrolled(_) | EnrollmentSagaEvent::LearnerNotEnrolled(_) => None,
        }
    }
}

/// The steps of the payment saga.
#[derive(Debug)]
pub enum PaymentSteps {}

impl StepsOf for PaymentSteps {
    const NAME: &'static str = "operation-steps-payment";
    const TABLE: &'static str = "operation_step_payment";
    type Event = PaymentSagaEvent;

    fn transition(event: &PaymentSagaEvent) -> Option<Transition<'_>> {
        match event {
            PaymentSagaEvent::SagaStarted(event) => Some(Transition::Started(event)),
            PaymentSagaEvent::SagaAdvanced(event) => Some(Transition::Advanced(event)),
            PaymentSagaEvent::SagaEnded(event) => Some(Transition::Ended(event)),
            PaymentSagaEvent::PaymentCollected(_)
            | PaymentSagaEvent::PaymentNotCollected(_)
            | PaymentSagaEvent::CollectionCanceled(_) => None,
        }
    }
}

/// The steps of the withdrawal saga.
#[derive(Debug)]
pub enum WithdrawalSteps {}

impl StepsOf for WithdrawalSteps {
    const NAME: &'static str = "operation-steps-withdrawal";
    const TABLE: &'static str = "operation_step_withdrawal";
    type Event = WithdrawalSagaEvent;

    fn transition(event: &WithdrawalSagaEvent) -> Option<Transition<'_>> {
        match event {
            WithdrawalSagaEvent::SagaStarted(event) => Some(Transition::Started(event)),
            WithdrawalSagaEvent::SagaAdvanced(event) => Some(Transition::Advanced(event)),
            WithdrawalSagaEvent::SagaEnded(event) => Some(Transition::Ended(event)),
            WithdrawalSagaEvent::LearnerWithdrawn(_) | WithdrawalSagaEvent::LearnerNotWithdrawn(_) => None,
        }
    }
}

/// The projection of one saga.
pub struct OperationSteps<S> {
    saga: PhantomData<S>,
}

/// A step that was taken. Operations and instances cross: the row is of both, and is written once.
#[derive(Debug, Serialize)]
#[serde(bound = "")]
struct StepRow<S> {
    operation_id: OperationId,
    saga: String,
    instance_id: Uuid,
    /// With the position it rises within an instance.
    incarnation: i64,
    position: i64,
    round: Option<i64>,
    step: Option<String>,
    what: Option<String>,
    code: Option<String>,
    next_step: Option<String>,
    attempt: Option<i64>,
    state: Option<String>,
    at: Option<RowTime>,
    #[serde(skip)]
    of: PhantomData<S>,
}

impl<S: StepsOf> Row for StepRow<S> {
    const TABLE: &'static str = S::TABLE;
    type Kind = Merged;

    fn columns() -> Columns<Merged> {
        Columns::key("operation_id", "uuid")
            .and_key("saga", "text")
            .and_key("instance_id", "uuid")
            .and_key("incarnation", "bigint")
            .and_key("position", "bigint")
            .once("round", "bigint")
            .once("step", "text")
            .once("what", "text")
            .once("code", "text")
            .once("next_step", "text")
            .once("attempt", "bigint")
            .once("state", "text")
            .once("at", "timestamptz")
    }
}

impl<S: StepsOf> Projection for OperationSteps<S> {
    const NAME: &'static str = S::NAME;
    type Event = S::Event;

    fn tables() -> Vec<TableOf> {
        vec![TableOf::rows::<StepRow<S>>()]
    }

    fn project(event: &S::Event, meta: &Meta<'_>) -> Vec<Change> {
        let row = StepRow::<S>::at(meta);
        let row = S::transition(event).map(|transition| match transition {
            Transition::Started(event) => row.started(event),
            Transition::Advanced(event) => row.advanced(event),
            Transition::Ended(event) => row.ended(event),
        });
        row.iter().map(put).collect()
    }
}

impl<S: StepsOf> StepRow<S> {
    /// Where the record stands; what it says is still missing.
    fn at(meta: &Meta<'_>) -> Self {
        let (incarnation, position) = meta.shard.map_or((0, 0), |shard| (shard.incarnation, shard.seq));
        Self {
            operation_id: OperationId::new(meta.thread.correlation_id),
            saga: String::new(),
            instance_id: meta.key,
            incarnation: i64::from(incarnation),
            // A shard would have to number for longer than there are computers.
            position: i64::try_from(position).unwrap_or(i64::MAX),
            round: None,
            step: None,
            what: None,
            code: None,
            next_step: None,
            attempt: None,
            state: None,
            at: Some(RowTime(meta.time)),
            of: PhantomData,
        }
    }

    fn started(self, event: &SagaStarted) -> Self {
        Self {
            saga: event.saga.clone(),
            round: Some(event.round),
            what: Some("started".to_owned()),
            state: Some("running".to_owned()),
            ..self
        }
    }

    fn advanced(self, event: &SagaAdvanced) -> Self {
        Self {
            saga: event.saga.clone(),
            round: Some(event.round),
            step: Some(event.step.clone()),
            what: Some(event.what.clone()),
            code: event.answer_code.clone(),
            next_step: event.next_step.clone(),
            attempt: Some(event.attempt),
            state: Some(event.state.clone()),
            ..self
        }
    }

    fn ended(self, event: &SagaEnded) -> Self {
        Self {
            saga: event.saga.clone(),
            round: Some(event.round),
            step: event.step.clone(),
            what: Some("ended".to_owned()),
            code: event.code.clone(),
            state: Some(event.outcome.clone()),
            ..self
        }
    }
}
