//! Given what happened, when asked, then what happens.

use courses::codes::*;
use courses::{CourseCatalog, Courses, Seat};
use daybook_consumer::testing::{Bench, Given, given, shuffle_proof};
use daybook_consumer::{ANY_ORGANIZATION, Part};
use daybook_events::{
    ConfirmSeat, CourseEvent, CourseId, CoursePublished, CourseRevised, CourseWithdrawn, Currency, EnrollmentId,
    Lesson, LessonId, Money, OrganizationId, PersonId, PublishCourse, Rejected, ReleaseSeat, ReserveSeat,
    RevisePublishedCourse, SeatConfirmed, SeatReleased, SeatReserved, Timestamp, WithdrawCourse,
};

const COURSE: CourseId = CourseId::from_u128(1);
const ORGANIZATION: OrganizationId = OrganizationId::from_u128(2);
const PRICE: Money = Money::new(12_500, Currency::USD);
const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
const HOLD_SECONDS: i64 = 1_800;

fn lesson() -> Lesson {
    Lesson {
        lesson_id: LessonId::from_u128(7),
        title: "Handoffs".to_owned(),
        kind: "quiz".to_owned(),
        pass_score_percent: Some(80),
    }
}

fn publish() -> PublishCourse {
    PublishCourse {
        course_id: COURSE,
        organization_id: ORGANIZATION,
        title: "Safer handoffs".to_owned(),
        summary: "How a patient changes hands.".to_owned(),
        price: PRICE,
        capacity: Some(2),
        credits_hundredths: 150,
        credit_type: "ama-pra-1".to_owned(),
        refund_days: 14,
        lessons: vec![lesson()],
        available_from: None,
        available_until: None,
    }
}

fn published() -> CoursePublished {
    let ask = publish();
    CoursePublished {
        course_id: ask.course_id,
        organization_id: ask.organization_id,
        revision: 1,
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

fn revise() -> RevisePublishedCourse {
    let ask = publish();
    RevisePublishedCourse {
        course_id: COURSE,
        expected_revision: Some(1),
        title: ask.title,
        summary: ask.summary,
        price: Money::new(9_900, Currency::USD),
        capacity: None,
        credits_hundredths: ask.credits_hundredths,
        credit_type: ask.credit_type,
        refund_days: ask.refund_days,
        lessons: ask.lessons,
        available_from: None,
        available_until: None,
    }
}

fn revised() -> CourseRevised {
    let ask = revise();
    CourseRevised {
        course_id: COURSE,
        organization_id: ORGANIZATION,
        revision: 2,
        title: ask.title,
        summary: ask.summary,
        price: ask.price,
        capacity: ask.capacity,
        credits_hundredths: ask.credits_hundredths,
        credit_type: ask.credit_type,
        refund_days: ask.refund_days,
        lessons: ask.lessons,
        available_from: None,
        available_until: None,
    }
}

fn withdraw() -> WithdrawCourse {
    WithdrawCourse { course_id: COURSE, reason: "outdated".to_owned() }
}

fn withdrawn() -> CourseWithdrawn {
    CourseWithdrawn { course_id: COURSE, organization_id: ORGANIZATION, revision: 1, reason: "outdated".to_owned() }
}

fn learner(number: u128) -> PersonId {
    PersonId::from_u128(100 + number)
}

fn enrollment(number: u128) -> EnrollmentId {
    EnrollmentId::of(learner(number), COURSE)
}

fn reserve(number: u128, round: i64) -> ReserveSeat {
    ReserveSeat {
        course_id: COURSE,
        enrollment_id: enrollment(number),
        round,
        learner_id: learner(number),
        expected_price: PRICE,
        hold_for_seconds: HOLD_SECONDS,
    }
}

fn reserved(number: u128, round: i64) -> SeatReserved {
    SeatReserved {
        course_id: COURSE,
        enrollment_id: enrollment(number),
        round,
        learner_id: learner(number),
        organization_id: ORGANIZATION,
        revision: 1,
        price: PRICE,
        credits_hundredths: 150,
        credit_type: "ama-pra-1".to_owned(),
        refund_days: 14,
        held_until: NOW.plus_seconds(HOLD_SECONDS),
    }
}

fn confirm(number: u128, round: i64) -> ConfirmSeat {
    ConfirmSeat { course_id: COURSE, enrollment_id: enrollment(number), round }
}

fn confirmed(number: u128, round: i64) -> SeatConfirmed {
    SeatConfirmed {
        course_id: COURSE,
        enrollment_id: enrollment(number),
        round,
        learner_id: learner(number),
        revision: 1,
    }
}

fn release(number: u128, round: i64) -> ReleaseSeat {
    ReleaseSeat { course_id: COURSE, enrollment_id: enrollment(number), round, reason: "released".to_owned() }
}

fn released(number: u128, round: i64, reason: &str) -> SeatReleased {
    SeatReleased { course_id: COURSE, enrollment_id: enrollment(number), round, reason: reason.to_owned() }
}

/// By the course's own organization, at [`NOW`].
fn course(events: impl IntoIterator<Item = CourseEvent>) -> Given<Courses> {
    given::<Courses>(events).at(NOW).tenant(ORGANIZATION)
}

#[test]
fn a_course_is_published_once() {
    course([]).when(publish()).then([published().into()]).when(publish()).then_rejected(ALREADY_PUBLISHED);
}

#[test]
fn only_its_organization_or_staff_publishes_revises_and_withdraws() {
    let other = OrganizationId::from_u128(9);
    given::<Courses>([]).when(publish()).then_rejected(NOT_YOUR_ORGANIZATION);
    given::<Courses>([]).tenant(other).when(publish()).then_rejected(NOT_YOUR_ORGANIZATION);
    let stranger = || given::<Courses>([published().into()]).tenant(other);
    stranger().when(revise()).then_rejected(NOT_YOUR_ORGANIZATION);
    stranger().when(withdraw()).then_rejected(NOT_YOUR_ORGANIZATION);
    stranger().actor(learner(1), "courses:write").when(withdraw()).then_rejected(NOT_YOUR_ORGANIZATION);
    stranger().actor(learner(1), ANY_ORGANIZATION).when(withdraw()).then([withdrawn().into()]);
}

#[test]
fn an_offer_must_make_sense() {
    let cases: [fn(&mut PublishCourse); 9] = [
        |ask| ask.title = "  ".to_owned(),
        |ask| ask.title = "with\0nul".to_owned(),
        |ask| ask.summary = "x".repeat(4_001),
        |ask| ask.price = Money::new(-1, Currency::USD),
        |ask| ask.capacity = Some(0),
        |ask| ask.credits_hundredths = -1,
        |ask| ask.refund_days = 366,
        |ask| ask.lessons[0].pass_score_percent = Some(101),
        |ask| (ask.available_from, ask.available_until) = (Some(NOW), Some(NOW)),
    ];
    for spoil in cases {
        let mut ask = publish();
        spoil(&mut ask);
        course([]).when(ask).then_rejected(OFFER_INVALID);
    }
}

#[test]
fn a_revision_follows_the_one_that_was_seen() {
    course([published().into()]).when(revise()).then([revised().into()]).when(revise()).then_rejected(REVISION_CHANGED);
    course([]).when(revise()).then_rejected(COURSE_UNKNOWN);
    course([published().into(), withdrawn().into()]).when(revise()).then_rejected(COURSE_WITHDRAWN);
}

#[test]
fn the_capacity_never_shrinks_below_the_seats_given_out() {
    let smaller = RevisePublishedCourse { capacity: Some(1), ..revise() };
    course([published().into(), reserved(1, 1).into(), reserved(2, 1).into()])
        .when(smaller)
        .then_rejected(CAPACITY_TOO_SMALL);
}

#[test]
fn a_course_is_withdrawn_once_and_says_so_again() {
    course([published().into()])
        .when(withdraw())
        .then([withdrawn().into()])
        .when(WithdrawCourse { reason: "another".to_owned(), ..withdraw() })
        .then_already(withdrawn());
}

#[test]
fn a_seat_is_held_then_taken_then_released() {
    let given = course([published().into()])
        .when(reserve(1, 1))
        .then([reserved(1, 1).into()])
        .when(reserve(1, 1))
        .then_already(reserved(1, 1))
        .when(confirm(1, 1))
        .then([confirmed(1, 1).into()])
        .when(confirm(1, 1))
        .then_already(confirmed(1, 1));
    assert_eq!(given.state().seats, 1);
    assert_eq!(given.parts_due(), [], "a seat that is taken does not lapse");
    let given = given.when(release(1, 1)).then([released(1, 1, "released").into()]);
    assert_eq!(given.state().seats, 0);
}

#[test]
fn there_are_never_more_seats_than_the_capacity() {
    course([published().into(), reserved(1, 1).into(), reserved(2, 1).into(), confirmed(2, 1).into()])
        .when(reserve(3, 1))
        .then_rejected(COURSE_FULL)
        .when(release(1, 1))
        .then([released(1, 1, "released").into()])
        .when(reserve(3, 1))
        .then([reserved(3, 1).into()]);
}

#[test]
fn an_unlimited_course_is_never_full() {
    let unlimited = CoursePublished { capacity: None, ..published() };
    course([unlimited.into(), reserved(1, 1).into(), reserved(2, 1).into()])
        .when(reserve(3, 1))
        .then([reserved(3, 1).into()]);
}

#[test]
fn a_seat_is_reserved_only_for_what_the_learner_saw() {
    let dearer = ReserveSeat { expected_price: Money::new(1, Currency::USD), ..reserve(1, 1) };
    course([published().into()]).when(dearer).then_rejected(PRICE_CHANGED);
    course([]).when(reserve(1, 1)).then_rejected(COURSE_UNKNOWN);
    course([published().into(), withdrawn().into()]).when(reserve(1, 1)).then_rejected(COURSE_WITHDRAWN);
    for hold_for_seconds in [0, i64::MAX] {
        let odd = ReserveSeat { hold_for_seconds, ..reserve(1, 1) };
        course([published().into()]).when(odd).then_rejected(HOLD_INVALID);
    }
    let later = CoursePublished { available_from: Some(NOW.plus_ms(1)), ..published() };
    course([later.into()]).when(reserve(1, 1)).then_rejected(COURSE_NOT_AVAILABLE);
    let over = CoursePublished { available_until: Some(NOW), ..published() };
    course([over.into()]).when(reserve(1, 1)).then_rejected(COURSE_NOT_AVAILABLE);
}

#[test]
fn a_withdrawn_course_still_confirms_what_it_holds() {
    course([published().into(), reserved(1, 1).into(), withdrawn().into()])
        .when(confirm(1, 1))
        .then([confirmed(1, 1).into()]);
}

#[test]
fn releasing_what_was_never_held_changes_nothing() {
    course([]).when(release(1, 1)).then_already(released(1, 1, "never-held"));
    course([published().into(), reserved(1, 2).into()]).when(release(1, 1)).then_already(released(1, 1, "never-held"));
}

#[test]
fn a_later_round_takes_over_the_seat_of_an_earlier_one_and_not_the_reverse() {
    let given = course([published().into(), reserved(1, 1).into()])
        .when(reserve(1, 2))
        .then([released(1, 1, "released").into(), reserved(1, 2).into()])
        .when(reserve(1, 1))
        .then_rejected(ROUND_OVER)
        .when(confirm(1, 1))
        .then_rejected(HOLD_LOST);
    assert_eq!(given.state().seats, 1);
}

#[test]
fn a_hold_that_is_not_confirmed_lapses() {
    let mut bench = Bench::new(&Part::aggregate::<Courses>());
    bench.now = NOW;
    bench.thread.tenant = Some(ORGANIZATION.uuid());
    bench.send(&publish()).unwrap();
    bench.send(&reserve(1, 1)).unwrap();
    bench.send(&reserve(2, 1)).unwrap();
    bench.send(&confirm(2, 1)).unwrap();
    assert_eq!(bench.row_count(), 3, "the course and its two seats");

    bench.now = NOW.plus_seconds(HOLD_SECONDS).plus_ms(-1);
    assert!(bench.fire().unwrap().is_empty(), "not before its time");
    bench.now = NOW.plus_seconds(HOLD_SECONDS);
    let fired = bench.fire().unwrap();
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].events::<SeatReleased>(), [released(1, 1, "hold-expired")]);
    assert_eq!(bench.row_count(), 2, "a free seat has no row");

    let late = bench.send(&confirm(1, 1)).unwrap();
    assert_eq!(late.replies::<Rejected>()[0].code, HOLD_LOST.name);
}

#[test]
fn an_empty_seat_is_the_default() {
    assert_eq!(Seat::default(), Seat::Free);
}

#[test]
fn the_catalog_is_the_same_whatever_the_order_of_the_courses() {
    let other = CoursePublished { course_id: CourseId::from_u128(9), ..published() };
    let elsewhere = SeatReserved { course_id: CourseId::from_u128(9), ..reserved(5, 1) };
    let tables = shuffle_proof::<CourseCatalog>(vec![
        published().into(),
        reserved(1, 1).into(),
        other.into(),
        reserved(2, 1).into(),
        revised().into(),
        released(1, 1, "released").into(),
        elsewhere.into(),
        confirmed(2, 1).into(),
        withdrawn().into(),
    ]);
    let rows = tables.rows("course");
    assert_eq!(rows.len(), 2);
    let first = rows[0];
    assert_eq!(first["revision"], 2);
    assert_eq!(first["price_minor"], 9_900);
    assert_eq!(first["capacity"], 0, "unlimited by now");
    assert_eq!(first["seats"], 1);
    assert_eq!(first["withdrawn"], true);
    assert_eq!(first["available_until"], "infinity");
}
