#![doc = include_str!("../README.md")]

use std::collections::BTreeMap;

use daybook_events::{
    CancelCollection, CancelCollectionClosing, CancelEnrollment, CancelEnrollmentClosing, CourseId, EnrollmentId,
    LearnerNotWithdrawn, LearnerWithdrawn, Money, NotificationId, PaymentId, PersonId, ReleaseSeat, SendNotification,
    WithdrawLearner,
};
use daybook_saga::{DAY, Failure, MINUTE, Refused, Saga, Start, StepContext, Versions};
use serde::{Deserialize, Serialize};

/// The saga, with the versions that instances may still follow.
pub fn saga() -> Versions<Withdrawal> {
    Versions::of(version_1())
}

fn version_1() -> Saga<Withdrawal> {
    let mut saga =
        Saga::named("withdrawal-saga").version(1).started_by(begin).closes(learner_withdrawn, learner_not_withdrawn);
    saga.step("cancel", cancel_enrollment).on(enrollment_canceled).pivot().alarm_after(MINUTE);
    saga.step("release-seat", release_seat).acknowledged().alarm_after(MINUTE);
    saga.step("refund", refund).only_if(was_paid).on(refunded).alarm_after(DAY);
    saga.step("notice", notice).best_effort(DAY);
    saga.build().expect("the definition is built by this crate's tests")
}

/// What the steps have to know of each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    enrollment_id: EnrollmentId,
    /// The learner's reason, as a code. It stays here: the enrollment's own reason is that of a withdrawal.
    reason: String,
    /// Known once the enrollment is canceled.
    left: Option<Left>,
    /// Known once the payment is canceled.
    refunded: Option<Money>,
}

/// The enrollment that was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    learner_id: PersonId,
    course_id: CourseId,
    round: i64,
    payment_id: Option<PaymentId>,
}

impl Withdrawal {
    fn left(&self) -> &Left {
        self.left.as_ref().expect("every later step comes after cancel was answered")
    }
}

fn begin(ask: WithdrawLearner, _: &Start) -> Withdrawal {
    Withdrawal { enrollment_id: ask.enrollment_id, reason: ask.reason, left: None, refunded: None }
}

// cancel

fn cancel_enrollment(withdrawal: &Withdrawal, _: &StepContext) -> CancelEnrollment {
    CancelEnrollment {
        enrollment_id: withdrawal.enrollment_id,
        round: None,
        reason: "withdrawn".into(),
        within_refund_window: true,
    }
}

fn enrollment_canceled(withdrawal: &mut Withdrawal, closing: CancelEnrollmentClosing) -> Result<(), Refused> {
    let CancelEnrollmentClosing::EnrollmentCanceled(canceled) = closing;
    let (Some(learner_id), Some(course_id)) = (canceled.learner_id, canceled.course_id) else {
        // Nothing was opened, so there is nothing to leave.
        return Err(Refused::new("not-active"));
    };
    let (round, payment_id) = (canceled.round, canceled.payment_id);
    withdrawal.left = Some(Left { learner_id, course_id, round, payment_id });
    Ok(())
}

// release-seat

fn release_seat(withdrawal: &Withdrawal, _: &StepContext) -> ReleaseSeat {
    let left = withdrawal.left();
    ReleaseSeat {
        course_id: left.course_id,
        enrollment_id: withdrawal.enrollment_id,
        round: left.round,
        reason: "released".into(),
    }
}

// refund

fn was_paid(withdrawal: &Withdrawal) -> bool {
    withdrawal.left.as_ref().is_some_and(|left| left.payment_id.is_some())
}

fn refund(withdrawal: &Withdrawal, _: &StepContext) -> CancelCollection {
    CancelCollection {
        payment_id: withdrawal.left().payment_id.expect("only asked where there is a payment"),
        reason: "withdrawn".into(),
    }
}

fn refunded(withdrawal: &mut Withdrawal, closing: CancelCollectionClosing) -> Result<(), Refused> {
    let CancelCollectionClosing::CollectionCanceled(canceled) = closing;
    withdrawal.refunded = canceled.refunded;
    Ok(())
}

// notice

fn notice(withdrawal: &Withdrawal, step: &StepContext) -> SendNotification {
    let left = withdrawal.left();
    SendNotification {
        recipient_id: left.learner_id,
        notification_id: NotificationId::new(step.stable_id()),
        template: "withdrawal".into(),
        data: BTreeMap::from([
            ("course_id".into(), left.course_id.to_string()),
            ("enrollment_id".into(), withdrawal.enrollment_id.to_string()),
            ("refunded_minor".into(), withdrawal.refunded.map_or(0, |money| money.amount_minor).to_string()),
            ("currency".into(), withdrawal.refunded.map_or(String::new(), |money| money.currency.to_string())),
        ]),
        class: "receipt".into(),
    }
}

// how it closes

fn learner_withdrawn(withdrawal: &Withdrawal) -> LearnerWithdrawn {
    let left = withdrawal.left();
    LearnerWithdrawn {
        enrollment_id: withdrawal.enrollment_id,
        learner_id: left.learner_id,
        course_id: left.course_id,
        round: left.round,
        refunded: withdrawal.refunded,
    }
}

fn learner_not_withdrawn(withdrawal: &Withdrawal, failure: &Failure) -> LearnerNotWithdrawn {
    LearnerNotWithdrawn {
        enrollment_id: withdrawal.enrollment_id,
        step: failure.step.clone(),
        code: failure.code.clone(),
        detail: failure.detail.clone(),
    }
}

#[cfg(test)]
mod tests {
    use daybook_events::EnrollmentCanceled;
    use daybook_saga::{Sample, prove, prove_given};

    use super::*;

    fn start() -> WithdrawLearner {
        WithdrawLearner { enrollment_id: EnrollmentId::from_u128(1), reason: "changed-plans".into() }
    }

    #[test]
    fn it_ends_cleanly_whatever_happens() {
        println!("{:?}", prove(&saga(), &start()).unwrap());
    }

    #[test]
    fn a_free_course_ends_cleanly_whatever_happens() {
        let canceled = EnrollmentCanceled {
            enrollment_id: EnrollmentId::from_u128(1),
            learner_id: Some(PersonId::from_u128(2)),
            course_id: Some(CourseId::from_u128(3)),
            round: 1,
            reason: "withdrawn".into(),
            was_active: true,
            organization_id: None,
            price: None,
            payment_id: None,
        };
        println!("{:?}", prove_given(&saga(), &start(), &[Sample::of(&canceled)]).unwrap());
    }

    #[test]
    fn the_definition_is_the_released_one() {
        assert_eq!(version_1().describe(), include_str!("version_1.txt"));
    }
}
