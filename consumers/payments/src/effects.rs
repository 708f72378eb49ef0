//! What is asked of the provider, and what its answers come to. Pure.

use daybook_consumer::{Acts, Code, Conclusion, Context, EffectPolicy, Entity, Noticed, OnUnknown, Provider};
use daybook_events::{
    AuthorizationVoided, CaptureFailed, EnrollmentId, Money, OrganizationId, PaymentAuthorized, PaymentCanceled,
    PaymentCaptured, PaymentDeclined, PaymentEvent, PaymentId, PaymentRefunded, PersonId, ProviderNotice, RefundFailed,
    RefundId, VoidFailed,
};
use serde::{Deserialize, Serialize};

use crate::codes::{REFUND_REFUSED, VOID_REFUSED};
use crate::{Payment, Payments, notices, payment};

/// The code of a failure that says no more than that the provider did not do it.
pub(crate) const PROVIDER_ERROR: &str = "provider-error";

/// What to ask of the provider; the same at every attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ProviderRequest {
    Authorize(Authorization),
    Capture(OfPayment),
    Void(OfPayment),
    Refund { of: OfPayment, refund_id: RefundId, reason: String },
}

/// A payment that is to be authorized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Authorization {
    pub payment_id: PaymentId,
    pub enrollment_id: EnrollmentId,
    pub organization_id: OrganizationId,
    /// For our own event; the provider is not told.
    pub payer_id: PersonId,
    pub amount: Money,
    pub payment_token: String,
    pub statement: String,
}

/// A payment that the provider knows, and the amount that it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfPayment {
    pub payment_id: PaymentId,
    pub organization_id: OrganizationId,
    pub amount: Money,
    pub reference: String,
}

/// What the provider answered. Codes are those of the events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ProviderAnswer {
    Authorized {
        reference: String,
    },
    Declined {
        code: String,
        reference: Option<String>,
    },
    Captured {
        amount: Money,
        fee: Money,
    },
    Voided,
    Refunded,
    /// It will not, however often it is asked.
    Failed {
        code: String,
    },
}

impl Acts for Payments {
    type Request = ProviderRequest;
    type Answer = ProviderAnswer;

    const EFFECTS: EffectPolicy = EffectPolicy {
        provider: Provider {
            name: "stripe",
            down: &["provider-unreachable", "provider-timeout", "provider-connection-lost", PROVIDER_ERROR],
        },
        detached: false,
        key_lifetime_ms: 24 * 60 * 60 * 1_000,
        has_lookup: true,
        settle_ms: 60_000,
        on_unknown: OnUnknown::NeedsAttention,
        attempts_max: 8,
        backoff_min_ms: 200,
        backoff_max_ms: 30_000,
        concurrency: 32,
        call_timeout_ms: 20_000,
    };

    fn request(event: &PaymentEvent) -> Option<ProviderRequest> {
        match event {
            PaymentEvent::PaymentAuthorizationRequested(event) => Some(ProviderRequest::Authorize(Authorization {
                payment_id: event.payment_id,
                enrollment_id: event.enrollment_id,
                organization_id: event.organization_id,
                payer_id: event.payer_id,
                amount: event.amount,
                payment_token: event.payment_token.clone(),
                statement: event.statement.clone(),
            })),
            PaymentEvent::PaymentCaptureRequested(event) => Some(ProviderRequest::Capture(OfPayment {
                payment_id: event.payment_id,
                organization_id: event.organization_id,
                amount: event.amount,
                reference: event.provider_reference.clone(),
            })),
            PaymentEvent::PaymentVoidRequested(event) => Some(ProviderRequest::Void(OfPayment {
                payment_id: event.payment_id,
                organization_id: event.organization_id,
                amount: event.amount,
                reference: event.provider_reference.clone(),
            })),
            PaymentEvent::PaymentRefundRequested(event) => Some(ProviderRequest::Refund {
                of: OfPayment {
                    payment_id: event.payment_id,
                    organization_id: event.organization_id,
                    amount: event.amount,
                    reference: event.provider_reference.clone(),
                },
                refund_id: event.refund_id,
                reason: event.reason.clone(),
            }),
            _ => None,
        }
    }

    fn conclude(
        payment: &Entity<Self>,
        request: ProviderRequest,
        conclusion: Conclusion<ProviderAnswer>,
        _cx: &Context,
    ) -> Vec<PaymentEvent> {
        let answer = match conclusion {
            Conclusion::Answered(answer) => answer,
            Conclusion::GaveUp { .. } => ProviderAnswer::Failed { code: PROVIDER_ERROR.to_owned() },
        };
        outcome(payment, request, answer)
    }

    fn refusal(event: &PaymentEvent) -> Option<Code> {
        match event {
            PaymentEvent::VoidFailed(_) => Some(VOID_REFUSED),
            PaymentEvent::RefundFailed(_) => Some(REFUND_REFUSED),
            _ => None,
        }
    }

    fn notice(
        payment: &Entity<Self>,
        pending: Option<ProviderRequest>,
        notice: &ProviderNotice,
        _cx: &Context,
    ) -> Noticed<PaymentEvent> {
        notices::hear(payment, pending, &notice.body)
    }
}

/// What an answer to this request comes to. An answer to another kind of request counts as a failure of this.
pub(crate) fn outcome(payment: &Payment, request: ProviderRequest, answer: ProviderAnswer) -> Vec<PaymentEvent> {
    match request {
        ProviderRequest::Authorize(ask) => vec![authorized(ask, answer)],
        ProviderRequest::Capture(ask) => vec![captured(payment, ask, answer)],
        ProviderRequest::Void(ask) => voided(ask, answer),
        ProviderRequest::Refund { of, refund_id, .. } => refunded(payment, of, refund_id, answer),
    }
}

fn authorized(ask: Authorization, answer: ProviderAnswer) -> PaymentEvent {
    let (code, reference) = match answer {
        ProviderAnswer::Authorized { reference } => {
            return PaymentAuthorized {
                payment_id: ask.payment_id,
                enrollment_id: ask.enrollment_id,
                organization_id: ask.organization_id,
                payer_id: ask.payer_id,
                amount: ask.amount,
                provider_reference: reference,
            }
            .into();
        }
        ProviderAnswer::Declined { code, reference } => (code, reference),
        other => (failure(other), None),
    };
    PaymentDeclined {
        payment_id: ask.payment_id,
        enrollment_id: ask.enrollment_id,
        organization_id: ask.organization_id,
        payer_id: ask.payer_id,
        amount: ask.amount,
        code,
        provider_reference: reference,
    }
    .into()
}

fn captured(payment: &Payment, ask: OfPayment, answer: ProviderAnswer) -> PaymentEvent {
    let Some(terms) = &payment.terms else {
        unreachable!("only what was authorized is captured, and that has terms");
    };
    match answer {
        ProviderAnswer::Captured { amount, fee } => PaymentCaptured {
            payment_id: ask.payment_id,
            enrollment_id: terms.enrollment_id,
            organization_id: ask.organization_id,
            payer_id: terms.payer_id,
            amount,
            fee,
            provider_reference: ask.reference,
        }
        .into(),
        other => CaptureFailed {
            payment_id: ask.payment_id,
            enrollment_id: terms.enrollment_id,
            organization_id: ask.organization_id,
            amount: ask.amount,
            code: failure(other),
            provider_reference: ask.reference,
        }
        .into(),
    }
}

/// Only a cancellation voids, so the two facts go together.
fn voided(ask: OfPayment, answer: ProviderAnswer) -> Vec<PaymentEvent> {
    if answer != ProviderAnswer::Voided {
        let failed = VoidFailed {
            payment_id: ask.payment_id,
            organization_id: ask.organization_id,
            amount: ask.amount,
            code: failure(answer),
            provider_reference: ask.reference,
        };
        return vec![failed.into()];
    }
    let voided = AuthorizationVoided {
        payment_id: ask.payment_id,
        organization_id: ask.organization_id,
        amount: ask.amount,
        provider_reference: ask.reference,
    };
    let canceled = PaymentCanceled {
        payment_id: ask.payment_id,
        organization_id: Some(ask.organization_id),
        how: "voided".to_owned(),
        reason: "not-completed".to_owned(),
        refunded: None,
    };
    vec![voided.into(), canceled.into()]
}

fn refunded(payment: &Payment, ask: OfPayment, refund_id: RefundId, answer: ProviderAnswer) -> Vec<PaymentEvent> {
    if answer != ProviderAnswer::Refunded {
        let failed = RefundFailed {
            payment_id: ask.payment_id,
            organization_id: ask.organization_id,
            refund_id,
            amount: ask.amount,
            code: failure(answer),
            provider_reference: ask.reference,
        };
        return vec![failed.into()];
    }
    let Some(terms) = &payment.terms else {
        unreachable!("only what was captured is refunded, and that has terms");
    };
    let refunded = PaymentRefunded {
        payment_id: ask.payment_id,
        organization_id: ask.organization_id,
        payer_id: terms.payer_id,
        refund_id,
        amount: ask.amount,
        remaining: Money::new(payment.remaining_minor() - ask.amount.amount_minor, ask.amount.currency),
        provider_reference: ask.reference,
    };
    let mut events = vec![refunded.into()];
    if let Some(reason) = payment::reason_of_refund(payment, ask.payment_id, refund_id) {
        let canceled = PaymentCanceled {
            payment_id: ask.payment_id,
            organization_id: Some(ask.organization_id),
            how: "refunded".to_owned(),
            reason: reason.to_owned(),
            refunded: Some(ask.amount),
        };
        events.push(canceled.into());
    }
    events
}

fn failure(answer: ProviderAnswer) -> String {
    match answer {
        ProviderAnswer::Failed { code } | ProviderAnswer::Declined { code, .. } => code,
        _ => PROVIDER_ERROR.to_owned(),
    }
}

/// The authorization that a capture went out from.
pub(crate) fn authorized_before(captured: &PaymentCaptured) -> PaymentAuthorized {
    PaymentAuthorized {
        payment_id: captured.payment_id,
        enrollment_id: captured.enrollment_id,
        organization_id: captured.organization_id,
        payer_id: captured.payer_id,
        amount: captured.amount,
        provider_reference: captured.provider_reference.clone(),
    }
}
