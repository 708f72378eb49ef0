//! The flows of a run: courses are published, learners enroll, some leave again.

use std::sync::Arc;

use bytes::Bytes;
use daybook_engine::{Context, Fault, Input, Leaf, Output, Participant, Row, Rows, Spec};
use daybook_events::{
    Actor, CourseId, CoursePublished, Currency, EnrollLearner, EnrollmentId, Header, Message, Money, OrganizationId,
    PersonId, PublishCourse, ReplyTo, Schemas, StaticSchemas, Timestamp, WithdrawCourse, WithdrawLearner, encode,
    frame, key,
};
use daybook_saga::{Flaw, SagaData, Versions};
use uuid::Uuid;

use crate::book::BookRecord;
use crate::operator::without_reply;
use crate::provider::{DECLINED_CARD, Simulated};
use crate::rng::Rng;
use crate::teeth::LeftOut;
use crate::world::World;

/// Where the replies to commands from outside go.
const REPLIES: &str = "operations.operation.inbox.v1";
const COURSES: usize = 6;
/// Mean time between two flows, in ms.
pub(crate) const PACE_MS: i64 = 150;
const LEARNERS: u128 = 1 << 20;

/// The leaves under test, as they run in production; but for the lifetime that the adapter declares for the provider's
/// keys, and a rule that a saga may be made to leave out.
pub(crate) fn leaves(key_lifetime_ms: i64, left_out: Option<LeftOut>) -> Vec<Arc<dyn Leaf>> {
    let declared_ms = if left_out == Some(LeftOut::KeyLifetime) { i64::MAX } else { key_lifetime_ms };
    let parts = courses::parts()
        .into_iter()
        .chain(enrollments::parts())
        .chain(payments::parts(Simulated))
        .chain(ledger::parts())
        .chain(notifications::parts(Simulated));
    let parts = parts.map(|part| match part.leaf.spec().name {
        "payments" => Declaring::key_lifetime(part.leaf, declared_ms),
        _ => part.leaf,
    });
    let flaw = left_out.and_then(LeftOut::of_saga);
    let sagas: [Arc<dyn Leaf>; 3] =
        [saga(enrollment_saga::saga(), flaw), saga(payment_saga::saga(), flaw), saga(withdrawal_saga::saga(), flaw)];
    parts.chain(sagas).collect()
}

fn saga<D: SagaData>(versions: Versions<D>, flaw: Option<Flaw>) -> Arc<dyn Leaf> {
    match flaw {
        Some(flaw) => Arc::new(versions.flawed(flaw)),
        None => Arc::new(versions),
    }
}

/// A leaf whose adapter declares something else of the world behind it.
struct Declaring {
    leaf: Arc<dyn Leaf>,
    spec: Spec,
}

impl Declaring {
    fn key_lifetime(leaf: Arc<dyn Leaf>, key_lifetime_ms: i64) -> Arc<dyn Leaf> {
        let mut spec = leaf.spec().clone();
        if let Some(policy) = &mut spec.effects {
            policy.key_lifetime_ms = key_lifetime_ms;
        }
        Arc::new(Self { leaf, spec })
    }
}

impl Leaf for Declaring {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn parts(&self, input: &Input<'_>, parts: &mut Vec<Uuid>) {
        self.leaf.parts(input, parts);
    }

    fn handle(&self, input: &Input<'_>, rows: &mut Rows<'_>, cx: &Context, out: &mut Output) -> Result<(), Fault> {
        self.leaf.handle(input, rows, cx, out)
    }

    fn awaits(&self, row: &Row) -> Option<Participant> {
        self.leaf.awaits(row)
    }
}

struct Offer {
    course_id: CourseId,
    organization_id: OrganizationId,
    price: Money,
}

/// Plans everything that the people outside will ask for.
pub fn plan(world: &mut World, flows: usize) {
    let mut rng = Rng::new(world.rng.next());
    let offers: Vec<Offer> = (0..COURSES).map(|index| publish_course(world, &mut rng, index, flows)).collect();
    let span_ms = i64::try_from(flows).unwrap_or(i64::MAX).saturating_mul(PACE_MS);
    for flow in 0..flows {
        let after_ms = 2_000 + rng.between(0, span_ms);
        let Some(offer) = rng.pick(&offers) else { return };
        let learner_id = PersonId::from_u128(LEARNERS + flow as u128 / 2);
        enroll(world, &mut rng, offer, learner_id, after_ms);
        if rng.chance(150_000) {
            let later_ms = after_ms + rng.between(10, 60_000);
            withdraw(world, &mut rng, offer, learner_id, later_ms);
        }
        if rng.chance(world.faults.nonsense) {
            nonsense(world, &mut rng, &offers, after_ms);
            unstorable_event(world, &mut rng, offer, after_ms);
        }
    }
}

/// What nobody should have sent: to be kept, to stop nothing, and to be answered if it asked.
fn nonsense(world: &mut World, rng: &mut Rng, offers: &[Offer], after_ms: i64) {
    let inputs: Vec<&'static str> = world.leaves().iter().map(|leaf| leaf.spec().input).collect();
    let (Some(&topic), Some(offer)) = (rng.pick(&inputs), rng.pick(offers)) else { return };
    let learner_id = PersonId::from_u128(LEARNERS + u128::from(rng.below(8)));
    let entity = match rng.below(3) {
        0 => offer.course_id.uuid(),
        1 => EnrollmentId::of(learner_id, offer.course_id).uuid(),
        _ => rng.uuid(),
    };
    let command = WithdrawCourse { course_id: CourseId::new(entity), reason: "nonsense".to_owned() };
    let mut record = record_of(&command, rng.uuid(), rng.uuid(), rng.uuid(), world.now);
    record.key = Some(Bytes::copy_from_slice(&key::of(entity)));
    if topic.contains(".events.") {
        // Nobody who only listens is asked for a reply.
        record.header = without_reply(record.header);
    }
    match rng.below(5) {
        0 => record.header = None,
        1 => record.value = None,
        2 => record.value = Some(Bytes::from_static(b"\x00\x7f\xff\xff\xffwho wrote this")),
        3 => record.value = record.value.map(|value| value.slice(..value.len() - 3)),
        _ => record.key = Some(Bytes::from_static(b"\xff\xfe no id")),
    }
    world.tally.count("nonsense");
    world.publish_after(after_ms, topic.to_owned(), record);
}

/// An event of nobody's making, whose title Postgres will not store in the catalog.
fn unstorable_event(world: &mut World, rng: &mut Rng, offer: &Offer, after_ms: i64) {
    let event = CoursePublished {
        course_id: CourseId::new(rng.uuid()),
        organization_id: offer.organization_id,
        revision: 1,
        title: "Nul \0".to_owned(),
        summary: String::new(),
        price: offer.price,
        capacity: None,
        credits_hundredths: 100,
        credit_type: "cme".to_owned(),
        refund_days: 0,
        lessons: Vec::new(),
        available_from: None,
        available_until: None,
    };
    let mut record = record_of(&event, rng.uuid(), rng.uuid(), rng.uuid(), world.now);
    record.header = without_reply(record.header);
    world.tally.count("unstorable");
    world.publish_after(after_ms, CoursePublished::TOPIC.to_owned(), record);
}

fn publish_course(world: &mut World, rng: &mut Rng, index: usize, flows: usize) -> Offer {
    let course_id = CourseId::from_u128(1_000 + index as u128);
    let organization_id = OrganizationId::from_u128(10 + index as u128 % 2);
    let price = Money::new(if index % 2 == 0 { 0 } else { 12_500 }, Currency::USD);
    let capacity = match index % 3 {
        0 => None,
        1 => Some(i64::try_from(flows / (2 * COURSES)).unwrap_or(1).max(1)),
        _ => Some(i64::try_from(flows).unwrap_or(1)),
    };
    let command = course(course_id, organization_id, format!("Course {index}"), price, capacity);
    command_from_outside(world, rng, &command, organization_id.uuid(), organization_id.uuid(), 0);
    Offer { course_id, organization_id, price }
}

fn course(
    course_id: CourseId,
    organization_id: OrganizationId,
    title: String,
    price: Money,
    capacity: Option<i64>,
) -> PublishCourse {
    PublishCourse {
        course_id,
        organization_id,
        title,
        summary: "A course".to_owned(),
        price,
        capacity,
        credits_hundredths: 150,
        credit_type: "cme".to_owned(),
        refund_days: 14,
        lessons: Vec::new(),
        available_from: None,
        available_until: None,
    }
}

fn enroll(world: &mut World, rng: &mut Rng, offer: &Offer, learner_id: PersonId, after_ms: i64) {
    let command = EnrollLearner {
        enrollment_id: EnrollmentId::of(learner_id, offer.course_id),
        learner_id,
        course_id: offer.course_id,
        payment_token: offer.price.is_positive().then(|| card(rng).to_owned()),
        expected_price: offer.price,
    };
    command_from_outside(world, rng, &command, learner_id.uuid(), offer.organization_id.uuid(), after_ms);
}

fn card(rng: &mut Rng) -> &'static str {
    if rng.chance(200_000) { DECLINED_CARD } else { "pm_card_visa" }
}

/// Some change their mind, some of them too early.
fn withdraw(world: &mut World, rng: &mut Rng, offer: &Offer, learner_id: PersonId, after_ms: i64) {
    let enrollment_id = EnrollmentId::of(learner_id, offer.course_id);
    let command = WithdrawLearner { enrollment_id, reason: "changed-mind".to_owned() };
    command_from_outside(world, rng, &command, learner_id.uuid(), offer.organization_id.uuid(), after_ms);
}

/// What the façade does: an id that is the same for the same request, a reply asked for. Some callers ask again.
fn command_from_outside<C: Message>(
    world: &mut World,
    rng: &mut Rng,
    command: &C,
    actor_id: Uuid,
    tenant: Uuid,
    after_ms: i64,
) {
    let id = rng.uuid();
    let record = record_of(command, id, actor_id, tenant, world.now);
    let topic = C::TOPIC.to_owned();
    if rng.chance(world.faults.command_repeated) {
        world.tally.count("command repeated");
        world.publish_after(after_ms + rng.between(1, 30_000), topic.clone(), record.clone());
    }
    world.publish_after(after_ms, topic, record);
}

pub(crate) fn record_of<C: Message>(command: &C, id: Uuid, actor_id: Uuid, tenant: Uuid, now: Timestamp) -> BookRecord {
    let header = Header {
        message_id: id,
        shard: None,
        correlation_id: id,
        causation_id: None,
        time: now,
        actor: Some(Actor { id: actor_id, scopes: "courses:write enrollments:write".into() }),
        tenant: Some(tenant),
        reply_to: Some(ReplyTo { topic: REPLIES.into(), key: id }),
        reply_for: None,
        trace: None,
        request_hash: Some([7; 32]),
    };
    let mut header_bytes = Vec::new();
    header.encode(&mut header_bytes).expect("its texts are short");
    let mut value = Vec::new();
    frame(StaticSchemas.id_of(C::FULL_NAME).expect("a type of this build"), &mut value);
    encode(command, &mut value).expect("it fits its schema");
    BookRecord {
        time: now,
        key: Some(Bytes::copy_from_slice(&key::of(command.key()))),
        header: Some(header_bytes.into()),
        value: Some(value.into()),
    }
}
