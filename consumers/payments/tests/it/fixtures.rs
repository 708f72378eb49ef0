//! One payment, and everything that can happen to it.

use daybook_consumer::testing::{Given, given};
use daybook_events::{
    AuthorizationVoided, AuthorizePayment, CancelPayment, CapturePayment, Currency, EnrollmentId, Money,
    OrganizationId, PaymentAuthorizationRequested, PaymentAuthorized, PaymentCanceled, PaymentCaptureRequested,
    PaymentCaptured, PaymentEvent, PaymentId, PaymentRefundRequested, PaymentRefunded, PaymentVoidRequested, PersonId,
    RefundId, RefundPayment,
};
use payments::Payments;

pub const PAYMENT: PaymentId = PaymentId::from_u128(1);
pub const ENROLLMENT: EnrollmentId = EnrollmentId::from_u128(2);
pub const ORGANIZATION: OrganizationId = OrganizationId::from_u128(3);
pub const PAYER: PersonId = PersonId::from_u128(4);
pub const REFUND: RefundId = RefundId::from_u128(5);
pub const AMOUNT: Money = usd(12_500);
pub const FEE: Money = usd(393);
pub const REFERENCE: &str = "pi_1";

pub const fn usd(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::USD)
}

pub fn payment(events: impl IntoIterator<Item = PaymentEvent>) -> Given<Payments> {
    given::<Payments>(events).tenant(ORGANIZATION)
}

pub fn authorize() -> AuthorizePayment {
    AuthorizePayment {
        payment_id: PAYMENT,
        enrollment_id: ENROLLMENT,
        organization_id: ORGANIZATION,
        payer_id: PAYER,
        amount: AMOUNT,
        payment_token: "pm_card_visa".to_owned(),
        statement: "SAFER HANDOFFS".to_owned(),
    }
}

pub fn authorization_requested() -> PaymentAuthorizationRequested {
    let ask = authorize();
    PaymentAuthorizationRequested {
        payment_id: PAYMENT,
        enrollment_id: ENROLLMENT,
        organization_id: ORGANIZATION,
        payer_id: PAYER,
        amount: AMOUNT,
        payment_token: ask.payment_token,
        statement: ask.statement,
    }
}

pub fn authorized() -> PaymentAuthorized {
    PaymentAuthorized {
        payment_id: PAYMENT,
        enrollment_id: ENROLLMENT,
        organization_id: ORGANIZATION,
        payer_id: PAYER,
        amount: AMOUNT,
        provider_reference: REFERENCE.to_owned(),
    }
}

pub fn capture() -> CapturePayment {
    CapturePayment { payment_id: PAYMENT }
}

pub fn capture_requested() -> PaymentCaptureRequested {
    PaymentCaptureRequested {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        amount: AMOUNT,
        provider_reference: REFERENCE.to_owned(),
    }
}

pub fn captured() -> PaymentCaptured {
    PaymentCaptured {
        payment_id: PAYMENT,
        enrollment_id: ENROLLMENT,
        organization_id: ORGANIZATION,
        payer_id: PAYER,
        amount: AMOUNT,
        fee: FEE,
        provider_reference: REFERENCE.to_owned(),
    }
}

pub fn cancel(reason: &str) -> CancelPayment {
    CancelPayment { payment_id: PAYMENT, reason: reason.to_owned() }
}

pub fn canceled(how: &str, reason: &str) -> PaymentCanceled {
    PaymentCanceled {
        payment_id: PAYMENT,
        organization_id: Some(ORGANIZATION),
        how: how.to_owned(),
        reason: reason.to_owned(),
        refunded: None,
    }
}

pub fn void_requested() -> PaymentVoidRequested {
    PaymentVoidRequested {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        amount: AMOUNT,
        provider_reference: REFERENCE.to_owned(),
    }
}

pub fn voided() -> AuthorizationVoided {
    AuthorizationVoided {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        amount: AMOUNT,
        provider_reference: REFERENCE.to_owned(),
    }
}

pub fn refund(amount_minor: i64) -> RefundPayment {
    RefundPayment { payment_id: PAYMENT, refund_id: REFUND, amount: usd(amount_minor), reason: "duplicate".to_owned() }
}

pub fn refund_requested(amount_minor: i64) -> PaymentRefundRequested {
    PaymentRefundRequested {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        refund_id: REFUND,
        amount: usd(amount_minor),
        provider_reference: REFERENCE.to_owned(),
        reason: "duplicate".to_owned(),
    }
}

pub fn refunded(amount_minor: i64, remaining_minor: i64) -> PaymentRefunded {
    PaymentRefunded {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        payer_id: PAYER,
        refund_id: REFUND,
        amount: usd(amount_minor),
        remaining: usd(remaining_minor),
        provider_reference: REFERENCE.to_owned(),
    }
}

/// Authorized.
pub fn with_authorization() -> Vec<PaymentEvent> {
    vec![authorization_requested().into(), authorized().into()]
}

/// Authorized and captured.
pub fn with_capture() -> Vec<PaymentEvent> {
    let mut events = with_authorization();
    events.extend([capture_requested().into(), captured().into()]);
    events
}
