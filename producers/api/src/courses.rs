//! Courses.

use daybook_events::{
    CourseId, Lesson, LessonId, OrganizationId, PublishCourse, RevisePublishedCourse, WithdrawCourse,
};
use daybook_facade::{Access, Asked, CommandRoute, FieldError, Problem, command};
use http::Method;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::values::{Moment, MoneyBody};

const WRITE: Access = Access::Scope("courses:write");

pub(crate) fn routes() -> Vec<CommandRoute> {
    vec![
        command(Method::POST, "/courses", WRITE, "Publishes a course.", publish),
        command(Method::PUT, "/courses/{course_id}", WRITE, "Revises a course.", revise).with_if_match(),
        command(Method::POST, "/courses/{course_id}/withdrawal", WRITE, "Takes a course off sale.", withdraw),
    ]
}

/// A course to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PublishCourse)]
struct Publication {
    /// Made from the request when it is not given.
    #[schema(value_type = Option<Uuid>)]
    course_id: Option<CourseId>,
    /// Who publishes it; the token's organization when it is not given.
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    /// Title, as learners see it.
    title: String,
    /// A paragraph on what it teaches.
    summary: String,
    /// Price of one seat; zero means free.
    price: MoneyBody,
    /// Seats, at least 1; unlimited when it is not given.
    capacity: Option<i64>,
    /// Credits earned by completing it, in hundredths of a credit.
    credits_hundredths: i64,
    /// What kind of credit it is.
    #[schema(example = "ama-pra-1")]
    credit_type: String,
    /// Days after activation within which a learner may withdraw with a full refund.
    refund_days: i32,
    /// The lessons in their order.
    lessons: Vec<LessonBody>,
    /// First moment at which a seat may be reserved; at once when it is not given.
    available_from: Option<Moment>,
    /// Moment from which no seat may be reserved.
    available_until: Option<Moment>,
}

/// What a course is from now on. Running enrollments keep what they were begun with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReviseCourse)]
struct Revision {
    /// Title, as learners see it.
    title: String,
    /// A paragraph on what it teaches.
    summary: String,
    /// Price of one seat; zero means free.
    price: MoneyBody,
    /// Seats, at least 1; unlimited when it is not given.
    capacity: Option<i64>,
    /// Credits earned by completing it, in hundredths of a credit.
    credits_hundredths: i64,
    /// What kind of credit it is.
    #[schema(example = "ama-pra-1")]
    credit_type: String,
    /// Days after activation within which a learner may withdraw with a full refund.
    refund_days: i32,
    /// The lessons in their order.
    lessons: Vec<LessonBody>,
    /// First moment at which a seat may be reserved; at once when it is not given.
    available_from: Option<Moment>,
    /// Moment from which no seat may be reserved.
    available_until: Option<Moment>,
}

/// A lesson of a course.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Lesson)]
struct LessonBody {
    /// The same across revisions.
    #[schema(value_type = Uuid)]
    lesson_id: LessonId,
    /// What the learner sees.
    title: String,
    /// video, reading, quiz or live.
    #[schema(example = "video")]
    kind: String,
    /// Lowest passing score of a quiz, 0 to 100.
    pass_score_percent: Option<i32>,
}

/// Why a course is taken off sale.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WithdrawCourse)]
struct Withdrawal {
    /// For the record; nobody's personal data.
    reason: String,
}

impl From<LessonBody> for Lesson {
    fn from(body: LessonBody) -> Self {
        Lesson {
            lesson_id: body.lesson_id,
            title: body.title,
            kind: body.kind,
            pass_score_percent: body.pass_score_percent,
        }
    }
}

async fn publish(asked: Asked<Publication>) -> Result<PublishCourse, Problem> {
    let Asked { body, about } = asked;
    let organization_id = body.organization_id.or(about.caller.tenant.map(OrganizationId::new));
    let missing = || Problem::invalid([FieldError::new("/organization_id", "missing: the token has no organization")]);
    Ok(PublishCourse {
        course_id: body.course_id.unwrap_or_else(|| about.new_id("course")),
        organization_id: organization_id.ok_or_else(missing)?,
        title: body.title,
        summary: body.summary,
        price: body.price.into(),
        capacity: body.capacity,
        credits_hundredths: body.credits_hundredths,
        credit_type: body.credit_type,
        refund_days: body.refund_days,
        lessons: body.lessons.into_iter().map(Lesson::from).collect(),
        available_from: body.available_from.map(|from| from.0),
        available_until: body.available_until.map(|until| until.0),
    })
}

async fn revise(asked: Asked<Revision>) -> Result<RevisePublishedCourse, Problem> {
    let Asked { body, about } = asked;
    Ok(RevisePublishedCourse {
        course_id: about.id("course_id")?,
        expected_revision: about.if_match,
        title: body.title,
        summary: body.summary,
        price: body.price.into(),
        capacity: body.capacity,
        credits_hundredths: body.credits_hundredths,
        credit_type: body.credit_type,
        refund_days: body.refund_days,
        lessons: body.lessons.into_iter().map(Lesson::from).collect(),
        available_from: body.available_from.map(|from| from.0),
        available_until: body.available_until.map(|until| until.0),
    })
}

async fn withdraw(asked: Asked<Withdrawal>) -> Result<WithdrawCourse, Problem> {
    let Asked { body, about } = asked;
    Ok(WithdrawCourse { course_id: about.id("course_id")?, reason: body.reason })
}
