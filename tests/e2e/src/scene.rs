//! People and courses for a test, told apart from those of other tests by their ids.

use anyhow::Result;
use daybook_events::{CourseId, EnrollmentId, Money, PaymentId, PersonId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Platform;
use crate::api::{Api, Ask, Claims};

const STAFF_SCOPES: &str = "organizations:write people:write courses:write payments:refund finance:read";
const LEARNER_SCOPES: &str = "enrollments:write enrollments:read payments:read profile:write";

/// What a course costs and allows.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub price: Money,
    pub capacity: Option<i64>,
    pub refund_days: i32,
}

impl Offer {
    /// Without a bound on seats, and with two weeks to think it over.
    pub fn at(price: Money) -> Self {
        Self { price, capacity: None, refund_days: 14 }
    }
}

/// An organization with its staff.
pub struct Scene<'p> {
    pub platform: &'p Platform,
    pub organization: Uuid,
    pub staff: Api,
}

/// Somebody who learns.
pub struct Learner {
    pub id: Uuid,
    pub name: String,
    pub email: String,
    pub api: Api,
}

impl<'p> Scene<'p> {
    /// Registers an organization.
    ///
    /// # Errors
    /// When the platform does not accept it.
    pub fn new(platform: &'p Platform) -> Result<Self> {
        let organization = Uuid::new_v4();
        let claims = Claims { organization: Some(organization), ..Claims::of(Uuid::new_v4(), STAFF_SCOPES) };
        let staff = platform.api(&claims);
        let body = json!({
            "organization_id": organization, "name": "Riverside Training", "country": "US", "currency": "USD",
            "time_zone": "America/New_York",
        });
        staff.succeed(Ask::post("/organizations", body))?;
        Ok(Self { platform, organization, staff })
    }

    /// The body of a course's publication.
    pub fn course_body(&self, course_id: Uuid, offer: &Offer) -> Value {
        let mut body = json!({
            "course_id": course_id, "title": "Wound care", "summary": "How wounds heal, and how to help them.",
            "price": money(offer.price), "credits_hundredths": 150, "credit_type": "ama-pra-1",
            "refund_days": offer.refund_days,
            "lessons": [{ "lesson_id": Uuid::new_v4(), "title": "Dressings", "kind": "video" }],
        });
        if let Some(capacity) = offer.capacity {
            body["capacity"] = json!(capacity);
        }
        body
    }

    /// Publishes a course.
    ///
    /// # Errors
    /// When the platform does not accept it.
    pub fn course(&self, offer: &Offer) -> Result<Uuid> {
        let course_id = Uuid::new_v4();
        self.staff.succeed(Ask::post("/courses", self.course_body(course_id, offer)))?;
        Ok(course_id)
    }

    /// Somebody whom nobody knows yet.
    pub fn stranger(&self) -> Learner {
        let id = Uuid::new_v4();
        let tag = tag();
        Learner {
            id,
            name: format!("Zebulon Quarterm{tag}"),
            email: format!("{tag}@learners.example"),
            api: self.platform.api(&Claims::of(id, LEARNER_SCOPES)),
        }
    }

    /// Registers a learner.
    ///
    /// # Errors
    /// When the platform does not accept it.
    pub fn learner(&self) -> Result<Learner> {
        let learner = self.stranger();
        let body = json!({
            "person_id": learner.id, "name": learner.name, "email": learner.email, "language": "en-US",
            "time_zone": "America/New_York", "roles": ["learner"],
        });
        self.staff.succeed(Ask::post("/people", body))?;
        Ok(learner)
    }
}

/// Letters that nobody else has. Not an id in another form: that stands everywhere. No digits: many in a row may be taken for a card's
/// number.
pub fn tag() -> String {
    let letters = ('g'..='z').collect::<Vec<_>>();
    Uuid::new_v4().as_bytes().iter().map(|byte| letters[usize::from(*byte) % letters.len()]).collect()
}

impl Learner {
    /// Asks to be enrolled.
    pub fn enrollment(&self, course: Uuid, price: Money, card: Option<&str>) -> Ask {
        let mut body = json!({ "course_id": course, "expected_price": money(price) });
        if let Some(card) = card {
            body["payment_token"] = json!(card);
        }
        Ask::post("/enrollments", body)
    }

    /// Enrolls, and waits for what comes of it. Answers the operation.
    ///
    /// # Errors
    /// When nothing comes of it.
    pub fn enroll(&self, course: Uuid, price: Money, card: Option<&str>) -> Result<Value> {
        self.api.close(self.enrollment(course, price, card))
    }

    /// Leaves a course, and waits for what comes of it. Answers the operation.
    ///
    /// # Errors
    /// When nothing comes of it.
    pub fn withdraw(&self, course: Uuid) -> Result<Value> {
        let path = format!("/enrollments/{}/withdrawal", self.enrollment_id(course));
        self.api.close(Ask::post(path, json!({ "course_id": course, "reason": "no-time" })))
    }

    pub fn enrollment_id(&self, course: Uuid) -> Uuid {
        EnrollmentId::of(PersonId::new(self.id), CourseId::new(course)).uuid()
    }

    /// The payment of the first round.
    pub fn payment_id(&self, course: Uuid) -> Uuid {
        PaymentId::of(EnrollmentId::new(self.enrollment_id(course)), 1).uuid()
    }
}

fn money(money: Money) -> Value {
    json!({ "amount_minor": money.amount_minor, "currency": money.currency.to_string() })
}
