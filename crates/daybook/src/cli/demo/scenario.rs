//! Who enrolls in what, and with which card. Pure: the same ids give the same day.

use serde_json::{Value, json};
use uuid::Uuid;

const CURRENCY: &str = "USD";
/// One seat for so many of those who want one in the course with few seats.
const WANTED_PER_SEAT: usize = 3;
const SEATS_MIN: usize = 2;
/// One in so many of those who got in and paid leaves again.
const LEAVES_ONE_IN: usize = 10;

/// What is special about how a learner enrolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In a course that costs nothing.
    Free,
    /// With a good card.
    Paid,
    /// With a card that is declined.
    Declined,
    /// In a course with fewer seats than are wanted.
    FewSeats,
    /// With a good card, while the payment provider misbehaves.
    Faulty,
}

/// Twenty learners, again and again.
#[rustfmt::skip]
const DAY: [(Kind, &str); 20] = [
    (Kind::Paid, "pm_card_visa"),
    (Kind::Free, ""),
    (Kind::FewSeats, "pm_card_mastercard"),
    (Kind::Paid, "pm_card_visa"),
    (Kind::Faulty, "pm_card_visa__drop-answer"),
    (Kind::Declined, "pm_card_visa_chargeDeclined"),
    (Kind::Paid, "pm_card_amex"),
    (Kind::FewSeats, "pm_card_visa"),
    (Kind::Free, ""),
    (Kind::Faulty, "pm_card_visa__fail"),
    (Kind::Paid, "pm_card_visa"),
    (Kind::FewSeats, "pm_card_visa"),
    (Kind::Declined, "pm_card_visa_chargeDeclinedInsufficientFunds"),
    (Kind::Free, ""),
    (Kind::Faulty, "pm_card_visa__capture.drop-answer"),
    (Kind::Paid, "pm_card_discover"),
    (Kind::Free, ""),
    (Kind::Faulty, "pm_card_visa__webhook-early__capture.webhook-twice"),
    (Kind::Paid, "pm_card_visa"),
    (Kind::Faulty, "pm_card_visa__webhook-only__capture.slow:800"),
];

/// What must become of a flow, whatever fails in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    Enrolled,
    /// Not enrolled: the card is declined.
    NotEnrolled,
    /// Enrolled, or not because the course is full.
    SeatOrFull,
}

#[derive(Debug)]
pub struct Organization {
    pub organization_id: Uuid,
    name: &'static str,
}

#[derive(Debug)]
pub struct Course {
    pub course_id: Uuid,
    pub organization_id: Uuid,
    pub title: &'static str,
    pub price_minor: i64,
    /// None: unlimited.
    pub capacity: Option<usize>,
}

#[derive(Debug)]
pub struct Learner {
    pub person_id: Uuid,
    number: usize,
    pub kind: Kind,
    card: &'static str,
    /// Place of the course in the scenario.
    pub course: usize,
}

/// Everybody and everything that takes part.
#[derive(Debug)]
pub struct Scenario {
    pub organizations: Vec<Organization>,
    pub courses: Vec<Course>,
    pub learners: Vec<Learner>,
}

impl Scenario {
    pub fn new(learners: usize, mut id: impl FnMut() -> Uuid) -> Self {
        let organizations = vec![
            Organization { organization_id: id(), name: "Northside Medical Academy" },
            Organization { organization_id: id(), name: "Harbor Institute of Nursing" },
        ];
        let [first, second] = [organizations[0].organization_id, organizations[1].organization_id];
        let wanting = (0..learners).filter(|number| DAY[number % DAY.len()].0 == Kind::FewSeats).count();
        let seats = (wanting / WANTED_PER_SEAT).max(SEATS_MIN);
        let mut course = |organization_id, title, price_minor, capacity| Course {
            course_id: id(),
            organization_id,
            title,
            price_minor,
            capacity,
        };
        let courses = vec![
            course(first, "Hand hygiene, refreshed", 0, None),
            course(first, "Sepsis: the first hour", 12_000, None),
            course(second, "Wound care in practice", 4_900, None),
            course(second, "Ultrasound at the bedside, in person", 24_500, Some(seats)),
        ];
        let learner = |number: usize| {
            let (kind, card) = DAY[number % DAY.len()];
            Learner { person_id: id(), number, kind, card, course: kind.course(number) }
        };
        let learners = (0..learners).map(learner).collect();
        Self { organizations, courses, learners }
    }

    /// Those who leave again, out of those who paid and got in.
    pub fn leaving(&self, got_in: impl Fn(&Learner) -> bool) -> Vec<&Learner> {
        let paid = self.learners.iter().filter(|learner| learner.kind != Kind::Free && got_in(learner));
        paid.step_by(LEAVES_ONE_IN).collect()
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Free => "free course",
            Kind::Paid => "good card",
            Kind::Declined => "declined card",
            Kind::FewSeats => "few seats",
            Kind::Faulty => "provider faults",
        }
    }

    /// Place of the course in the scenario's list.
    fn course(self, number: usize) -> usize {
        match self {
            Kind::Free => 0,
            Kind::FewSeats => 3,
            Kind::Paid | Kind::Declined | Kind::Faulty => 1 + number % 2,
        }
    }
}

impl Organization {
    pub fn body(&self) -> Value {
        json!({
            "organization_id": self.organization_id,
            "name": self.name,
            "country": "US",
            "currency": CURRENCY,
            "time_zone": "America/New_York",
        })
    }
}

impl Course {
    fn price(&self) -> Value {
        json!({ "amount_minor": self.price_minor, "currency": CURRENCY })
    }

    pub fn body(&self) -> Value {
        json!({
            "course_id": self.course_id,
            "organization_id": self.organization_id,
            "title": self.title,
            "summary": "A course of the demo.",
            "price": self.price(),
            "capacity": self.capacity,
            "credits_hundredths": 150,
            "credit_type": "ama-pra-1",
            "refund_days": 14,
            "lessons": [],
        })
    }
}

impl Learner {
    pub fn body(&self) -> Value {
        json!({
            "person_id": self.person_id,
            "name": format!("Learner {}", self.number),
            "email": format!("learner-{}@example.org", self.number),
            "language": "en-US",
            "time_zone": "America/New_York",
            "roles": ["learner"],
        })
    }

    pub fn enrollment_body(&self, course: &Course) -> Value {
        let card = Some(self.card).filter(|card| !card.is_empty());
        json!({ "course_id": course.course_id, "payment_token": card, "expected_price": course.price() })
    }

    pub fn expectation(&self, course: &Course) -> Expectation {
        match self.kind {
            Kind::Declined => Expectation::NotEnrolled,
            _ if course.capacity.is_some() => Expectation::SeatOrFull,
            _ => Expectation::Enrolled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(learners: usize) -> Scenario {
        let mut next = 0;
        Scenario::new(learners, || {
            next += 1;
            Uuid::from_u128(next)
        })
    }

    #[test]
    fn a_day_has_everything_and_more_who_want_a_seat_than_seats() {
        let scenario = scenario(40);
        let of_kind = |kind| scenario.learners.iter().filter(|learner| learner.kind == kind).count();
        for kind in [Kind::Free, Kind::Paid, Kind::Declined, Kind::FewSeats, Kind::Faulty] {
            assert!(of_kind(kind) > 0, "{kind:?}");
        }
        let full = scenario.courses.iter().find_map(|course| course.capacity).unwrap();
        assert!(full < of_kind(Kind::FewSeats));
    }

    #[test]
    fn who_pays_nothing_needs_no_card_and_leaves_nothing_to_pay_back() {
        let scenario = scenario(40);
        let free = scenario.learners.iter().find(|learner| learner.kind == Kind::Free).unwrap();
        assert_eq!(free.enrollment_body(&scenario.courses[free.course])["payment_token"], Value::Null);
        assert_eq!(scenario.courses[free.course].price_minor, 0);
        assert!(scenario.leaving(|_| true).iter().all(|learner| learner.kind != Kind::Free));
        assert!(!scenario.leaving(|_| true).is_empty());
    }
}
