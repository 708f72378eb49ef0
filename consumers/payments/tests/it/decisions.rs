use daybook_consumer::testing::{Bench, shuffle_proof};
use daybook_consumer::{Attempt, Conclusion, Perform};
use daybook_events::{
    AuthorizePayment, CaptureFailed, OrganizationId, PaymentAuthorizationRequested, PaymentCanceled, PaymentCaptured,
    PaymentDeclined, PaymentEvent, PaymentId, PaymentRefunded, RefundFailed, Rejected, VoidFailed,
};
use payments::codes::*;
use payments::{AMOUNT_MAX_MINOR, PaymentList, Payments, ProviderAnswer, ProviderRequest};

use crate::fixtures::*;

fn gave_up() -> Conclusion<ProviderAnswer> {
    Conclusion::GaveUp { code: "provider-unreachable".to_owned() }
}

fn says(answer: ProviderAnswer) -> Conclusion<ProviderAnswer> {
    Conclusion::Answered(answer)
}

fn failed(code: &str) -> Conclusion<ProviderAnswer> {
    says(ProviderAnswer::Failed { code: code.to_owned() })
}

fn declined(code: &str, reference: Option<&str>) -> PaymentDeclined {
    PaymentDeclined {
        payment_id: PAYMENT,
        enrollment_id: ENROLLMENT,
        organization_id: ORGANIZATION,
        payer_id: PAYER,
        amount: AMOUNT,
        code: code.to_owned(),
        provider_reference: reference.map(str::to_owned),
    }
}

#[test]
fn a_payment_is_authorized_and_captured_and_says_so_again() {
    payment([])
        .when(authorize())
        .then([authorization_requested().into()])
        .when_concluded(says(ProviderAnswer::Authorized { reference: REFERENCE.to_owned() }))
        .then([authorized().into()])
        .when(authorize())
        .then_already(authorized())
        .when(capture())
        .then([capture_requested().into()])
        .when_concluded(says(ProviderAnswer::Captured { amount: AMOUNT, fee: FEE }))
        .then([captured().into()])
        .when(capture())
        .then_already(captured())
        .when(authorize())
        .then_already(authorized());
}

#[test]
fn a_request_that_makes_no_sense_is_refused() {
    let cases: [(fn(&mut AuthorizePayment), _); 6] = [
        (|ask| ask.payment_token = "4242 4242 4242 4242".to_owned(), CARD_NUMBER_REFUSED),
        (|ask| ask.statement = "4242424242424242".to_owned(), CARD_NUMBER_REFUSED),
        (|ask| ask.amount = usd(0), AMOUNT_INVALID),
        (|ask| ask.amount = usd(AMOUNT_MAX_MINOR + 1), AMOUNT_INVALID),
        (|ask| ask.payment_token = String::new(), PAYMENT_REQUEST_INVALID),
        (|ask| ask.statement = "x".repeat(23), PAYMENT_REQUEST_INVALID),
    ];
    for (spoil, code) in cases {
        let mut ask = authorize();
        spoil(&mut ask);
        payment([]).when(ask).then_rejected(code);
    }
    let dearer = AuthorizePayment { amount: usd(1), ..authorize() };
    payment(with_authorization()).when(dearer).then_rejected(TERMS_CHANGED);
}

#[test]
fn a_declined_payment_cannot_be_captured_and_canceling_it_takes_nothing() {
    let answer = ProviderAnswer::Declined { code: "insufficient-funds".to_owned(), reference: None };
    payment([])
        .when(authorize())
        .then([authorization_requested().into()])
        .when_concluded(says(answer))
        .then([declined("insufficient-funds", None).into()])
        .when(authorize())
        .then_already(declined("insufficient-funds", None))
        .when(capture())
        .then_rejected(NOT_AUTHORIZED)
        .when(cancel("not-completed"))
        .then([canceled("nothing", "not-completed").into()]);
}

#[test]
fn a_provider_that_cannot_be_reached_declines_and_fails() {
    payment([authorization_requested().into()])
        .when_concluded(gave_up())
        .then([declined("provider-error", None).into()]);
    let failed = CaptureFailed {
        payment_id: PAYMENT,
        enrollment_id: ENROLLMENT,
        organization_id: ORGANIZATION,
        amount: AMOUNT,
        code: "provider-error".to_owned(),
        provider_reference: REFERENCE.to_owned(),
    };
    let mut capturing = with_authorization();
    capturing.push(capture_requested().into());
    payment(capturing)
        .when_concluded(gave_up())
        .then([failed.into()])
        .when(cancel("not-completed"))
        .then([void_requested().into()]);
}

#[test]
fn canceling_what_never_happened_leaves_a_tombstone() {
    let nothing = PaymentCanceled { organization_id: None, ..canceled("nothing", "not-completed") };
    payment([])
        .when(cancel("not-completed"))
        .then([nothing.clone().into()])
        .when(authorize())
        .then_rejected(PAYMENT_CANCELED)
        .when(capture())
        .then_rejected(PAYMENT_CANCELED)
        .when(cancel("withdrawn"))
        .then_already(nothing);
}

#[test]
fn canceling_voids_what_is_authorized() {
    payment(with_authorization())
        .when(cancel("not-completed"))
        .then([void_requested().into()])
        .when_concluded(says(ProviderAnswer::Voided))
        .then([voided().into(), canceled("voided", "not-completed").into()])
        .when(authorize())
        .then_rejected(PAYMENT_CANCELED);
}

#[test]
fn canceling_refunds_what_is_left_of_a_capture_and_keeps_the_reason() {
    for reason in payments::CANCEL_REASONS {
        let mut events = with_capture();
        events.push(refunded(2_500, 10_000).into());
        let (asked, given) = payment(events).when(cancel(reason)).happened();
        let [PaymentEvent::PaymentRefundRequested(asked)] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!(asked.amount, usd(10_000));
        let rest = PaymentRefunded { refund_id: asked.refund_id, ..refunded(10_000, 0) };
        let done = PaymentCanceled { refunded: Some(usd(10_000)), ..canceled("refunded", reason) };
        given
            .when_concluded(says(ProviderAnswer::Refunded))
            .then([rest.into(), done.clone().into()])
            .when(cancel(reason))
            .then_already(done);
    }
}

#[test]
fn canceling_what_is_refunded_already_takes_nothing() {
    let mut events = with_capture();
    events.push(refunded(12_500, 0).into());
    payment(events).when(cancel("withdrawn")).then([canceled("nothing", "withdrawn").into()]);
}

#[test]
fn a_refund_is_made_once_by_the_organization_and_never_exceeds_what_is_left() {
    payment(with_authorization()).when(refund(1)).then_rejected(NOT_CAPTURED);
    payment(with_capture()).when(refund(12_501)).then_rejected(REFUND_TOO_LARGE);
    payment(with_capture()).when(refund(0)).then_rejected(REFUND_TOO_LARGE);
    let stranger = OrganizationId::from_u128(99);
    payment(with_capture()).tenant(stranger).when(refund(1)).then_rejected(NOT_YOUR_ORGANIZATION);
    payment(with_capture())
        .when(refund(2_500))
        .then([refund_requested(2_500).into()])
        .when_concluded(says(ProviderAnswer::Refunded))
        .then([refunded(2_500, 10_000).into()])
        .when(refund(2_500))
        .then_already(refunded(2_500, 10_000));
}

#[test]
fn a_refund_that_failed_may_be_asked_for_again() {
    let failure = RefundFailed {
        payment_id: PAYMENT,
        organization_id: ORGANIZATION,
        refund_id: REFUND,
        amount: usd(2_500),
        code: "charge-disputed".to_owned(),
        provider_reference: REFERENCE.to_owned(),
    };
    payment(with_capture())
        .when(refund(2_500))
        .then([refund_requested(2_500).into()])
        .when_concluded(failed("charge-disputed"))
        .then([failure.into()])
        .when(refund(2_500))
        .then([refund_requested(2_500).into()]);
}

#[test]
fn a_cancellation_that_the_provider_refuses_is_rejected_and_can_be_asked_for_again() {
    let mut bench = Bench::new(&payments::parts(Nobody)[0]);
    bench.send(&authorize()).unwrap();
    conclude(&mut bench, &ProviderAnswer::Authorized { reference: REFERENCE.to_owned() });
    for _ in 0..2 {
        let asked = bench.send(&cancel("not-completed")).unwrap();
        assert!(asked.replies::<Rejected>().is_empty(), "not before the provider has answered");
        let refused = conclude(&mut bench, &ProviderAnswer::Failed { code: "already-captured".to_owned() });
        assert_eq!(refused.events::<VoidFailed>().len(), 1);
        assert_eq!(refused.replies::<Rejected>()[0].code, VOID_REFUSED.name);
    }
}

#[test]
fn the_reply_is_given_when_the_outcome_is_known_and_only_then() {
    let mut bench = Bench::new(&payments::parts(Nobody)[0]);
    let asked = bench.send(&authorize()).unwrap();
    assert!(asked.output.messages.iter().all(|message| message.reply_for.is_none()));
    let intent = bench.intent(PAYMENT).expect("the provider is to be asked");
    let request: ProviderRequest = serde_json::from_slice(&intent.request).unwrap();
    assert!(matches!(request, ProviderRequest::Authorize(_)));

    let done = conclude(&mut bench, &ProviderAnswer::Authorized { reference: REFERENCE.to_owned() });
    let replies: Vec<_> = done.output.messages.iter().filter(|message| message.reply_for.is_some()).collect();
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].reply_for, Some(asked.message_id));

    bench.send(&capture()).unwrap();
    let done = conclude(&mut bench, &ProviderAnswer::Captured { amount: AMOUNT, fee: FEE });
    assert_eq!(done.replies::<PaymentCaptured>(), [captured()]);
}

fn conclude(bench: &mut Bench, answer: &ProviderAnswer) -> daybook_consumer::testing::Handled {
    bench.answer(PAYMENT, serde_json::to_vec(answer).unwrap()).unwrap()
}

/// No provider at all: outcomes are told by the test.
struct Nobody;

impl Perform<Payments> for Nobody {
    async fn perform(&self, _request: &ProviderRequest, _key: &str) -> Attempt<ProviderAnswer> {
        Attempt::Refused { code: "nobody" }
    }

    async fn look_up(&self, _request: &ProviderRequest, _key: &str) -> Attempt<ProviderAnswer> {
        Attempt::NotFound
    }
}

#[test]
fn the_list_is_the_same_whatever_the_order_of_the_payments() {
    let other = PaymentId::from_u128(77);
    let mut events = with_capture();
    events.push(PaymentAuthorizationRequested { payment_id: other, ..authorization_requested() }.into());
    events.push(refunded(2_500, 10_000).into());
    events.push(PaymentDeclined { payment_id: other, ..declined("expired-card", None) }.into());
    let tables = shuffle_proof::<PaymentList>(events);
    let rows = tables.rows("payment");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["status"], "partially-refunded");
    assert_eq!(rows[0]["refunded_minor"], 2_500);
    assert_eq!(rows[0]["fee_minor"], FEE.amount_minor);
    assert_eq!(rows[1]["code"], "expired-card");
}

#[test]
fn no_sum_of_refunds_exceeds_the_capture() {
    let mut events = with_capture();
    events.push(refunded(12_500, 0).into());
    let given = payment(events);
    assert_eq!(given.state().remaining_minor(), 0);
    assert_eq!(given.state().refunded_minor(), AMOUNT.amount_minor);
}
