//! The aggregate that is measured: small state, one event for each command, a state row for each entity.

use daybook_consumer::{Aggregate, Context, Decision, Entity, Part, Rejection, State, happened};
use daybook_events::{
    CourseCommand, CourseEvent, CourseId, CoursePublished, Currency, Money, OrganizationId, PublishCourse, derive_id,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Length of title and summary together with which a command has 200 bytes of value.
const TEXT_BYTES: usize = 94;

/// Counts the commands of each entity.
pub struct Tally;

/// What is kept of an entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tallied {
    count: u64,
    total: i64,
    last: String,
}

impl State for Tallied {}

impl Aggregate for Tally {
    const NAME: &'static str = "bench-tally";
    type Command = CourseCommand;
    type Event = CourseEvent;
    type State = Tallied;
    type Part = ();

    fn decide(tally: &Entity<Self>, command: CourseCommand, _: &Context) -> Result<Decision<CourseEvent>, Rejection> {
        match command {
            CourseCommand::PublishCourse(ask) => {
                let revision = i64::try_from(tally.count).unwrap_or(i64::MAX).saturating_add(1);
                happened(published(ask, revision))
            }
            _ => unreachable!("only one type of command is sent"),
        }
    }

    fn evolve(tally: &mut Entity<Self>, event: &CourseEvent) {
        if let CourseEvent::CoursePublished(published) = event {
            tally.count += 1;
            tally.total += published.price.amount_minor;
            tally.last.clone_from(&published.credit_type);
        }
    }
}

/// The event that a command leads to, here and in the relay.
pub fn published(ask: PublishCourse, revision: i64) -> CoursePublished {
    CoursePublished {
        course_id: ask.course_id,
        organization_id: ask.organization_id,
        revision,
        title: ask.title,
        summary: ask.summary,
        price: ask.price,
        capacity: ask.capacity,
        credits_hundredths: ask.credits_hundredths,
        credit_type: ask.credit_type,
        refund_days: ask.refund_days,
        lessons: ask.lessons,
        available_from: ask.available_from,
        available_until: ask.available_until,
    }
}

/// A command of 200 bytes to one of many entities.
pub fn command(entity: u64) -> PublishCourse {
    PublishCourse {
        course_id: CourseId::new(entity_id(entity)),
        organization_id: OrganizationId::from_u128(7),
        title: "A course that is measured".to_owned(),
        summary: "x".repeat(TEXT_BYTES - "A course that is measured".len()),
        price: Money { amount_minor: 4_900, currency: Currency::USD },
        capacity: Some(30),
        credits_hundredths: 100,
        credit_type: "ama-pra-1".to_owned(),
        refund_days: 14,
        lessons: Vec::new(),
        available_from: None,
        available_until: None,
    }
}

/// Ids as random as those of the platform.
pub fn entity_id(entity: u64) -> Uuid {
    derive_id("bench-entity", &[&entity.to_be_bytes()])
}

pub fn part() -> Part {
    Part::aggregate::<Tally>()
}

#[cfg(test)]
mod tests {
    use daybook_events::{FRAME_BYTES, encode};

    use super::*;

    #[test]
    fn a_command_has_two_hundred_bytes() {
        let mut body = Vec::new();
        encode(&command(1), &mut body).unwrap();
        assert_eq!(body.len() + FRAME_BYTES, 200);
    }
}
