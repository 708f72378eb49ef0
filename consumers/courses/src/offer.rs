//! What a course offers: the terms that seats are reserved under, and when they make sense.

use daybook_consumer::{Rejection, ensure};
use daybook_events::{
    CoursePublished, CourseRevised, Lesson, Money, OrganizationId, PublishCourse, RevisePublishedCourse, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::codes::OFFER_INVALID;

const TITLE_MAX_CHARS: usize = 200;
const SUMMARY_MAX_CHARS: usize = 4_000;
const CREDIT_TYPE_MAX_CHARS: usize = 64;
const LESSONS_MAX: usize = 200;
const PRICE_MAX_MINOR: i64 = 99_999_999;
const CREDITS_MAX_HUNDREDTHS: i64 = 100_000;
const REFUND_MAX_DAYS: i32 = 365;
const FIRST_REVISION: i64 = 1;

/// The current revision, as far as seats need it. Title, summary and lessons are in the events only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    pub organization_id: OrganizationId,
    pub revision: i64,
    pub price: Money,
    /// `None`: unlimited.
    pub capacity: Option<i64>,
    pub credits_hundredths: i64,
    pub credit_type: String,
    pub refund_days: i32,
    pub available_from: Option<Timestamp>,
    pub available_until: Option<Timestamp>,
}

impl Offer {
    pub(crate) fn published(event: &CoursePublished) -> Self {
        Self {
            organization_id: event.organization_id,
            revision: event.revision,
            price: event.price,
            capacity: event.capacity,
            credits_hundredths: event.credits_hundredths,
            credit_type: event.credit_type.clone(),
            refund_days: event.refund_days,
            available_from: event.available_from,
            available_until: event.available_until,
        }
    }

    pub(crate) fn revised(event: &CourseRevised) -> Self {
        Self {
            organization_id: event.organization_id,
            revision: event.revision,
            price: event.price,
            capacity: event.capacity,
            credits_hundredths: event.credits_hundredths,
            credit_type: event.credit_type.clone(),
            refund_days: event.refund_days,
            available_from: event.available_from,
            available_until: event.available_until,
        }
    }

    pub(crate) fn is_available(&self, now: Timestamp) -> bool {
        self.available_from.is_none_or(|from| from <= now) && self.available_until.is_none_or(|until| now < until)
    }
}

pub(crate) fn publish(ask: PublishCourse) -> CoursePublished {
    CoursePublished {
        course_id: ask.course_id,
        organization_id: ask.organization_id,
        revision: FIRST_REVISION,
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

pub(crate) fn revise(ask: RevisePublishedCourse, current: &Offer) -> CourseRevised {
    CourseRevised {
        course_id: ask.course_id,
        organization_id: current.organization_id,
        revision: current.revision + 1,
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

pub(crate) fn check_published(ask: &PublishCourse) -> Result<(), Rejection> {
    check(&Proposal {
        title: &ask.title,
        summary: &ask.summary,
        price: ask.price,
        capacity: ask.capacity,
        credits_hundredths: ask.credits_hundredths,
        credit_type: &ask.credit_type,
        refund_days: ask.refund_days,
        lessons: &ask.lessons,
        available: (ask.available_from, ask.available_until),
    })
}

pub(crate) fn check_revised(ask: &RevisePublishedCourse) -> Result<(), Rejection> {
    check(&Proposal {
        title: &ask.title,
        summary: &ask.summary,
        price: ask.price,
        capacity: ask.capacity,
        credits_hundredths: ask.credits_hundredths,
        credit_type: &ask.credit_type,
        refund_days: ask.refund_days,
        lessons: &ask.lessons,
        available: (ask.available_from, ask.available_until),
    })
}

/// What publishing and revising have in common.
struct Proposal<'a> {
    title: &'a str,
    summary: &'a str,
    price: Money,
    capacity: Option<i64>,
    credits_hundredths: i64,
    credit_type: &'a str,
    refund_days: i32,
    lessons: &'a [Lesson],
    available: (Option<Timestamp>, Option<Timestamp>),
}

fn check(offer: &Proposal<'_>) -> Result<(), Rejection> {
    ensure!(is_text(offer.title, TITLE_MAX_CHARS), OFFER_INVALID, "title");
    ensure!(is_text(offer.summary, SUMMARY_MAX_CHARS), OFFER_INVALID, "summary");
    ensure!((0..=PRICE_MAX_MINOR).contains(&offer.price.amount_minor), OFFER_INVALID, "price");
    ensure!(offer.capacity.is_none_or(|capacity| capacity >= 1), OFFER_INVALID, "capacity");
    let credits = 0..=CREDITS_MAX_HUNDREDTHS;
    ensure!(credits.contains(&offer.credits_hundredths), OFFER_INVALID, "credits_hundredths");
    ensure!(is_text(offer.credit_type, CREDIT_TYPE_MAX_CHARS), OFFER_INVALID, "credit_type");
    ensure!((0..=REFUND_MAX_DAYS).contains(&offer.refund_days), OFFER_INVALID, "refund_days");
    ensure!(offer.lessons.len() <= LESSONS_MAX, OFFER_INVALID, "lessons");
    for lesson in offer.lessons {
        ensure!(is_text(&lesson.title, TITLE_MAX_CHARS), OFFER_INVALID, "title of a lesson");
        let is_score = lesson.pass_score_percent.is_none_or(|score| (0..=100).contains(&score));
        ensure!(is_score, OFFER_INVALID, "pass_score_percent of a lesson");
    }
    let is_ordered = match offer.available {
        (Some(from), Some(until)) => from < until,
        _ => true,
    };
    ensure!(is_ordered, OFFER_INVALID, "available_until");
    Ok(())
}

/// Something to read, not too long, and nothing that a page or a database would choke on.
fn is_text(text: &str, max_chars: usize) -> bool {
    let is_readable = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    !text.trim().is_empty() && text.chars().count() <= max_chars && text.chars().all(is_readable)
}
