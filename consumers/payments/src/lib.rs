#![doc = include_str!("../README.md")]

mod card_number;
pub mod codes;
mod effects;
mod list;
mod notices;
mod payment;
pub mod stripe;

use codes::*;
use daybook_consumer::{
    Aggregate, Context, Decision, Entity, Part, Perform, Rejection, acts_for, already, ensure, happened, reject,
};
use daybook_events::{
    AuthorizePayment, CancelPayment, CapturePayment, Money, PaymentAuthorizationRequested, PaymentCanceled,
    PaymentCaptureRequested, PaymentCommand, PaymentEvent, PaymentRefundRequested, PaymentVoidRequested, RefundPayment,
};

pub use card_number::holds_card_number;
pub use effects::{OfPayment, ProviderAnswer, ProviderRequest};
pub use list::PaymentList;
pub use payment::{CANCEL_REASONS, Dispute, Payment, Stage, Terms};

/// The most that is taken at once, in minor units: eight digits, the provider's own bound.
pub const AMOUNT_MAX_MINOR: i64 = 99_999_999;
/// The most refunds that a payment can have.
pub const REFUNDS_MAX: usize = 64;
/// The most disputes that are kept of a payment.
pub const DISPUTES_MAX: usize = 16;

const TOKEN_MAX_CHARS: usize = 255;
const STATEMENT_MAX_CHARS: usize = 22;

/// The parts of this leaf, acting through this adapter: [`stripe::Stripe`], or a simulated one.
pub fn parts(provider: impl Perform<Payments>) -> Vec<Part> {
    vec![Part::acting::<Payments>(provider), Part::projection::<PaymentList>()]
}

/// The aggregate.
pub struct Payments;

type Decided = Result<Decision<PaymentEvent>, Rejection>;

impl Aggregate for Payments {
    const NAME: &'static str = "payments";
    type Command = PaymentCommand;
    type Event = PaymentEvent;
    type State = Payment;
    type Part = ();

    fn decide(payment: &Entity<Self>, command: PaymentCommand, cx: &Context) -> Decided {
        match command {
            PaymentCommand::AuthorizePayment(ask) => authorize(payment, ask),
            PaymentCommand::CapturePayment(ask) => capture(payment, &ask),
            PaymentCommand::CancelPayment(ask) => cancel(payment, ask),
            PaymentCommand::RefundPayment(ask) => refund(payment, ask, cx),
        }
    }

    fn evolve(payment: &mut Entity<Self>, event: &PaymentEvent) {
        payment.apply(event);
    }
}

fn authorize(payment: &Payment, ask: AuthorizePayment) -> Decided {
    let has_card_number = holds_card_number(&ask.payment_token) || holds_card_number(&ask.statement);
    ensure!(!has_card_number, CARD_NUMBER_REFUSED);
    ensure!((1..=AMOUNT_MAX_MINOR).contains(&ask.amount.amount_minor), AMOUNT_INVALID);
    let is_token = (1..=TOKEN_MAX_CHARS).contains(&ask.payment_token.chars().count());
    ensure!(is_token, PAYMENT_REQUEST_INVALID, "payment_token");
    let is_statement = ask.statement.chars().count() <= STATEMENT_MAX_CHARS;
    ensure!(is_statement, PAYMENT_REQUEST_INVALID, "statement");
    ensure!(payment.canceled.is_none(), PAYMENT_CANCELED);
    if let Some(terms) = &payment.terms {
        ensure!(terms.amount == ask.amount && terms.enrollment_id == ask.enrollment_id, TERMS_CHANGED);
    }
    match &payment.stage {
        Stage::Nothing => happened(PaymentAuthorizationRequested {
            payment_id: ask.payment_id,
            enrollment_id: ask.enrollment_id,
            organization_id: ask.organization_id,
            payer_id: ask.payer_id,
            amount: ask.amount,
            payment_token: ask.payment_token,
            statement: ask.statement,
        }),
        Stage::Authorized(authorized) => already(authorized.clone()),
        Stage::Declined(declined) => already(declined.clone()),
        // It was authorized once: what became of that is another command's business.
        Stage::Captured(captured) => already(effects::authorized_before(captured)),
        Stage::Voided => reject(PAYMENT_CANCELED),
    }
}

fn capture(payment: &Payment, ask: &CapturePayment) -> Decided {
    ensure!(payment.canceled.is_none(), PAYMENT_CANCELED);
    match &payment.stage {
        Stage::Authorized(authorized) => happened(PaymentCaptureRequested {
            payment_id: ask.payment_id,
            organization_id: authorized.organization_id,
            amount: authorized.amount,
            provider_reference: authorized.provider_reference.clone(),
        }),
        Stage::Captured(captured) => already(captured.clone()),
        Stage::Nothing | Stage::Declined(_) | Stage::Voided => reject(NOT_AUTHORIZED),
    }
}

/// Makes it not so, in every state.
fn cancel(payment: &Payment, ask: CancelPayment) -> Decided {
    if let Some(canceled) = &payment.canceled {
        return already(canceled.clone());
    }
    match &payment.stage {
        Stage::Authorized(authorized) => happened(PaymentVoidRequested {
            payment_id: ask.payment_id,
            organization_id: authorized.organization_id,
            amount: authorized.amount,
            provider_reference: authorized.provider_reference.clone(),
        }),
        Stage::Captured(captured) if payment.remaining_minor() > 0 => happened(PaymentRefundRequested {
            payment_id: ask.payment_id,
            organization_id: captured.organization_id,
            refund_id: payment::cancellation_refund(ask.payment_id, &ask.reason, payment.refunds.len()),
            amount: Money::new(payment.remaining_minor(), captured.amount.currency),
            provider_reference: captured.provider_reference.clone(),
            reason: "requested-by-customer".to_owned(),
        }),
        Stage::Nothing | Stage::Declined(_) | Stage::Captured(_) | Stage::Voided => happened(PaymentCanceled {
            payment_id: ask.payment_id,
            organization_id: payment.terms.as_ref().map(|terms| terms.organization_id),
            how: "nothing".to_owned(),
            reason: ask.reason,
            refunded: None,
        }),
    }
}

fn refund(payment: &Payment, ask: RefundPayment, cx: &Context) -> Decided {
    let Stage::Captured(captured) = &payment.stage else {
        return reject(NOT_CAPTURED);
    };
    ensure!(acts_for(cx, captured.organization_id), NOT_YOUR_ORGANIZATION);
    if let Some(refunded) = payment.refunds.get(&ask.refund_id) {
        return already(refunded.clone());
    }
    ensure!(payment.canceled.is_none(), PAYMENT_CANCELED);
    let remaining = Money::new(payment.remaining_minor(), captured.amount.currency);
    let fits =
        ask.amount.currency == remaining.currency && (1..=remaining.amount_minor).contains(&ask.amount.amount_minor);
    ensure!(fits, REFUND_TOO_LARGE, "{remaining} is left");
    ensure!(payment.refunds.len() < REFUNDS_MAX, TOO_MANY_REFUNDS);
    happened(PaymentRefundRequested {
        payment_id: ask.payment_id,
        organization_id: captured.organization_id,
        refund_id: ask.refund_id,
        amount: ask.amount,
        provider_reference: captured.provider_reference.clone(),
        reason: ask.reason,
    })
}
