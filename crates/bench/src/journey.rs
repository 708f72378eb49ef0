//! The saga that is measured: five steps in one participant, each undone by the first one's undo.

use std::sync::Arc;

use daybook_consumer::{Aggregate, Context, Decision, Entity, Part, Rejection, State, happened};
use daybook_events::{
    CourseCommand, CourseEvent, CourseId, Currency, EnrollLearner, EnrollmentId, LearnerEnrolled, LearnerNotEnrolled,
    Money, OrganizationId, PersonId, ReleaseSeat, ReserveSeat, SeatReleased, SeatReserved,
};
use daybook_saga::{Failure, MINUTE, Saga, Start, StepContext, Versions};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::tally;

/// The parts of the benchmark: saga and participant.
pub fn parts() -> Vec<Part> {
    let saga = Part { leaf: Arc::new(Versions::of(saga())), performer: None, routes: Vec::new() };
    vec![saga, Part::aggregate::<Seats>()]
}

/// The command that begins one journey, to one of so many courses.
pub fn begin(id: Uuid, number: u64, courses: u64) -> EnrollLearner {
    EnrollLearner {
        enrollment_id: EnrollmentId::new(id),
        learner_id: PersonId::from_u128(u128::from(number)),
        course_id: CourseId::new(tally::entity_id(number % courses)),
        payment_token: None,
        expected_price: price(),
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Journey {
    enrollment_id: EnrollmentId,
    learner_id: PersonId,
    course_id: CourseId,
}

fn saga() -> Saga<Journey> {
    let mut saga = Saga::named("bench-saga").version(1).started_by(begun).closes(arrived, turned_back);
    let first = saga.step("first", ask).acknowledged().undo(release).alarm_after(MINUTE);
    for step in ["second", "third", "fourth"] {
        saga.step(step, ask).acknowledged().covered_by(first).alarm_after(MINUTE);
    }
    saga.step("fifth", ask).acknowledged().covered_by(first).pivot().alarm_after(MINUTE);
    saga.build().expect("the definition is built by this crate's tests")
}

fn begun(start: EnrollLearner, _: &Start) -> Journey {
    Journey { enrollment_id: start.enrollment_id, learner_id: start.learner_id, course_id: start.course_id }
}

fn ask(journey: &Journey, _: &StepContext) -> ReserveSeat {
    ReserveSeat {
        course_id: journey.course_id,
        enrollment_id: journey.enrollment_id,
        round: 1,
        learner_id: journey.learner_id,
        expected_price: price(),
        hold_for_seconds: 60,
    }
}

fn release(journey: &Journey, _: &StepContext) -> ReleaseSeat {
    ReleaseSeat {
        course_id: journey.course_id,
        enrollment_id: journey.enrollment_id,
        round: 1,
        reason: "released".to_owned(),
    }
}

fn arrived(journey: &Journey) -> LearnerEnrolled {
    LearnerEnrolled {
        enrollment_id: journey.enrollment_id,
        learner_id: journey.learner_id,
        course_id: journey.course_id,
        round: 1,
        revision: 1,
        price: price(),
        payment_id: None,
    }
}

fn turned_back(journey: &Journey, failure: &Failure) -> LearnerNotEnrolled {
    LearnerNotEnrolled {
        enrollment_id: journey.enrollment_id,
        learner_id: journey.learner_id,
        course_id: journey.course_id,
        step: failure.step.clone(),
        code: failure.code.clone(),
        detail: None,
    }
}

fn price() -> Money {
    Money { amount_minor: 4_900, currency: Currency::USD }
}

/// The participant: says yes and counts.
struct Seats;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seated {
    reserved: u64,
}

impl State for Seated {}

impl Aggregate for Seats {
    const NAME: &'static str = "bench-seats";
    type Command = CourseCommand;
    type Event = CourseEvent;
    type State = Seated;
    type Part = ();

    fn decide(_: &Entity<Self>, command: CourseCommand, cx: &Context) -> Result<Decision<CourseEvent>, Rejection> {
        match command {
            CourseCommand::ReserveSeat(ask) => happened(SeatReserved {
                course_id: ask.course_id,
                enrollment_id: ask.enrollment_id,
                round: ask.round,
                learner_id: ask.learner_id,
                organization_id: OrganizationId::from_u128(7),
                revision: 1,
                price: ask.expected_price,
                credits_hundredths: 100,
                credit_type: "ama-pra-1".to_owned(),
                refund_days: 14,
                held_until: cx.now().plus_ms(ask.hold_for_seconds * 1_000),
            }),
            CourseCommand::ReleaseSeat(ask) => happened(SeatReleased {
                course_id: ask.course_id,
                enrollment_id: ask.enrollment_id,
                round: ask.round,
                reason: ask.reason,
            }),
            _ => unreachable!("only two types of command are sent"),
        }
    }

    fn evolve(seats: &mut Entity<Self>, event: &CourseEvent) {
        match event {
            CourseEvent::SeatReserved(_) => seats.reserved += 1,
            CourseEvent::SeatReleased(_) => seats.reserved = seats.reserved.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        assert_eq!(saga().name(), "bench-saga");
    }
}
