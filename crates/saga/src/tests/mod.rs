//! A saga that has one of everything, and a bench to drive any saga by hand.

mod definitions;
mod rules;
mod teeth;

use daybook_engine::{Context, Fault, Incoming, Input, Leaf, Output, Row, RowKey, Rows, Thread};
use daybook_events::{
    ActivateEnrollment, AuthorizePayment, AuthorizePaymentClosing, CancelCollection, CancelEnrollment, CancelPayment,
    CancelPaymentClosing, CollectPayment, CollectionCanceled, ConfirmSeat, CourseId, Currency, EnrollmentId, Header,
    Message, Money, NotificationId, OpenEnrollment, OpenEnrollmentClosing, OrganizationId, PaymentCollected, PaymentId,
    PaymentNotCollected, PersonId, Rejected, ReleaseSeat, ReplyTo, ReserveSeat, ReserveSeatClosing, Schemas,
    SendNotification, StaticSchemas, Timestamp, derive_id,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    DAY, DefinitionError, Failure, MINUTE, Refused, Saga, SagaBuilder, SagaData, Start, StepContext, Versions,
};

/// What the saga of these tests knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Toy {
    start: CollectPayment,
    round: i64,
    how: String,
}

pub(crate) fn ask() -> CollectPayment {
    let enrollment_id = EnrollmentId::from_u128(1);
    CollectPayment {
        payment_id: PaymentId::of(enrollment_id, 1),
        enrollment_id,
        organization_id: OrganizationId::from_u128(2),
        payer_id: PersonId::from_u128(3),
        amount: Money::new(4_900, Currency::USD),
        payment_token: "tok_visa".into(),
        statement: "statement".into(),
    }
}

pub(crate) fn cancel() -> CancelCollection {
    CancelCollection { payment_id: ask().payment_id, reason: "withdrawn".into() }
}

/// Two steps that are undone, one that is covered, one that times out, the pivot, one beyond it, best effort.
pub(crate) fn toy() -> Saga<Toy> {
    let cancelable = blank().canceled_by(
        |ask: CancelCollection| CollectionCanceled {
            payment_id: ask.payment_id,
            how: "nothing".into(),
            refunded: None,
        },
        |toy| CollectionCanceled { payment_id: toy.start.payment_id, how: toy.how.clone(), refunded: None },
    );
    with_steps(cancelable).expect("it is right")
}

/// The same without a cancel command.
pub(crate) fn repeatable_toy() -> Saga<Toy> {
    with_steps(blank()).expect("it is right")
}

pub(crate) fn blank() -> SagaBuilder<CollectPayment, Toy> {
    Saga::named("payment-saga")
        .version(1)
        .started_by(|start: CollectPayment, _: &Start| Toy { start, round: 0, how: "nothing".into() })
        .closes(collected, not_collected)
}

fn with_steps(mut saga: SagaBuilder<CollectPayment, Toy>) -> Result<Saga<Toy>, DefinitionError> {
    let open = saga.step("open", open).on(opened).undo(close).alarm_after(MINUTE);
    let seat = saga.step("reserve", reserve).on(reserved).undo(release).undo_after(MINUTE);
    saga.step("confirm", confirm).acknowledged().covered_by(seat).alarm_after(MINUTE);
    saga.step("authorize", authorize)
        .only_if(|toy| toy.start.amount.is_positive())
        .on(authorized)
        .undo_taking(void, voided)
        .undo_after(MINUTE);
    saga.step("activate", activate).acknowledged().covered_by(open).pivot().alarm_after(MINUTE);
    saga.step("gift", gift).on(reserved).undo(take_back).alarm_after(MINUTE);
    saga.step("welcome", welcome).best_effort(DAY);
    saga.build()
}

fn collected(toy: &Toy) -> PaymentCollected {
    PaymentCollected {
        payment_id: toy.start.payment_id,
        enrollment_id: toy.start.enrollment_id,
        organization_id: toy.start.organization_id,
        amount: toy.start.amount,
        provider_reference: String::new(),
    }
}

fn not_collected(toy: &Toy, failure: &Failure) -> PaymentNotCollected {
    PaymentNotCollected {
        payment_id: toy.start.payment_id,
        enrollment_id: toy.start.enrollment_id,
        step: failure.step.clone(),
        code: failure.code.clone(),
        detail: None,
    }
}

pub(crate) fn open(toy: &Toy, _: &StepContext) -> OpenEnrollment {
    OpenEnrollment {
        enrollment_id: toy.start.enrollment_id,
        learner_id: toy.start.payer_id,
        course_id: CourseId::from_u128(9),
    }
}

pub(crate) fn opened(toy: &mut Toy, closing: OpenEnrollmentClosing) -> Result<(), Refused> {
    let OpenEnrollmentClosing::EnrollmentOpened(opened) = closing;
    toy.round = opened.round;
    Ok(())
}

pub(crate) fn close(toy: &Toy, _: &StepContext) -> CancelEnrollment {
    CancelEnrollment {
        enrollment_id: toy.start.enrollment_id,
        round: None,
        reason: "not-completed".into(),
        within_refund_window: false,
    }
}

fn seat(toy: &Toy, course: u128) -> ReserveSeat {
    ReserveSeat {
        course_id: CourseId::from_u128(course),
        enrollment_id: toy.start.enrollment_id,
        round: toy.round,
        learner_id: toy.start.payer_id,
        expected_price: toy.start.amount,
        hold_for_seconds: 60,
    }
}

fn seat_back(toy: &Toy, course: u128) -> ReleaseSeat {
    ReleaseSeat {
        course_id: CourseId::from_u128(course),
        enrollment_id: toy.start.enrollment_id,
        round: toy.round,
        reason: "released".into(),
    }
}

fn reserve(toy: &Toy, _: &StepContext) -> ReserveSeat {
    seat(toy, 9)
}

pub(crate) fn reserved(_: &mut Toy, _: ReserveSeatClosing) -> Result<(), Refused> {
    Ok(())
}

fn release(toy: &Toy, _: &StepContext) -> ReleaseSeat {
    seat_back(toy, 9)
}

pub(crate) fn gift(toy: &Toy, _: &StepContext) -> ReserveSeat {
    seat(toy, 10)
}

pub(crate) fn take_back(toy: &Toy, _: &StepContext) -> ReleaseSeat {
    seat_back(toy, 10)
}

fn confirm(toy: &Toy, _: &StepContext) -> ConfirmSeat {
    ConfirmSeat { course_id: CourseId::from_u128(9), enrollment_id: toy.start.enrollment_id, round: toy.round }
}

fn authorize(toy: &Toy, _: &StepContext) -> AuthorizePayment {
    AuthorizePayment {
        payment_id: toy.start.payment_id,
        enrollment_id: toy.start.enrollment_id,
        organization_id: toy.start.organization_id,
        payer_id: toy.start.payer_id,
        amount: toy.start.amount,
        payment_token: toy.start.payment_token.clone(),
        statement: toy.start.statement.clone(),
    }
}

fn authorized(_: &mut Toy, closing: AuthorizePaymentClosing) -> Result<(), Refused> {
    match closing {
        AuthorizePaymentClosing::PaymentAuthorized(_) => Ok(()),
        AuthorizePaymentClosing::PaymentDeclined(declined) => Err(Refused::new(declined.code)),
    }
}

fn void(toy: &Toy, _: &StepContext) -> CancelPayment {
    CancelPayment { payment_id: toy.start.payment_id, reason: "not-completed".into() }
}

fn voided(toy: &mut Toy, closing: CancelPaymentClosing) -> Result<(), Refused> {
    let CancelPaymentClosing::PaymentCanceled(canceled) = closing;
    toy.how = canceled.how;
    Ok(())
}

fn activate(toy: &Toy, _: &StepContext) -> ActivateEnrollment {
    ActivateEnrollment {
        enrollment_id: toy.start.enrollment_id,
        round: toy.round,
        revision: 1,
        organization_id: toy.start.organization_id,
        price: toy.start.amount,
        payment_id: None,
        credits_hundredths: 100,
        credit_type: "ama-pra-1".into(),
        refund_days: 14,
    }
}

pub(crate) fn welcome(toy: &Toy, step: &StepContext) -> SendNotification {
    SendNotification {
        recipient_id: toy.start.payer_id,
        notification_id: NotificationId::new(step.stable_id()),
        template: "welcome".into(),
        data: [].into(),
        class: "welcome".into(),
    }
}

/// One instance of a saga, driven by hand.
pub(crate) struct Bench<D> {
    pub(crate) leaf: Versions<D>,
    pub(crate) now: Timestamp,
    pub(crate) row: Option<Row>,
    inputs: u32,
}

/// What a message is besides itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct As {
    pub(crate) reply_for: Option<Uuid>,
    pub(crate) wants_reply: bool,
}

impl<D: SagaData> Bench<D> {
    pub(crate) fn new(leaf: Versions<D>) -> Self {
        Self { leaf, now: Timestamp(1_000_000), row: None, inputs: 0 }
    }

    fn key() -> Uuid {
        ask().payment_id.uuid()
    }

    pub(crate) fn command<M: Message>(&mut self, message: &M) -> Result<Output, Fault> {
        self.message(message, As { wants_reply: true, ..As::default() }, false)
    }

    pub(crate) fn control<M: Message>(&mut self, message: &M) -> Result<Output, Fault> {
        self.message(message, As::default(), true)
    }

    /// Answers the command that was sent last with an event made up from its schema.
    pub(crate) fn answer(&mut self, full_name: &str) -> Result<Output, Fault> {
        let command_id = self.awaited_id();
        let body =
            crate::prove::samples::message(full_name, &serde_json::Value::Null, crate::prove::samples::Style::Full);
        self.bytes(full_name, &body, As { reply_for: Some(command_id), wants_reply: false }, false)
    }

    pub(crate) fn reject(&mut self, code: &str) -> Result<Output, Fault> {
        let reply_for = Some(self.awaited_id());
        let rejected = Rejected { key_text: String::new(), command: String::new(), code: code.into(), detail: None };
        self.message(&rejected, As { reply_for, wants_reply: false }, false)
    }

    pub(crate) fn awaited_id(&self) -> Uuid {
        self.instance()["awaited"]["command_id"].as_str().and_then(|id| id.parse().ok()).expect("a command is awaited")
    }

    pub(crate) fn instance(&self) -> serde_json::Value {
        serde_json::from_slice(&self.row.as_ref().expect("there is an instance").body).expect("it is JSON")
    }

    pub(crate) fn status(&self) -> String {
        self.row.as_ref().and_then(|row| row.status.clone()).expect("there is an instance").into_owned()
    }

    /// Waits until the row is due.
    pub(crate) fn wait(&mut self) -> Result<Output, Fault> {
        self.now = self.row.as_ref().and_then(|row| row.due).expect("something is due");
        self.apply(&Input::Due { row: RowKey::entity(Self::key()) })
    }

    pub(crate) fn message<M: Message>(&mut self, message: &M, as_: As, control: bool) -> Result<Output, Fault> {
        let mut body = Vec::new();
        daybook_events::encode(message, &mut body).expect("it is a valid message");
        self.bytes(M::FULL_NAME, &body, as_, control)
    }

    pub(crate) fn bytes(&mut self, name: &str, body: &[u8], as_: As, control: bool) -> Result<Output, Fault> {
        let writer = StaticSchemas.writer(StaticSchemas.id_of(name).expect("known")).expect("known");
        let message_id = derive_id("bench", &[&self.inputs.to_be_bytes()]);
        let header = Header {
            reply_to: as_.wants_reply.then(|| ReplyTo { topic: "caller".into(), key: message_id }),
            reply_for: as_.reply_for,
            ..Header::first(message_id, self.now)
        };
        let incoming = Incoming { key: Self::key(), header: &header, writer: &writer, body, intent: None };
        match control {
            true => self.apply(&Input::Control(incoming)),
            false => self.apply(&Input::Message(incoming)),
        }
    }

    fn apply(&mut self, input: &Input<'_>) -> Result<Output, Fault> {
        let message_id = derive_id("bench", &[&self.inputs.to_be_bytes()]);
        self.inputs += 1;
        let thread = Thread { correlation_id: message_id, ..Thread::default() };
        let cx = Context { now: self.now, message_id, thread };
        let row = self.row.clone();
        let loaded = |_: &RowKey| Some(row.clone());
        let (mut rows, mut out) = (Rows::new(&loaded), Output::default());
        self.leaf.handle(input, &mut rows, &cx, &mut out)?;
        let own = RowKey::entity(Self::key());
        if let Some((_, written)) = rows.into_written().into_iter().find(|(key, _)| *key == own) {
            self.row = written;
        }
        Ok(out)
    }
}

/// Names of the commands and replies in an output.
pub(crate) fn sent(out: &Output) -> Vec<&'static str> {
    let sent = out.messages.iter().filter(|emit| emit.reply_to.is_some() || emit.reply_for.is_some());
    sent.map(|emit| crate::prove::short(emit.type_name)).collect()
}

pub(crate) fn decoded<M: Message>(out: &Output) -> M {
    let emit = out.messages.iter().find(|emit| emit.type_name == M::FULL_NAME).expect("it is among them");
    let writer = StaticSchemas.writer(StaticSchemas.id_of(M::FULL_NAME).expect("known")).expect("known");
    daybook_events::decode(&writer, &emit.body).expect("it is valid")
}
