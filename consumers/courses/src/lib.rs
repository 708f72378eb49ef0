#![doc = include_str!("../README.md")]

mod catalog;
pub mod codes;
mod offer;

use codes::*;
use daybook_consumer::{
    Aggregate, Context, Decision, Entity, Part, Rejection, State, acts_for, already, ensure, happened, happened_all,
    reject,
};
use daybook_events::{
    ConfirmSeat, CourseCommand, CourseEvent, CourseId, CourseWithdrawn, PublishCourse, ReleaseSeat, ReserveSeat,
    RevisePublishedCourse, SeatConfirmed, SeatReleased, SeatReserved, Timestamp, WithdrawCourse,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use catalog::CourseCatalog;
pub use offer::Offer;

/// The longest hold, in seconds: a day.
pub const HOLD_MAX_SECONDS: i64 = 24 * 60 * 60;

/// The parts of this leaf.
pub fn parts() -> Vec<Part> {
    vec![Part::aggregate::<Courses>(), Part::projection::<CourseCatalog>()]
}

/// The aggregate.
pub struct Courses;

/// A course.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// `None`: never published.
    pub offer: Option<Offer>,
    /// Why it was taken off sale.
    pub withdrawn: Option<String>,
    /// Seats held and taken.
    pub seats: i64,
}

impl State for Course {}

/// A seat of a course for one enrollment, with the terms it was reserved under.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Seat {
    #[default]
    Free,
    Held(SeatReserved),
    Taken(SeatReserved),
}

impl State for Seat {}

impl Course {
    fn published(&self) -> Result<&Offer, Rejection> {
        self.offer.as_ref().ok_or_else(|| COURSE_UNKNOWN.into())
    }

    fn has_seat_left(&self, offer: &Offer) -> bool {
        offer.capacity.is_none_or(|capacity| self.seats < capacity)
    }
}

impl Seat {
    /// The reservation, if there is one for this round.
    fn of_round(&self, round: i64) -> Option<&SeatReserved> {
        self.reserved().filter(|reserved| reserved.round == round)
    }

    fn reserved(&self) -> Option<&SeatReserved> {
        match self {
            Seat::Free => None,
            Seat::Held(reserved) | Seat::Taken(reserved) => Some(reserved),
        }
    }
}

type Decided = Result<Decision<CourseEvent>, Rejection>;

impl Aggregate for Courses {
    const NAME: &'static str = "courses";
    type Command = CourseCommand;
    type Event = CourseEvent;
    type State = Course;
    type Part = Seat;

    fn command_parts(command: &CourseCommand) -> Vec<Uuid> {
        match command {
            CourseCommand::ReserveSeat(ask) => vec![ask.enrollment_id.uuid()],
            CourseCommand::ConfirmSeat(ask) => vec![ask.enrollment_id.uuid()],
            CourseCommand::ReleaseSeat(ask) => vec![ask.enrollment_id.uuid()],
            CourseCommand::PublishCourse(_)
            | CourseCommand::RevisePublishedCourse(_)
            | CourseCommand::WithdrawCourse(_) => Vec::new(),
        }
    }

    fn event_parts(event: &CourseEvent) -> Vec<Uuid> {
        match event {
            CourseEvent::SeatReserved(event) => vec![event.enrollment_id.uuid()],
            CourseEvent::SeatConfirmed(event) => vec![event.enrollment_id.uuid()],
            CourseEvent::SeatReleased(event) => vec![event.enrollment_id.uuid()],
            CourseEvent::CoursePublished(_) | CourseEvent::CourseRevised(_) | CourseEvent::CourseWithdrawn(_) => {
                Vec::new()
            }
        }
    }

    fn decide(course: &Entity<Self>, command: CourseCommand, cx: &Context) -> Decided {
        match command {
            CourseCommand::PublishCourse(ask) => publish(course, ask, cx),
            CourseCommand::RevisePublishedCourse(ask) => revise(course, ask, cx),
            CourseCommand::WithdrawCourse(ask) => withdraw(course, ask, cx),
            CourseCommand::ReserveSeat(ask) => reserve(course, ask, cx),
            CourseCommand::ConfirmSeat(ask) => confirm(course, ask),
            CourseCommand::ReleaseSeat(ask) => release(course, ask),
        }
    }

    fn evolve(course: &mut Entity<Self>, event: &CourseEvent) {
        match event {
            CourseEvent::CoursePublished(event) => course.offer = Some(Offer::published(event)),
            CourseEvent::CourseRevised(event) => course.offer = Some(Offer::revised(event)),
            CourseEvent::CourseWithdrawn(event) => course.withdrawn = Some(event.reason.clone()),
            CourseEvent::SeatReserved(event) => {
                course.seats += 1;
                *course.part_mut(event.enrollment_id) = Seat::Held(event.clone());
            }
            CourseEvent::SeatConfirmed(event) => {
                let seat = course.part_mut(event.enrollment_id);
                if let Seat::Held(reserved) = seat {
                    *seat = Seat::Taken(reserved.clone());
                }
            }
            CourseEvent::SeatReleased(event) => {
                course.seats -= 1;
                *course.part_mut(event.enrollment_id) = Seat::Free;
            }
        }
    }

    fn part_due(course: Uuid, _enrollment: Uuid, seat: &Seat) -> Option<(Timestamp, CourseCommand)> {
        let Seat::Held(reserved) = seat else {
            return None;
        };
        let release = ReleaseSeat {
            course_id: CourseId::new(course),
            enrollment_id: reserved.enrollment_id,
            round: reserved.round,
            reason: "hold-expired".to_owned(),
        };
        Some((reserved.held_until, release.into()))
    }
}

fn publish(course: &Course, ask: PublishCourse, cx: &Context) -> Decided {
    ensure!(acts_for(cx, ask.organization_id), NOT_YOUR_ORGANIZATION);
    ensure!(course.offer.is_none(), ALREADY_PUBLISHED);
    offer::check_published(&ask)?;
    happened(offer::publish(ask))
}

fn revise(course: &Course, ask: RevisePublishedCourse, cx: &Context) -> Decided {
    let offer = course.published()?;
    ensure!(acts_for(cx, offer.organization_id), NOT_YOUR_ORGANIZATION);
    ensure!(course.withdrawn.is_none(), COURSE_WITHDRAWN);
    let is_expected = ask.expected_revision.is_none_or(|revision| revision == offer.revision);
    ensure!(is_expected, REVISION_CHANGED, "the course is at revision {}", offer.revision);
    offer::check_revised(&ask)?;
    let fits = ask.capacity.is_none_or(|capacity| course.seats <= capacity);
    ensure!(fits, CAPACITY_TOO_SMALL, "{} seats are held or taken", course.seats);
    happened(offer::revise(ask, offer))
}

fn withdraw(course: &Course, ask: WithdrawCourse, cx: &Context) -> Decided {
    let offer = course.published()?;
    ensure!(acts_for(cx, offer.organization_id), NOT_YOUR_ORGANIZATION);
    let withdrawn = |reason| CourseWithdrawn {
        course_id: ask.course_id,
        organization_id: offer.organization_id,
        revision: offer.revision,
        reason,
    };
    match &course.withdrawn {
        Some(reason) => already(withdrawn(reason.clone())),
        None => happened(withdrawn(ask.reason)),
    }
}

fn reserve(course: &Entity<Courses>, ask: ReserveSeat, cx: &Context) -> Decided {
    let offer = course.published()?;
    let seat = course.part(ask.enrollment_id);
    if let Some(reserved) = seat.of_round(ask.round) {
        return already(reserved.clone());
    }
    ensure!(course.withdrawn.is_none(), COURSE_WITHDRAWN);
    ensure!(offer.is_available(cx.now()), COURSE_NOT_AVAILABLE);
    ensure!(offer.price == ask.expected_price, PRICE_CHANGED, "the price is {}", offer.price);
    ensure!((1..=HOLD_MAX_SECONDS).contains(&ask.hold_for_seconds), HOLD_INVALID);
    let reserved = SeatReserved {
        course_id: ask.course_id,
        enrollment_id: ask.enrollment_id,
        round: ask.round,
        learner_id: ask.learner_id,
        organization_id: offer.organization_id,
        revision: offer.revision,
        price: offer.price,
        credits_hundredths: offer.credits_hundredths,
        credit_type: offer.credit_type.clone(),
        refund_days: offer.refund_days,
        held_until: cx.now().plus_seconds(ask.hold_for_seconds),
    };
    match seat.reserved() {
        // The earlier round's seat passes on: that round can no longer want it.
        Some(earlier) => {
            ensure!(earlier.round < ask.round, ROUND_OVER);
            happened_all(vec![released(earlier, "released").into(), reserved.into()])
        }
        None => {
            ensure!(course.has_seat_left(offer), COURSE_FULL);
            happened(reserved)
        }
    }
}

fn confirm(course: &Entity<Courses>, ask: ConfirmSeat) -> Decided {
    let seat = course.part(ask.enrollment_id);
    let Some(reserved) = seat.of_round(ask.round) else {
        return reject(HOLD_LOST);
    };
    let confirmed = SeatConfirmed {
        course_id: ask.course_id,
        enrollment_id: ask.enrollment_id,
        round: ask.round,
        learner_id: reserved.learner_id,
        revision: reserved.revision,
    };
    match seat {
        Seat::Taken(_) => already(confirmed),
        Seat::Held(_) | Seat::Free => happened(confirmed),
    }
}

fn release(course: &Entity<Courses>, ask: ReleaseSeat) -> Decided {
    match course.part(ask.enrollment_id).of_round(ask.round) {
        Some(reserved) => happened(released(reserved, &ask.reason)),
        None => already(SeatReleased {
            course_id: ask.course_id,
            enrollment_id: ask.enrollment_id,
            round: ask.round,
            reason: "never-held".to_owned(),
        }),
    }
}

fn released(reserved: &SeatReserved, reason: &str) -> SeatReleased {
    SeatReleased {
        course_id: reserved.course_id,
        enrollment_id: reserved.enrollment_id,
        round: reserved.round,
        reason: reason.to_owned(),
    }
}
