//! A person's payments.

use daybook_consumer::{
    Access, Answer, Change, Columns, Meta, Owned, Parameter, ParameterKind, Projection, ReadRoute, Row, RowTime,
    TableOf, put,
};
use daybook_events::{EnrollmentId, OrganizationId, PaymentEvent, PaymentId, PersonId};
use serde::Serialize;

/// The projection.
pub struct PaymentList;

const PAGE_MAX: u32 = 100;

/// A payment; amounts in minor units of its currency.
#[derive(Debug, Default, Serialize)]
struct PaymentRow {
    payment_id: Option<PaymentId>,
    enrollment_id: Option<EnrollmentId>,
    organization_id: Option<OrganizationId>,
    payer_id: Option<PersonId>,
    amount_minor: Option<i64>,
    currency: Option<String>,
    status: Option<&'static str>,
    code: Option<String>,
    /// By which the provider's notices that carry no metadata (disputes) are told apart.
    provider_reference: Option<String>,
    captured_minor: Option<i64>,
    fee_minor: Option<i64>,
    refunded_minor: Option<i64>,
    disputed_minor: Option<i64>,
    requested_at: Option<RowTime>,
    updated_at: Option<RowTime>,
}

impl Row for PaymentRow {
    const TABLE: &'static str = "payment";
    type Kind = Owned;

    fn columns() -> Columns<Owned> {
        Columns::key("payment_id", "uuid")
            .set("enrollment_id", "uuid")
            .set("organization_id", "uuid")
            .set("payer_id", "uuid")
            .set("amount_minor", "bigint")
            .set("currency", "text")
            .set("status", "text")
            .set("code", "text")
            .set("provider_reference", "text")
            .set("captured_minor", "bigint")
            .add("fee_minor", "bigint")
            .add("refunded_minor", "bigint")
            .add("disputed_minor", "bigint")
            .once("requested_at", "timestamptz")
            .set("updated_at", "timestamptz")
            .index("payer_id, requested_at")
            .index("organization_id")
            .index("provider_reference")
    }
}

impl Projection for PaymentList {
    const NAME: &'static str = "payment-list";
    type Event = PaymentEvent;

    fn tables() -> Vec<TableOf> {
        vec![TableOf::rows::<PaymentRow>()]
    }

    fn project(event: &PaymentEvent, meta: &Meta<'_>) -> Vec<Change> {
        let time = Some(RowTime(meta.time));
        let payment_id = Some(PaymentId::new(meta.key));
        row(event, time).map(|row| put(&PaymentRow { payment_id, updated_at: time, ..row })).into_iter().collect()
    }

    fn routes() -> Vec<ReadRoute> {
        vec![
            ReadRoute {
                path: "/people/{person_id}/payments",
                summary: "A person's payments, the latest first.",
                projection: Self::NAME,
                sql: OF_PERSON,
                parameters: vec![Parameter::path("person_id", ParameterKind::Uuid)],
                answer: Answer::Many {
                    cursor: vec![("requested_at", ParameterKind::Time), ("payment_id", ParameterKind::Uuid)],
                    page_max: PAGE_MAX,
                },
                access: Access::Owner {
                    parameter: "person_id",
                    claim: "sub",
                    own: "payments:read",
                    any: "payments:read-any",
                },
            },
            ReadRoute {
                path: "/payments/{payment_id}",
                summary: "One of one's own payments.",
                projection: Self::NAME,
                sql: OWN,
                parameters: vec![
                    Parameter::path("payment_id", ParameterKind::Uuid),
                    Parameter::claim("sub", ParameterKind::Uuid),
                ],
                answer: Answer::One,
                access: Access::Scope("payments:read"),
            },
        ]
    }
}

const OF_PERSON: &str = "\
SELECT payment_id, enrollment_id, organization_id, amount_minor, currency, status, code, captured_minor,
       refunded_minor, disputed_minor, requested_at, updated_at
FROM payment
WHERE payer_id = $1
  AND ($2::timestamptz IS NULL OR (requested_at, payment_id) < ($2, $3::uuid))
ORDER BY requested_at DESC, payment_id DESC
LIMIT $4::bigint";

const OWN: &str = "\
SELECT payment_id, enrollment_id, organization_id, amount_minor, currency, status, code, captured_minor,
       refunded_minor, disputed_minor, requested_at, updated_at
FROM payment
WHERE payment_id = $1 AND payer_id = $2";

/// `None` for what a payer has no use of: intents, and what the provider would not do.
fn row(event: &PaymentEvent, time: Option<RowTime>) -> Option<PaymentRow> {
    let with_status = |status| PaymentRow { status: Some(status), ..PaymentRow::default() };
    Some(match event {
        PaymentEvent::PaymentAuthorizationRequested(event) => PaymentRow {
            enrollment_id: Some(event.enrollment_id),
            organization_id: Some(event.organization_id),
            payer_id: Some(event.payer_id),
            amount_minor: Some(event.amount.amount_minor),
            currency: Some(event.amount.currency.to_string()),
            requested_at: time,
            ..with_status("requested")
        },
        PaymentEvent::PaymentAuthorized(event) => {
            PaymentRow { provider_reference: Some(event.provider_reference.clone()), ..with_status("authorized") }
        }
        PaymentEvent::PaymentDeclined(event) => {
            PaymentRow { code: Some(event.code.clone()), ..with_status("declined") }
        }
        PaymentEvent::PaymentCaptured(event) => PaymentRow {
            captured_minor: Some(event.amount.amount_minor),
            fee_minor: Some(event.fee.amount_minor),
            ..with_status("captured")
        },
        PaymentEvent::PaymentRefunded(event) => {
            let status = if event.remaining.amount_minor > 0 { "partially-refunded" } else { "refunded" };
            PaymentRow { refunded_minor: Some(event.amount.amount_minor), ..with_status(status) }
        }
        PaymentEvent::AuthorizationVoided(_) => with_status("voided"),
        // A tombstone of what never was asked for is nobody's payment.
        PaymentEvent::PaymentCanceled(event) => {
            event.organization_id?;
            match event.how.as_str() {
                "nothing" => with_status("canceled"),
                _ => PaymentRow::default(),
            }
        }
        PaymentEvent::DisputeOpened(event) => PaymentRow {
            disputed_minor: Some(event.amount.amount_minor),
            fee_minor: Some(event.fee.amount_minor),
            ..with_status("disputed")
        },
        PaymentEvent::DisputeClosed(event) => PaymentRow {
            disputed_minor: event.won.then_some(-event.amount.amount_minor),
            fee_minor: Some(event.fee.amount_minor),
            ..with_status(if event.won { "captured" } else { "dispute-lost" })
        },
        PaymentEvent::PaymentCaptureRequested(_)
        | PaymentEvent::PaymentVoidRequested(_)
        | PaymentEvent::PaymentRefundRequested(_)
        | PaymentEvent::CaptureFailed(_)
        | PaymentEvent::VoidFailed(_)
        | PaymentEvent::RefundFailed(_) => return None,
    })
}
