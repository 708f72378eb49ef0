//! Enrollments: each request starts a saga.

use daybook_events::{CourseId, EnrollLearner, EnrollmentId, PersonId, WithdrawLearner};
use daybook_facade::{About, Access, Asked, CommandRoute, Problem, codes, command};
use http::Method;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::values::MoneyBody;

const WRITE: Access = Access::Scope("enrollments:write");

/// Scope of those who may enroll others, and withdraw them.
const WRITE_ANY: &str = "enrollments:write-any";

pub(crate) fn routes() -> Vec<CommandRoute> {
    let withdrawal = "/enrollments/{enrollment_id}/withdrawal";
    vec![
        command(Method::POST, "/enrollments", WRITE, "Enrolls a learner in a course, and collects its price.", enroll),
        command(Method::POST, withdrawal, WRITE, "Leaves a course, with a refund while that is possible.", withdraw),
    ]
}

/// Who is to be enrolled in what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EnrollLearner)]
struct Enrollment {
    /// The learner; whoever asks when it is not given.
    #[schema(value_type = Option<Uuid>)]
    learner_id: Option<PersonId>,
    /// The course.
    #[schema(value_type = Uuid)]
    course_id: CourseId,
    /// The provider's token for the means of payment, not needed when the course is free. Never a card number.
    #[schema(example = "pm_card_visa")]
    payment_token: Option<String>,
    /// Price that the learner saw.
    expected_price: MoneyBody,
}

/// Which course is left, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WithdrawLearner)]
struct Withdrawal {
    /// The learner; whoever asks when it is not given.
    #[schema(value_type = Option<Uuid>)]
    learner_id: Option<PersonId>,
    /// The course.
    #[schema(value_type = Uuid)]
    course_id: CourseId,
    /// In the learner's choice of code.
    #[schema(example = "no-time")]
    reason: String,
}

async fn enroll(asked: Asked<Enrollment>) -> Result<EnrollLearner, Problem> {
    let Asked { body, about } = asked;
    let learner_id = learner(&about, body.learner_id)?;
    Ok(EnrollLearner {
        enrollment_id: EnrollmentId::of(learner_id, body.course_id),
        learner_id,
        course_id: body.course_id,
        payment_token: body.payment_token,
        expected_price: body.expected_price.into(),
    })
}

async fn withdraw(asked: Asked<Withdrawal>) -> Result<WithdrawLearner, Problem> {
    let Asked { body, about } = asked;
    let learner_id = learner(&about, body.learner_id)?;
    let enrollment_id = about.id("enrollment_id")?;
    // The id follows from learner and course, so it proves whose enrollment it is.
    if enrollment_id != EnrollmentId::of(learner_id, body.course_id) {
        return Err(Problem::new(codes::NOT_YOURS).detail("The enrollment is not of this learner in this course."));
    }
    Ok(WithdrawLearner { enrollment_id, reason: body.reason })
}

/// Whom it is about: oneself, or anybody for those who may.
fn learner(about: &About, named: Option<PersonId>) -> Result<PersonId, Problem> {
    let caller = PersonId::new(about.caller.id);
    match named {
        Some(learner) if learner != caller => about.caller.require(WRITE_ANY).map(|()| learner),
        _ => Ok(caller),
    }
}
