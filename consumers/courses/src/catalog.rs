//! What there is to enroll in.

use daybook_consumer::{
    Access, Answer, Change, Columns, Meta, Owned, Parameter, ParameterKind, Projection, ReadRoute, Row, RowTime,
    TableOf, put,
};
use daybook_events::{CourseEvent, CourseId, CoursePublished, CourseRevised, Lesson, OrganizationId, Timestamp};
use serde::Serialize;

/// The projection.
pub struct CourseCatalog;

const PAGE_MAX: u32 = 100;

/// A course as it is offered now.
#[derive(Debug, Default, Serialize)]
struct CourseRow {
    course_id: Option<CourseId>,
    organization_id: Option<OrganizationId>,
    revision: Option<i64>,
    title: Option<String>,
    summary: Option<String>,
    price_minor: Option<i64>,
    currency: Option<String>,
    /// 0: unlimited. A null would leave the capacity of the revision before.
    capacity: Option<i64>,
    credits_hundredths: Option<i64>,
    credit_type: Option<String>,
    refund_days: Option<i32>,
    lessons: Option<Vec<Lesson>>,
    /// `-infinity` and `infinity` where there is no bound, for the same reason.
    available_from: Option<String>,
    available_until: Option<String>,
    withdrawn: Option<bool>,
    /// Held and taken.
    seats: Option<i64>,
    published_at: Option<RowTime>,
}

impl Row for CourseRow {
    const TABLE: &'static str = "course";
    type Kind = Owned;

    fn columns() -> Columns<Owned> {
        Columns::key("course_id", "uuid")
            .set("organization_id", "uuid")
            .set("revision", "bigint")
            .set("title", "text")
            .set("summary", "text")
            .set("price_minor", "bigint")
            .set("currency", "text")
            .set("capacity", "bigint")
            .set("credits_hundredths", "bigint")
            .set("credit_type", "text")
            .set("refund_days", "integer")
            .set("lessons", "jsonb")
            .set("available_from", "timestamptz")
            .set("available_until", "timestamptz")
            .set("withdrawn", "boolean")
            .add("seats", "bigint")
            .once("published_at", "timestamptz")
            .index("published_at, course_id")
            .index("organization_id")
    }
}

impl Projection for CourseCatalog {
    const NAME: &'static str = "course-catalog";
    type Event = CourseEvent;

    fn tables() -> Vec<TableOf> {
        vec![TableOf::rows::<CourseRow>()]
    }

    fn project(event: &CourseEvent, meta: &Meta<'_>) -> Vec<Change> {
        let row = match event {
            CourseEvent::CoursePublished(event) => CourseRow {
                withdrawn: Some(false),
                seats: Some(0),
                published_at: Some(RowTime(meta.time)),
                ..published(event)
            },
            CourseEvent::CourseRevised(event) => revised(event),
            CourseEvent::CourseWithdrawn(_) => CourseRow { withdrawn: Some(true), ..CourseRow::default() },
            CourseEvent::SeatReserved(_) => CourseRow { seats: Some(1), ..CourseRow::default() },
            CourseEvent::SeatReleased(_) => CourseRow { seats: Some(-1), ..CourseRow::default() },
            CourseEvent::SeatConfirmed(_) => return Vec::new(),
        };
        vec![put(&CourseRow { course_id: Some(CourseId::new(meta.key)), ..row })]
    }

    fn routes() -> Vec<ReadRoute> {
        vec![
            ReadRoute {
                path: "/courses/{course_id}",
                summary: "A course as it is offered now.",
                projection: Self::NAME,
                sql: ONE_COURSE,
                parameters: vec![Parameter::path("course_id", ParameterKind::Uuid)],
                answer: Answer::One,
                access: Access::Public,
            },
            ReadRoute {
                path: "/courses",
                summary: "The courses on sale, the latest published first.",
                projection: Self::NAME,
                sql: COURSES_ON_SALE,
                parameters: vec![Parameter::query("organization_id", ParameterKind::Uuid)],
                answer: Answer::Many {
                    cursor: vec![("published_at", ParameterKind::Time), ("course_id", ParameterKind::Uuid)],
                    page_max: PAGE_MAX,
                },
                access: Access::Public,
            },
        ]
    }
}

const ONE_COURSE: &str = "\
SELECT course_id, organization_id, revision, title, summary, price_minor, currency,
       NULLIF(capacity, 0) AS capacity, seats, credits_hundredths, credit_type, refund_days, lessons,
       NULLIF(available_from, '-infinity') AS available_from,
       NULLIF(available_until, 'infinity') AS available_until, withdrawn, published_at
FROM course
WHERE course_id = $1";

const COURSES_ON_SALE: &str = "\
SELECT course_id, organization_id, revision, title, summary, price_minor, currency,
       NULLIF(capacity, 0) AS capacity, seats, credits_hundredths, credit_type, published_at
FROM course
WHERE NOT withdrawn
  AND ($1::uuid IS NULL OR organization_id = $1)
  AND ($2::timestamptz IS NULL OR (published_at, course_id) < ($2, $3::uuid))
ORDER BY published_at DESC, course_id DESC
LIMIT $4::bigint";

fn published(event: &CoursePublished) -> CourseRow {
    CourseRow {
        organization_id: Some(event.organization_id),
        revision: Some(event.revision),
        title: Some(event.title.clone()),
        summary: Some(event.summary.clone()),
        price_minor: Some(event.price.amount_minor),
        currency: Some(event.price.currency.to_string()),
        capacity: Some(event.capacity.unwrap_or(0)),
        credits_hundredths: Some(event.credits_hundredths),
        credit_type: Some(event.credit_type.clone()),
        refund_days: Some(event.refund_days),
        lessons: Some(event.lessons.clone()),
        available_from: Some(bound(event.available_from, "-infinity")),
        available_until: Some(bound(event.available_until, "infinity")),
        ..CourseRow::default()
    }
}

fn revised(event: &CourseRevised) -> CourseRow {
    CourseRow {
        organization_id: Some(event.organization_id),
        revision: Some(event.revision),
        title: Some(event.title.clone()),
        summary: Some(event.summary.clone()),
        price_minor: Some(event.price.amount_minor),
        currency: Some(event.price.currency.to_string()),
        capacity: Some(event.capacity.unwrap_or(0)),
        credits_hundredths: Some(event.credits_hundredths),
        credit_type: Some(event.credit_type.clone()),
        refund_days: Some(event.refund_days),
        lessons: Some(event.lessons.clone()),
        available_from: Some(bound(event.available_from, "-infinity")),
        available_until: Some(bound(event.available_until, "infinity")),
        ..CourseRow::default()
    }
}

fn bound(time: Option<Timestamp>, otherwise: &str) -> String {
    time.map_or_else(|| otherwise.to_owned(), |time| time.to_string())
}
