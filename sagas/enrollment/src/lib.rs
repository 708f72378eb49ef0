#![doc = include_str!("../README.md")]

use std::collections::BTreeMap;

use daybook_events::{
    ActivateEnrollment, CancelCollection, CancelEnrollment, CollectPayment, CollectPaymentClosing, ConfirmSeat,
    CourseId, EnrollLearner, EnrollmentId, LearnerEnrolled, LearnerNotEnrolled, Money, NotificationId, OpenEnrollment,
    OpenEnrollmentClosing, OrganizationId, PaymentId, PersonId, ReleaseSeat, ReserveSeat, ReserveSeatClosing,
    SendNotification,
};
use daybook_saga::{DAY, Failure, MINUTE, Refused, Saga, Start, StepContext, Versions};
use serde::{Deserialize, Serialize};

/// How long a seat is held while the payment is collected.
const HOLD_SECONDS: i64 = 30 * 60;
/// Text on the payer's statement.
const STATEMENT: &str = "Course enrollment";

/// The saga, with the versions that instances may still follow.
pub fn saga() -> Versions<Enrollment> {
    Versions::of(version_1())
}

fn version_1() -> Saga<Enrollment> {
    let mut saga =
        Saga::named("enrollment-saga").version(1).started_by(begin).closes(learner_enrolled, learner_not_enrolled);
    let open = saga.step("open", open).on(opened).undo(cancel_enrollment).alarm_after(MINUTE);
    let seat = saga.step("reserve-seat", reserve_seat).on(seat_reserved).undo(release_seat).alarm_after(MINUTE);
    saga.step("collect-payment", collect_payment)
        .only_if(is_priced)
        .on(payment_collected)
        .undo(cancel_collection)
        .undo_after(20 * MINUTE);
    saga.step("confirm-seat", confirm_seat).acknowledged().covered_by(seat).alarm_after(MINUTE);
    saga.step("activate", activate).acknowledged().covered_by(open).pivot().alarm_after(5 * MINUTE);
    saga.step("welcome", welcome).best_effort(DAY);
    saga.build().expect("the definition is built by this crate's tests")
}

/// What the steps have to know of each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    enrollment_id: EnrollmentId,
    learner_id: PersonId,
    course_id: CourseId,
    payment_token: Option<String>,
    expected_price: Money,
    /// Round of the enrollment, known once it is open.
    round: Option<i64>,
    /// Known once a seat is reserved.
    seat: Option<Seat>,
}

/// What was promised with the seat: later revisions of the course do not touch it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    organization_id: OrganizationId,
    revision: i64,
    price: Money,
    credits_hundredths: i64,
    credit_type: String,
    refund_days: i32,
}

impl Enrollment {
    fn round(&self) -> i64 {
        self.round.expect("every later step comes after open was answered")
    }

    fn seat(&self) -> &Seat {
        self.seat.as_ref().expect("every later step comes after reserve-seat was answered")
    }

    fn payment_id(&self) -> PaymentId {
        PaymentId::of(self.enrollment_id, self.round())
    }

    fn payment_if_priced(&self) -> Option<PaymentId> {
        is_priced(self).then(|| self.payment_id())
    }
}

fn begin(ask: EnrollLearner, _: &Start) -> Enrollment {
    Enrollment {
        enrollment_id: ask.enrollment_id,
        learner_id: ask.learner_id,
        course_id: ask.course_id,
        payment_token: ask.payment_token,
        expected_price: ask.expected_price,
        round: None,
        seat: None,
    }
}

// open

fn open(enrollment: &Enrollment, _: &StepContext) -> OpenEnrollment {
    OpenEnrollment {
        enrollment_id: enrollment.enrollment_id,
        learner_id: enrollment.learner_id,
        course_id: enrollment.course_id,
    }
}

fn opened(enrollment: &mut Enrollment, closing: OpenEnrollmentClosing) -> Result<(), Refused> {
    let OpenEnrollmentClosing::EnrollmentOpened(opened) = closing;
    enrollment.round = Some(opened.round);
    Ok(())
}

fn cancel_enrollment(enrollment: &Enrollment, _: &StepContext) -> CancelEnrollment {
    CancelEnrollment {
        enrollment_id: enrollment.enrollment_id,
        round: enrollment.round,
        reason: "not-completed".into(),
        within_refund_window: false,
    }
}

// reserve-seat

fn reserve_seat(enrollment: &Enrollment, _: &StepContext) -> ReserveSeat {
    ReserveSeat {
        course_id: enrollment.course_id,
        enrollment_id: enrollment.enrollment_id,
        round: enrollment.round(),
        learner_id: enrollment.learner_id,
        expected_price: enrollment.expected_price,
        hold_for_seconds: HOLD_SECONDS,
    }
}

fn seat_reserved(enrollment: &mut Enrollment, closing: ReserveSeatClosing) -> Result<(), Refused> {
    let ReserveSeatClosing::SeatReserved(reserved) = closing;
    enrollment.seat = Some(Seat {
        organization_id: reserved.organization_id,
        revision: reserved.revision,
        price: reserved.price,
        credits_hundredths: reserved.credits_hundredths,
        credit_type: reserved.credit_type,
        refund_days: reserved.refund_days,
    });
    Ok(())
}

fn release_seat(enrollment: &Enrollment, _: &StepContext) -> ReleaseSeat {
    ReleaseSeat {
        course_id: enrollment.course_id,
        enrollment_id: enrollment.enrollment_id,
        round: enrollment.round(),
        reason: "released".into(),
    }
}

// collect-payment

fn is_priced(enrollment: &Enrollment) -> bool {
    enrollment.seat.as_ref().is_some_and(|seat| seat.price.is_positive())
}

fn collect_payment(enrollment: &Enrollment, _: &StepContext) -> CollectPayment {
    let seat = enrollment.seat();
    CollectPayment {
        payment_id: enrollment.payment_id(),
        enrollment_id: enrollment.enrollment_id,
        organization_id: seat.organization_id,
        payer_id: enrollment.learner_id,
        amount: seat.price,
        // Without a token the payment is refused as invalid-token, and all of this is undone.
        payment_token: enrollment.payment_token.clone().unwrap_or_default(),
        statement: STATEMENT.into(),
    }
}

fn payment_collected(_: &mut Enrollment, closing: CollectPaymentClosing) -> Result<(), Refused> {
    match closing {
        CollectPaymentClosing::PaymentCollected(_) => Ok(()),
        CollectPaymentClosing::PaymentNotCollected(not) => Err(Refused { code: not.code, detail: not.detail }),
    }
}

fn cancel_collection(enrollment: &Enrollment, _: &StepContext) -> CancelCollection {
    CancelCollection { payment_id: enrollment.payment_id(), reason: "not-completed".into() }
}

// confirm-seat, activate, welcome

fn confirm_seat(enrollment: &Enrollment, _: &StepContext) -> ConfirmSeat {
    ConfirmSeat { course_id: enrollment.course_id, enrollment_id: enrollment.enrollment_id, round: enrollment.round() }
}

fn activate(enrollment: &Enrollment, _: &StepContext) -> ActivateEnrollment {
    let seat = enrollment.seat();
    ActivateEnrollment {
        enrollment_id: enrollment.enrollment_id,
        round: enrollment.round(),
        revision: seat.revision,
        organization_id: seat.organization_id,
        price: seat.price,
        payment_id: enrollment.payment_if_priced(),
        credits_hundredths: seat.credits_hundredths,
        credit_type: seat.credit_type.clone(),
        refund_days: seat.refund_days,
    }
}

fn welcome(enrollment: &Enrollment, step: &StepContext) -> SendNotification {
    SendNotification {
        recipient_id: enrollment.learner_id,
        notification_id: NotificationId::new(step.stable_id()),
        template: "welcome".into(),
        data: BTreeMap::from([
            ("course_id".into(), enrollment.course_id.to_string()),
            ("enrollment_id".into(), enrollment.enrollment_id.to_string()),
        ]),
        class: "welcome".into(),
    }
}

// how it closes

fn learner_enrolled(enrollment: &Enrollment) -> LearnerEnrolled {
    let seat = enrollment.seat();
    LearnerEnrolled {
        enrollment_id: enrollment.enrollment_id,
        learner_id: enrollment.learner_id,
        course_id: enrollment.course_id,
        round: enrollment.round(),
        revision: seat.revision,
        price: seat.price,
        payment_id: enrollment.payment_if_priced(),
    }
}

fn learner_not_enrolled(enrollment: &Enrollment, failure: &Failure) -> LearnerNotEnrolled {
    LearnerNotEnrolled {
        enrollment_id: enrollment.enrollment_id,
        learner_id: enrollment.learner_id,
        course_id: enrollment.course_id,
        step: failure.step.clone(),
        code: failure.code.clone(),
        detail: failure.detail.clone(),
    }
}

#[cfg(test)]
mod tests {
    use daybook_events::Currency;
    use daybook_saga::prove;

    use super::*;

    #[test]
    fn it_ends_cleanly_whatever_happens() {
        let (learner_id, course_id) = (PersonId::from_u128(1), CourseId::from_u128(2));
        let start = EnrollLearner {
            enrollment_id: EnrollmentId::of(learner_id, course_id),
            learner_id,
            course_id,
            payment_token: Some("tok_visa".into()),
            expected_price: Money::new(4_900, Currency::USD),
        };
        println!("{:?}", prove(&saga(), &start).unwrap());
    }

    #[test]
    fn the_definition_is_the_released_one() {
        assert_eq!(version_1().describe(), include_str!("version_1.txt"));
    }
}
