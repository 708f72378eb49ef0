//! A person's enrollments, a row for each round.

use daybook_consumer::{
    Access, Answer, Change, Columns, Meta, Owned, Parameter, ParameterKind, Projection, ReadRoute, Row, RowTime,
    TableOf, put,
};
use daybook_events::{
    CourseId, EnrollmentActivated, EnrollmentEvent, EnrollmentId, OrganizationId, PaymentId, PersonId,
};
use serde::Serialize;

/// The projection.
pub struct EnrollmentList;

const PAGE_MAX: u32 = 100;

/// A round of an enrollment. A row per round, because a later round must not inherit the columns of an
/// earlier one.
#[derive(Debug, Default, Serialize)]
struct EnrollmentRow {
    enrollment_id: Option<EnrollmentId>,
    round: i64,
    learner_id: Option<PersonId>,
    course_id: Option<CourseId>,
    status: &'static str,
    organization_id: Option<OrganizationId>,
    revision: Option<i64>,
    price_minor: Option<i64>,
    currency: Option<String>,
    payment_id: Option<PaymentId>,
    credits_hundredths: Option<i64>,
    credit_type: Option<String>,
    cancel_reason: Option<String>,
    opened_at: Option<RowTime>,
    activated_at: Option<RowTime>,
    refund_until: Option<RowTime>,
    completed_at: Option<RowTime>,
    canceled_at: Option<RowTime>,
}

impl Row for EnrollmentRow {
    const TABLE: &'static str = "enrollment";
    type Kind = Owned;

    fn columns() -> Columns<Owned> {
        Columns::key("enrollment_id", "uuid")
            .and_key("round", "bigint")
            .set("learner_id", "uuid")
            .set("course_id", "uuid")
            .set("status", "text")
            .set("organization_id", "uuid")
            .set("revision", "bigint")
            .set("price_minor", "bigint")
            .set("currency", "text")
            .set("payment_id", "uuid")
            .set("credits_hundredths", "bigint")
            .set("credit_type", "text")
            .set("cancel_reason", "text")
            .set("opened_at", "timestamptz")
            .set("activated_at", "timestamptz")
            .set("refund_until", "timestamptz")
            .set("completed_at", "timestamptz")
            .set("canceled_at", "timestamptz")
            .index("learner_id, opened_at")
            .index("course_id")
    }
}

impl Projection for EnrollmentList {
    const NAME: &'static str = "enrollment-list";
    type Event = EnrollmentEvent;

    fn tables() -> Vec<TableOf> {
        vec![TableOf::rows::<EnrollmentRow>()]
    }

    fn project(event: &EnrollmentEvent, meta: &Meta<'_>) -> Vec<Change> {
        let time = Some(RowTime(meta.time));
        let row = match event {
            EnrollmentEvent::EnrollmentOpened(event) => EnrollmentRow {
                round: event.round,
                learner_id: Some(event.learner_id),
                course_id: Some(event.course_id),
                status: "open",
                opened_at: time,
                ..EnrollmentRow::default()
            },
            EnrollmentEvent::EnrollmentActivated(event) => EnrollmentRow { activated_at: time, ..activated(event) },
            EnrollmentEvent::EnrollmentCompleted(event) => EnrollmentRow {
                round: event.round,
                status: "completed",
                completed_at: Some(RowTime(event.completed_at)),
                ..EnrollmentRow::default()
            },
            EnrollmentEvent::EnrollmentCanceled(event) => EnrollmentRow {
                round: event.round,
                status: "canceled",
                cancel_reason: Some(event.reason.clone()),
                canceled_at: time,
                ..EnrollmentRow::default()
            },
        };
        vec![put(&EnrollmentRow { enrollment_id: Some(EnrollmentId::new(meta.key)), ..row })]
    }

    fn routes() -> Vec<ReadRoute> {
        vec![
            ReadRoute {
                path: "/people/{person_id}/enrollments",
                summary: "A person's enrollments, the latest first.",
                projection: Self::NAME,
                sql: OF_PERSON,
                parameters: vec![Parameter::path("person_id", ParameterKind::Uuid)],
                answer: Answer::Many {
                    cursor: vec![
                        ("opened_at", ParameterKind::Time),
                        ("enrollment_id", ParameterKind::Uuid),
                        ("round", ParameterKind::Integer),
                    ],
                    page_max: PAGE_MAX,
                },
                access: Access::Owner {
                    parameter: "person_id",
                    claim: "sub",
                    own: "enrollments:read",
                    any: "enrollments:read-any",
                },
            },
            ReadRoute {
                path: "/enrollments/{enrollment_id}",
                summary: "The current round of one's own enrollment.",
                projection: Self::NAME,
                sql: OWN,
                parameters: vec![
                    Parameter::path("enrollment_id", ParameterKind::Uuid),
                    Parameter::claim("sub", ParameterKind::Uuid),
                ],
                answer: Answer::One,
                access: Access::Scope("enrollments:read"),
            },
        ]
    }
}

const OF_PERSON: &str = "\
SELECT enrollment_id, round, course_id, status, organization_id, revision, price_minor, currency,
       payment_id, credits_hundredths, credit_type, cancel_reason, opened_at, activated_at,
       refund_until, completed_at, canceled_at
FROM enrollment
WHERE learner_id = $1
  AND ($2::timestamptz IS NULL OR (opened_at, enrollment_id, round) < ($2, $3::uuid, $4::bigint))
ORDER BY opened_at DESC, enrollment_id DESC, round DESC
LIMIT $5::bigint";

const OWN: &str = "\
SELECT enrollment_id, round, learner_id, course_id, status, organization_id, revision, price_minor,
       currency, payment_id, credits_hundredths, credit_type, cancel_reason, opened_at,
       activated_at, refund_until, completed_at, canceled_at
FROM enrollment
WHERE enrollment_id = $1 AND learner_id = $2
ORDER BY round DESC
LIMIT 1";

fn activated(event: &EnrollmentActivated) -> EnrollmentRow {
    EnrollmentRow {
        round: event.round,
        status: "active",
        organization_id: Some(event.organization_id),
        revision: Some(event.revision),
        price_minor: Some(event.price.amount_minor),
        currency: Some(event.price.currency.to_string()),
        payment_id: event.payment_id,
        credits_hundredths: Some(event.credits_hundredths),
        credit_type: Some(event.credit_type.clone()),
        refund_until: Some(RowTime(event.refund_until)),
        ..EnrollmentRow::default()
    }
}
