//! Very many paid enrollments, none of which was asked for before.

use anyhow::Result;
use daybook_service::ids;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use uuid::Uuid;

use super::staff::{Staff, price};

/// Learners; they have not registered, so that no mail is sent: the mail server of a local stack is a stub.
const LEARNERS: u64 = 1_000;
/// Organizations; each has its journal in the ledger.
const ORGANIZATIONS: usize = 16;
/// Courses at the least, so that none of them is hot.
const COURSES_MIN: u64 = 200;
/// Requests at once while courses are published.
const AT_ONCE: usize = 16;

/// Pairs of learner and course.
pub(super) struct Crowd {
    staff: Staff,
    organizations: Vec<Uuid>,
    learners: Vec<Uuid>,
    courses: Vec<Uuid>,
    taken: u64,
}

impl Crowd {
    /// # Errors
    /// When the API refuses.
    pub(super) async fn new(staff: Staff) -> Result<Self> {
        let made = stream::iter(0..ORGANIZATIONS).map(|_| staff.organization());
        let organizations = made.buffer_unordered(AT_ONCE).try_collect().await?;
        let learners = (0..LEARNERS).map(|_| ids::random()).collect();
        Ok(Self { staff, organizations, learners, courses: Vec::new(), taken: 0 })
    }

    /// Publishes new courses, enough for so many enrollments.
    ///
    /// # Errors
    /// When the API refuses.
    pub(super) async fn provide(&mut self, enrollments: u64) -> Result<()> {
        let wanted = usize::try_from((enrollments / LEARNERS + 1).max(COURSES_MIN))?;
        let organizations = self.organizations.iter().cycle().take(wanted);
        let published = stream::iter(organizations).map(|organization| self.staff.course(*organization));
        self.courses = published.buffer_unordered(AT_ONCE).try_collect().await?;
        self.taken = 0;
        Ok(())
    }

    /// The next request: every learner takes a course, each another one, then every learner the next.
    ///
    /// # Errors
    /// When more are wanted than were provided for.
    pub(super) fn next(&mut self) -> Result<String> {
        let (round, place) = (self.taken / LEARNERS, self.taken % LEARNERS);
        let courses = self.courses.len() as u64;
        anyhow::ensure!(round < courses, "more enrollments than were provided for: {}", self.taken);
        self.taken += 1;
        let body = json!({
            "learner_id": self.learners[usize::try_from(place)?],
            "course_id": self.courses[usize::try_from((round + place) % courses)?],
            "payment_token": "pm_card_visa",
            "expected_price": price(),
        });
        Ok(body.to_string())
    }
}
