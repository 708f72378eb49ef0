#![doc = include_str!("../README.md")]

pub mod codes;
mod list;

use codes::*;
use daybook_consumer::{
    Aggregate, Context, Decision, Entity, Part, Rejection, State, already, ensure, happened, reject,
};
use daybook_events::{
    ActivateEnrollment, CancelEnrollment, CompleteEnrollment, CourseId, EnrollmentActivated, EnrollmentCanceled,
    EnrollmentCommand, EnrollmentCompleted, EnrollmentEvent, EnrollmentId, EnrollmentOpened, OpenEnrollment, PersonId,
};
use serde::{Deserialize, Serialize};

pub use list::EnrollmentList;

/// The parts of this leaf.
pub fn parts() -> Vec<Part> {
    vec![Part::aggregate::<Enrollments>(), Part::projection::<EnrollmentList>()]
}

/// The round of an answer to a cancellation that found none to cancel.
const NO_ROUND: i64 = 0;

/// The aggregate.
pub struct Enrollments;

/// The current round of an enrollment, by the last event that made it what it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Enrollment {
    #[default]
    Never,
    Open(EnrollmentOpened),
    Active(EnrollmentActivated),
    Completed(EnrollmentActivated, EnrollmentCompleted),
    Canceled(EnrollmentCanceled),
}

impl State for Enrollment {
    fn status(&self) -> Option<&'static str> {
        Some(match self {
            Enrollment::Never => return None,
            Enrollment::Open(_) => "open",
            Enrollment::Active(_) => "active",
            Enrollment::Completed(..) => "completed",
            Enrollment::Canceled(_) => "canceled",
        })
    }
}

impl Enrollment {
    /// From 1; 0 before the first.
    fn round(&self) -> i64 {
        match self {
            Enrollment::Never => 0,
            Enrollment::Open(opened) => opened.round,
            Enrollment::Active(activated) | Enrollment::Completed(activated, _) => activated.round,
            Enrollment::Canceled(canceled) => canceled.round,
        }
    }

    fn learner_and_course(&self) -> Option<(PersonId, CourseId)> {
        match self {
            Enrollment::Never => None,
            Enrollment::Open(opened) => Some((opened.learner_id, opened.course_id)),
            Enrollment::Active(activated) | Enrollment::Completed(activated, _) => {
                Some((activated.learner_id, activated.course_id))
            }
            Enrollment::Canceled(canceled) => canceled.learner_id.zip(canceled.course_id),
        }
    }
}

type Decided = Result<Decision<EnrollmentEvent>, Rejection>;

impl Aggregate for Enrollments {
    const NAME: &'static str = "enrollments";
    type Command = EnrollmentCommand;
    type Event = EnrollmentEvent;
    type State = Enrollment;
    type Part = ();

    fn decide(enrollment: &Entity<Self>, command: EnrollmentCommand, cx: &Context) -> Decided {
        match command {
            EnrollmentCommand::OpenEnrollment(ask) => open(enrollment, &ask),
            EnrollmentCommand::ActivateEnrollment(ask) => activate(enrollment, ask, cx),
            EnrollmentCommand::CancelEnrollment(ask) if ask.within_refund_window => withdraw(enrollment, ask, cx),
            EnrollmentCommand::CancelEnrollment(ask) => cancel(enrollment, ask),
            EnrollmentCommand::CompleteEnrollment(ask) => complete(enrollment, &ask),
        }
    }

    fn evolve(enrollment: &mut Entity<Self>, event: &EnrollmentEvent) {
        **enrollment = match event.clone() {
            EnrollmentEvent::EnrollmentOpened(opened) => Enrollment::Open(opened),
            EnrollmentEvent::EnrollmentActivated(activated) => Enrollment::Active(activated),
            EnrollmentEvent::EnrollmentCanceled(canceled) => Enrollment::Canceled(canceled),
            EnrollmentEvent::EnrollmentCompleted(completed) => match &**enrollment {
                Enrollment::Active(activated) => Enrollment::Completed(activated.clone(), completed),
                other => other.clone(),
            },
        }
    }
}

fn open(enrollment: &Enrollment, ask: &OpenEnrollment) -> Decided {
    let derived = EnrollmentId::of(ask.learner_id, ask.course_id);
    ensure!(ask.enrollment_id == derived, ENROLLMENT_ID_WRONG);
    match enrollment {
        // Only the flow that opened it asks again while it is open.
        Enrollment::Open(opened) => already(opened.clone()),
        Enrollment::Never | Enrollment::Canceled(_) => happened(EnrollmentOpened {
            enrollment_id: ask.enrollment_id,
            learner_id: ask.learner_id,
            course_id: ask.course_id,
            round: enrollment.round() + 1,
        }),
        Enrollment::Active(_) | Enrollment::Completed(..) => reject(ALREADY_ENROLLED),
    }
}

fn activate(enrollment: &Enrollment, ask: ActivateEnrollment, cx: &Context) -> Decided {
    ensure!(ask.round == enrollment.round(), NOT_OPEN, "the round is {}", enrollment.round());
    match enrollment {
        Enrollment::Open(opened) => happened(EnrollmentActivated {
            enrollment_id: ask.enrollment_id,
            learner_id: opened.learner_id,
            course_id: opened.course_id,
            round: ask.round,
            revision: ask.revision,
            organization_id: ask.organization_id,
            price: ask.price,
            payment_id: ask.payment_id,
            credits_hundredths: ask.credits_hundredths,
            credit_type: ask.credit_type,
            refund_until: cx.now().plus_days(ask.refund_days.into()),
        }),
        Enrollment::Active(activated) => already(activated.clone()),
        Enrollment::Never | Enrollment::Completed(..) | Enrollment::Canceled(_) => reject(NOT_OPEN),
    }
}

/// A cancellation that is only granted while the round is active and its refund window open.
fn withdraw(enrollment: &Enrollment, ask: CancelEnrollment, cx: &Context) -> Decided {
    ensure!(is_of_round(enrollment, &ask), NOT_ACTIVE, "the round is {}", enrollment.round());
    match enrollment {
        Enrollment::Active(activated) => {
            let until = activated.refund_until;
            ensure!(cx.now() <= until, WINDOW_OVER, "it was open until {until}");
            happened(canceled_active(activated, ask.reason))
        }
        // Asked again, the same answer: the seat and the money must go back, however often that is asked.
        Enrollment::Canceled(canceled) if canceled.was_active && canceled.reason == ask.reason => {
            already(canceled.clone())
        }
        Enrollment::Never | Enrollment::Open(_) | Enrollment::Completed(..) | Enrollment::Canceled(_) => {
            reject(NOT_ACTIVE)
        }
    }
}

/// Makes it not so, in every state. A flow that was never told its round opened nothing that could have become active
/// since: without a round, only what is open is touched.
fn cancel(enrollment: &Enrollment, ask: CancelEnrollment) -> Decided {
    if !is_of_round(enrollment, &ask) {
        return already(canceled_nothing(enrollment, &ask));
    }
    match enrollment {
        Enrollment::Never => already(canceled_nothing(enrollment, &ask)),
        Enrollment::Open(_) => happened(canceled_nothing(enrollment, &ask)),
        Enrollment::Active(_) | Enrollment::Completed(..) if ask.round.is_none() => {
            already(EnrollmentCanceled { round: NO_ROUND, ..canceled_nothing(enrollment, &ask) })
        }
        Enrollment::Active(activated) | Enrollment::Completed(activated, _) => {
            happened(canceled_active(activated, ask.reason))
        }
        Enrollment::Canceled(canceled) => already(canceled.clone()),
    }
}

fn complete(enrollment: &Enrollment, ask: &CompleteEnrollment) -> Decided {
    match enrollment {
        Enrollment::Active(activated) => happened(EnrollmentCompleted {
            enrollment_id: ask.enrollment_id,
            learner_id: activated.learner_id,
            course_id: activated.course_id,
            round: activated.round,
            revision: activated.revision,
            credits_hundredths: activated.credits_hundredths,
            credit_type: activated.credit_type.clone(),
            completed_at: ask.completed_at,
        }),
        Enrollment::Completed(_, completed) => already(completed.clone()),
        Enrollment::Never | Enrollment::Open(_) | Enrollment::Canceled(_) => reject(NOT_ACTIVE),
    }
}

fn is_of_round(enrollment: &Enrollment, ask: &CancelEnrollment) -> bool {
    ask.round.is_none_or(|round| round == enrollment.round())
}

/// Of a round in which the learner had no access.
fn canceled_nothing(enrollment: &Enrollment, ask: &CancelEnrollment) -> EnrollmentCanceled {
    let (learner_id, course_id) = enrollment.learner_and_course().unzip();
    let is_known = !matches!(enrollment, Enrollment::Never);
    EnrollmentCanceled {
        enrollment_id: ask.enrollment_id,
        learner_id,
        course_id,
        round: if is_known { ask.round.unwrap_or(enrollment.round()) } else { NO_ROUND },
        reason: ask.reason.clone(),
        was_active: false,
        organization_id: None,
        price: None,
        payment_id: None,
    }
}

fn canceled_active(activated: &EnrollmentActivated, reason: String) -> EnrollmentCanceled {
    EnrollmentCanceled {
        enrollment_id: activated.enrollment_id,
        learner_id: Some(activated.learner_id),
        course_id: Some(activated.course_id),
        round: activated.round,
        reason,
        was_active: true,
        organization_id: Some(activated.organization_id),
        price: Some(activated.price),
        payment_id: activated.payment_id,
    }
}
