#![doc = include_str!("../README.md")]

use std::collections::BTreeMap;

use daybook_events::{
    AuthorizePayment, AuthorizePaymentClosing, CancelCollection, CancelPayment, CancelPaymentClosing, CapturePayment,
    CapturePaymentClosing, CollectPayment, CollectionCanceled, EnrollmentId, Money, NotificationId, OrganizationId,
    PaymentCollected, PaymentId, PaymentNotCollected, PersonId, SendNotification,
};
use daybook_saga::{DAY, Failure, MINUTE, Refused, Saga, Start, StepContext, Versions};
use serde::{Deserialize, Serialize};

/// The saga, with the versions that instances may still follow.
pub fn saga() -> Versions<Collection> {
    Versions::of(version_1())
}

fn version_1() -> Saga<Collection> {
    let mut saga = Saga::named("payment-saga")
        .version(1)
        .started_by(begin)
        .closes(payment_collected, payment_not_collected)
        .canceled_by(never_collected, collection_canceled);
    let authorize = saga
        .step("authorize", authorize)
        .on(authorized)
        .undo_taking(cancel_payment, payment_canceled)
        .undo_after(10 * MINUTE);
    saga.step("capture", capture).on(captured).covered_by(authorize).pivot().alarm_after(10 * MINUTE);
    saga.step("receipt", receipt).best_effort(DAY);
    saga.build().expect("the definition is built by this crate's tests")
}

/// What the steps have to know of each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    payment_id: PaymentId,
    enrollment_id: EnrollmentId,
    organization_id: OrganizationId,
    payer_id: PersonId,
    amount: Money,
    payment_token: String,
    statement: String,
    /// The provider's id for the payment, known once it is authorized.
    provider_reference: Option<String>,
    /// What the cancellation came to.
    canceled: Option<Canceled>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canceled {
    how: String,
    refunded: Option<Money>,
}

fn begin(ask: CollectPayment, _: &Start) -> Collection {
    Collection {
        payment_id: ask.payment_id,
        enrollment_id: ask.enrollment_id,
        organization_id: ask.organization_id,
        payer_id: ask.payer_id,
        amount: ask.amount,
        payment_token: ask.payment_token,
        statement: ask.statement,
        provider_reference: None,
        canceled: None,
    }
}

// authorize

fn authorize(collection: &Collection, _: &StepContext) -> AuthorizePayment {
    AuthorizePayment {
        payment_id: collection.payment_id,
        enrollment_id: collection.enrollment_id,
        organization_id: collection.organization_id,
        payer_id: collection.payer_id,
        amount: collection.amount,
        payment_token: collection.payment_token.clone(),
        statement: collection.statement.clone(),
    }
}

fn authorized(collection: &mut Collection, closing: AuthorizePaymentClosing) -> Result<(), Refused> {
    match closing {
        AuthorizePaymentClosing::PaymentAuthorized(authorized) => {
            collection.provider_reference = Some(authorized.provider_reference);
            Ok(())
        }
        AuthorizePaymentClosing::PaymentDeclined(declined) => Err(Refused::new(declined.code)),
    }
}

fn cancel_payment(collection: &Collection, _: &StepContext) -> CancelPayment {
    CancelPayment { payment_id: collection.payment_id, reason: "not-completed".into() }
}

fn payment_canceled(collection: &mut Collection, closing: CancelPaymentClosing) -> Result<(), Refused> {
    let CancelPaymentClosing::PaymentCanceled(canceled) = closing;
    collection.canceled = Some(Canceled { how: canceled.how, refunded: canceled.refunded });
    Ok(())
}

// capture

fn capture(collection: &Collection, _: &StepContext) -> CapturePayment {
    CapturePayment { payment_id: collection.payment_id }
}

fn captured(collection: &mut Collection, closing: CapturePaymentClosing) -> Result<(), Refused> {
    match closing {
        CapturePaymentClosing::PaymentCaptured(captured) => {
            collection.provider_reference = Some(captured.provider_reference);
            Ok(())
        }
        CapturePaymentClosing::CaptureFailed(failed) => Err(Refused::new(failed.code)),
    }
}

// receipt

fn receipt(collection: &Collection, step: &StepContext) -> SendNotification {
    SendNotification {
        recipient_id: collection.payer_id,
        notification_id: NotificationId::new(step.stable_id()),
        template: "receipt".into(),
        data: BTreeMap::from([
            ("payment_id".into(), collection.payment_id.to_string()),
            ("enrollment_id".into(), collection.enrollment_id.to_string()),
            ("amount_minor".into(), collection.amount.amount_minor.to_string()),
            ("currency".into(), collection.amount.currency.to_string()),
        ]),
        class: "receipt".into(),
    }
}

// how it closes

fn payment_collected(collection: &Collection) -> PaymentCollected {
    PaymentCollected {
        payment_id: collection.payment_id,
        enrollment_id: collection.enrollment_id,
        organization_id: collection.organization_id,
        amount: collection.amount,
        provider_reference: collection.provider_reference.clone().unwrap_or_default(),
    }
}

fn payment_not_collected(collection: &Collection, failure: &Failure) -> PaymentNotCollected {
    PaymentNotCollected {
        payment_id: collection.payment_id,
        enrollment_id: collection.enrollment_id,
        step: failure.step.clone(),
        code: failure.code.clone(),
        detail: failure.detail.clone(),
    }
}

fn collection_canceled(collection: &Collection) -> CollectionCanceled {
    let (how, refunded) = match &collection.canceled {
        Some(canceled) => (canceled.how.clone(), canceled.refunded),
        None => ("nothing".into(), None),
    };
    CollectionCanceled { payment_id: collection.payment_id, how, refunded }
}

fn never_collected(ask: CancelCollection) -> CollectionCanceled {
    CollectionCanceled { payment_id: ask.payment_id, how: "nothing".into(), refunded: None }
}

#[cfg(test)]
mod tests {
    use daybook_events::Currency;
    use daybook_saga::prove;

    use super::*;

    #[test]
    fn it_ends_cleanly_whatever_happens() {
        let enrollment_id = EnrollmentId::from_u128(1);
        let start = CollectPayment {
            payment_id: PaymentId::of(enrollment_id, 1),
            enrollment_id,
            organization_id: OrganizationId::from_u128(2),
            payer_id: PersonId::from_u128(3),
            amount: Money::new(4_900, Currency::USD),
            payment_token: "tok_visa".into(),
            statement: "Course enrollment".into(),
        };
        println!("{:?}", prove(&saga(), &start).unwrap());
    }

    #[test]
    fn the_definition_is_the_released_one() {
        assert_eq!(version_1().describe(), include_str!("version_1.txt"));
    }
}
