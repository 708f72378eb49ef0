//! What is kept of a payment.

use std::collections::BTreeMap;

use daybook_consumer::State;
use daybook_events::{
    EnrollmentId, Money, OrganizationId, PaymentAuthorized, PaymentCanceled, PaymentCaptured, PaymentDeclined,
    PaymentEvent, PaymentId, PaymentRefunded, PersonId, RefundId, derive_id,
};
use serde::{Deserialize, Serialize};

/// Reasons for which a payment is canceled.
pub const CANCEL_REASONS: [&str; 3] = ["not-completed", "withdrawn", "administrative"];

/// A payment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    /// `None`: never asked for.
    pub terms: Option<Terms>,
    pub stage: Stage,
    /// Refunds by their id; a few.
    pub refunds: BTreeMap<RefundId, PaymentRefunded>,
    /// Disputes by the provider's id; a few.
    pub disputes: BTreeMap<String, Dispute>,
    /// A tombstone: nothing happens any more.
    pub canceled: Option<PaymentCanceled>,
}

/// What the payment is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    pub payment_id: PaymentId,
    pub enrollment_id: EnrollmentId,
    pub organization_id: OrganizationId,
    pub payer_id: PersonId,
    pub amount: Money,
}

/// How far it has come, by the event that brought it there. While a request to the provider is under way it
/// stays where it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Nothing,
    Authorized(PaymentAuthorized),
    Declined(PaymentDeclined),
    Captured(PaymentCaptured),
    Voided,
}

/// A dispute: its amount is with the payer's bank until it is won.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispute {
    pub amount_minor: i64,
    pub fee_minor: i64,
    /// `None`: not decided.
    pub won: Option<bool>,
}

impl State for Payment {
    fn status(&self) -> Option<&'static str> {
        if self.canceled.is_some() {
            return Some("canceled");
        }
        Some(match self.stage {
            Stage::Nothing => "requires-authorization",
            Stage::Authorized(_) => "authorized",
            Stage::Declined(_) => "declined",
            Stage::Voided => "voided",
            Stage::Captured(_) if self.disputes.values().any(|dispute| dispute.won.is_none()) => "disputed",
            Stage::Captured(_) if self.refunds.is_empty() => "captured",
            Stage::Captured(_) if self.remaining_minor() > 0 => "partially-refunded",
            Stage::Captured(_) => "refunded",
        })
    }
}

impl Payment {
    /// The provider's id, once it is known.
    pub fn reference(&self) -> Option<&str> {
        match &self.stage {
            Stage::Authorized(authorized) => Some(&authorized.provider_reference),
            Stage::Captured(captured) => Some(&captured.provider_reference),
            Stage::Declined(declined) => declined.provider_reference.as_deref(),
            Stage::Nothing | Stage::Voided => None,
        }
    }

    /// Captured, and neither refunded nor lost to a dispute.
    pub fn remaining_minor(&self) -> i64 {
        let Stage::Captured(captured) = &self.stage else { return 0 };
        let lost = |dispute: &Dispute| if dispute.won == Some(false) { dispute.amount_minor } else { 0 };
        captured.amount.amount_minor - self.refunded_minor() - self.disputes.values().map(lost).sum::<i64>()
    }

    /// Given back so far.
    pub fn refunded_minor(&self) -> i64 {
        self.refunds.values().map(|refund| refund.amount.amount_minor).sum()
    }

    pub(crate) fn apply(&mut self, event: &PaymentEvent) {
        match event {
            PaymentEvent::PaymentAuthorizationRequested(event) => {
                self.terms = Some(Terms {
                    payment_id: event.payment_id,
                    enrollment_id: event.enrollment_id,
                    organization_id: event.organization_id,
                    payer_id: event.payer_id,
                    amount: event.amount,
                });
            }
            PaymentEvent::PaymentAuthorized(event) => self.stage = Stage::Authorized(event.clone()),
            PaymentEvent::PaymentDeclined(event) => self.stage = Stage::Declined(event.clone()),
            PaymentEvent::PaymentCaptured(event) => self.stage = Stage::Captured(event.clone()),
            PaymentEvent::AuthorizationVoided(_) => self.stage = Stage::Voided,
            PaymentEvent::PaymentRefunded(event) => {
                self.refunds.insert(event.refund_id, event.clone());
            }
            PaymentEvent::PaymentCanceled(event) => self.canceled = Some(event.clone()),
            PaymentEvent::DisputeOpened(event) => {
                let (amount_minor, fee_minor) = (event.amount.amount_minor, event.fee.amount_minor);
                self.disputes.insert(event.dispute_id.clone(), Dispute { amount_minor, fee_minor, won: None });
            }
            PaymentEvent::DisputeClosed(event) => {
                if let Some(dispute) = self.disputes.get_mut(&event.dispute_id) {
                    dispute.won = Some(event.won);
                }
            }
            PaymentEvent::PaymentCaptureRequested(_)
            | PaymentEvent::PaymentVoidRequested(_)
            | PaymentEvent::PaymentRefundRequested(_)
            | PaymentEvent::CaptureFailed(_)
            | PaymentEvent::VoidFailed(_)
            | PaymentEvent::RefundFailed(_) => {}
        }
    }
}

/// The refund that canceling asks for; its id tells the reason.
pub(crate) fn cancellation_refund(payment_id: PaymentId, reason: &str, refunds_before: usize) -> RefundId {
    let place = u64::try_from(refunds_before).unwrap_or(u64::MAX).to_be_bytes();
    let payment = payment_id.uuid();
    RefundId::new(derive_id("payment-cancellation", &[payment.as_bytes(), reason.as_bytes(), &place]))
}

/// The reason of the cancellation that asked for this refund, if one did.
pub(crate) fn reason_of_refund(payment: &Payment, payment_id: PaymentId, refund_id: RefundId) -> Option<&'static str> {
    let made = payment.refunds.len();
    CANCEL_REASONS.into_iter().find(|reason| cancellation_refund(payment_id, reason, made) == refund_id)
}
