//! Parts that do what they are asked to, also what they must not. They borrow the messages of enrollments.

use daybook_consumer::{
    Acts, Aggregate, Ask, Attempt, Change, Code, Columns, Conclusion, Context, Decision, EffectPolicy, Entity, Merged,
    Meta, OnUnknown, Owned, Perform, Policy, Projection, Provider, Rejection, Row, State, TableOf, already, codes,
    happened, happened_all, put,
};
use daybook_events::{
    CompleteEnrollment, CourseId, EnrollmentCanceled, EnrollmentCommand, EnrollmentCompleted, EnrollmentEvent,
    EnrollmentId, EnrollmentOpened, PersonId, Timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

codes! {
    /// What these parts refuse with when they are asked to refuse.
    ODD_REFUSED = "odd-refused";
}

pub const LEARNER: PersonId = PersonId::from_u128(2);
/// A learner whose row the projection writes where it must not.
pub const SHARED: PersonId = PersonId::from_u128(99);
pub const TIMER_AT: Timestamp = Timestamp(1_000_000);

pub fn opened(enrollment_id: EnrollmentId, learner_id: PersonId) -> EnrollmentOpened {
    EnrollmentOpened { enrollment_id, learner_id, course_id: CourseId::from_u128(3), round: 1 }
}

fn completed(enrollment_id: EnrollmentId) -> EnrollmentCompleted {
    EnrollmentCompleted {
        enrollment_id,
        learner_id: LEARNER,
        course_id: CourseId::from_u128(3),
        round: 1,
        revision: 1,
        credits_hundredths: 0,
        credit_type: "none".to_owned(),
        completed_at: TIMER_AT,
    }
}

fn canceled(enrollment_id: EnrollmentId, reason: &str) -> EnrollmentCanceled {
    EnrollmentCanceled {
        enrollment_id,
        learner_id: None,
        course_id: None,
        round: 0,
        reason: reason.to_owned(),
        was_active: false,
        organization_id: None,
        price: None,
        payment_id: None,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Story {
    text: String,
}

impl State for Story {}

type Decided = Result<Decision<EnrollmentEvent>, Rejection>;

/// Opens; by the reason of a cancellation, does something wrong.
pub struct Odd;

impl Aggregate for Odd {
    const NAME: &'static str = "odd";
    type Command = EnrollmentCommand;
    type Event = EnrollmentEvent;
    type State = Story;
    type Part = Story;

    fn event_parts(event: &EnrollmentEvent) -> Vec<Uuid> {
        match event {
            EnrollmentEvent::EnrollmentCanceled(event) if event.reason == "part" => vec![Uuid::from_u128(5)],
            _ => Vec::new(),
        }
    }

    fn decide(story: &Entity<Self>, command: EnrollmentCommand, _cx: &Context) -> Decided {
        let id = EnrollmentId::new(story.key());
        match command {
            EnrollmentCommand::OpenEnrollment(_) if story.text == "opened" => already(opened(id, LEARNER)),
            EnrollmentCommand::OpenEnrollment(_) => happened(opened(id, LEARNER)),
            EnrollmentCommand::CompleteEnrollment(_) => happened(completed(id)),
            EnrollmentCommand::ActivateEnrollment(_) => happened_all(Vec::new()),
            EnrollmentCommand::CancelEnrollment(ask) => match ask.reason.as_str() {
                "refused" => Err(Rejection::with(ODD_REFUSED, "as asked")),
                "unclosed" => happened(opened(id, LEARNER)),
                "already-unclosed" => already(opened(id, LEARNER)),
                reason => happened(canceled(id, reason)),
            },
        }
    }

    fn evolve(story: &mut Entity<Self>, event: &EnrollmentEvent) {
        story.text = match event {
            EnrollmentEvent::EnrollmentOpened(_) => "opened".to_owned(),
            EnrollmentEvent::EnrollmentCanceled(event) if event.reason == "large" => "x".repeat(70_000),
            EnrollmentEvent::EnrollmentCanceled(event) if event.reason == "stuck" => "stuck".to_owned(),
            // Being stuck is not cured by completing.
            _ if story.text == "stuck" => return,
            _ => "ended".to_owned(),
        };
    }

    fn due(key: Uuid, story: &Story) -> Option<(Timestamp, EnrollmentCommand)> {
        let complete = CompleteEnrollment { enrollment_id: EnrollmentId::new(key), completed_at: TIMER_AT };
        matches!(story.text.as_str(), "opened" | "stuck").then(|| (TIMER_AT, complete.into()))
    }
}

/// Completes only after something was done outside.
pub struct ByHand;

impl Aggregate for ByHand {
    const NAME: &'static str = "odd-by-hand";
    type Command = EnrollmentCommand;
    type Event = EnrollmentEvent;
    type State = ();
    type Part = ();

    fn decide(entity: &Entity<Self>, command: EnrollmentCommand, _cx: &Context) -> Decided {
        let intent = || opened(EnrollmentId::new(entity.key()), LEARNER).into();
        match command {
            EnrollmentCommand::CancelEnrollment(_) => happened_all(vec![intent(), intent()]),
            _ => happened_all(vec![intent()]),
        }
    }

    fn evolve(_entity: &mut Entity<Self>, _event: &EnrollmentEvent) {}
}

impl Acts for ByHand {
    type Request = String;
    type Answer = String;

    const EFFECTS: EffectPolicy = EffectPolicy {
        provider: Provider { name: "nobody", down: &[] },
        detached: false,
        key_lifetime_ms: 0,
        has_lookup: false,
        settle_ms: 0,
        on_unknown: OnUnknown::NeedsAttention,
        attempts_max: 1,
        backoff_min_ms: 1,
        backoff_max_ms: 1,
        concurrency: 1,
        call_timeout_ms: 1,
    };

    fn request(event: &EnrollmentEvent) -> Option<String> {
        matches!(event, EnrollmentEvent::EnrollmentOpened(_)).then(|| "do it".to_owned())
    }

    fn conclude(
        entity: &Entity<Self>,
        _request: String,
        conclusion: Conclusion<String>,
        _cx: &Context,
    ) -> Vec<EnrollmentEvent> {
        let id = EnrollmentId::new(entity.key());
        match conclusion {
            Conclusion::Answered(_) => vec![completed(id).into()],
            Conclusion::GaveUp { code } => vec![canceled(id, &code).into()],
        }
    }

    fn refusal(event: &EnrollmentEvent) -> Option<Code> {
        matches!(event, EnrollmentEvent::EnrollmentCanceled(_)).then_some(ODD_REFUSED)
    }
}

/// Does nothing.
pub struct Nobody;

impl Perform<ByHand> for Nobody {
    async fn perform(&self, _request: &String, _key: &str) -> Attempt<String> {
        Attempt::Refused { code: "nobody" }
    }

    async fn look_up(&self, _request: &String, _key: &str) -> Attempt<String> {
        Attempt::NotFound
    }
}

/// Asks for two completions of whatever is opened.
pub struct Reminding;

impl Policy for Reminding {
    const NAME: &'static str = "odd-reminding";
    type Event = EnrollmentEvent;
    const OUTPUTS: &'static [&'static str] = &["learning.enrollment.commands.v1"];

    fn react(event: &EnrollmentEvent, meta: &Meta<'_>) -> Vec<Ask> {
        let EnrollmentEvent::EnrollmentOpened(opened) = event else { return Vec::new() };
        let complete = CompleteEnrollment { enrollment_id: opened.enrollment_id, completed_at: meta.time };
        vec![Ask::of(&complete), Ask::of(&complete)]
    }
}

/// A row per enrollment, and one per learner, whom several enrollments write.
pub struct Rounds;

#[derive(Serialize)]
struct RoundRow {
    enrollment_id: Uuid,
    learner_id: PersonId,
}

impl Row for RoundRow {
    const TABLE: &'static str = "odd_round";
    type Kind = Owned;

    fn columns() -> Columns<Owned> {
        Columns::key("enrollment_id", "uuid").set("learner_id", "uuid")
    }
}

#[derive(Serialize)]
struct LearnerRow {
    learner_id: PersonId,
    enrollments: i64,
}

impl Row for LearnerRow {
    const TABLE: &'static str = "odd_learner";
    type Kind = Merged;

    fn columns() -> Columns<Merged> {
        Columns::key("learner_id", "uuid").add("enrollments", "bigint")
    }
}

impl Projection for Rounds {
    const NAME: &'static str = "odd-rounds";
    type Event = EnrollmentEvent;

    fn tables() -> Vec<TableOf> {
        vec![TableOf::rows::<RoundRow>(), TableOf::rows::<LearnerRow>()]
    }

    fn project(event: &EnrollmentEvent, meta: &Meta<'_>) -> Vec<Change> {
        let EnrollmentEvent::EnrollmentOpened(opened) = event else { return Vec::new() };
        let learner_id = opened.learner_id;
        let enrollment_id = if learner_id == SHARED { SHARED.uuid() } else { meta.key };
        vec![put(&RoundRow { enrollment_id, learner_id }), put(&LearnerRow { learner_id, enrollments: 1 })]
    }
}
