//! Flows that go wrong: nothing is left half done.

use anyhow::{Context, Result};
use daybook_events::Money;
use e2e::provider::Charged;
use e2e::until::PATIENCE;
use e2e::{Learner, Offer, Scene, until, usd};
use serde_json::Value;
use uuid::Uuid;

use crate::shared;

const PRICE: Money = usd(4_900);

/// A course with one seat, and somebody who wants it.
struct Attempt<'p> {
    scene: Scene<'p>,
    course: Uuid,
    learner: Learner,
}

impl Attempt<'_> {
    fn new() -> Result<Attempt<'static>> {
        let scene = Scene::new(shared())?;
        let course = scene.course(&Offer { capacity: Some(1), ..Offer::at(PRICE) })?;
        let learner = scene.learner()?;
        Ok(Attempt { scene, course, learner })
    }

    fn enroll(&self, card: &str) -> Result<Value> {
        self.learner.enroll(self.course, PRICE, Some(card))
    }

    fn charges(&self) -> Result<Vec<Charged>> {
        self.scene.platform.provider().charges(self.learner.payment_id(self.course))
    }

    /// It failed with this code, at this step, and nothing of it is left: no enrollment, no seat, no money.
    fn assert_undone(&self, operation: &Value, code: &str) -> Result<()> {
        assert_eq!(operation["status"], "failed", "{operation}");
        assert_eq!(operation["problem"]["code"], code, "{operation}");
        let seats = || {
            let course = self.scene.staff.get(&format!("/courses/{}", self.course))?.body;
            Ok((course["seats"] == 0).then_some(()))
        };
        until("the seat is free again", PATIENCE, seats)?;
        let path = format!("/enrollments/{}", self.learner.enrollment_id(self.course));
        let enrollment = until("the enrollment is canceled", PATIENCE, || {
            let answer = self.learner.api.get(&path)?;
            Ok((answer.body["status"] != "open").then_some(answer))
        })?;
        assert_eq!(enrollment.body["status"], "canceled", "{}", enrollment.body);
        let held: Vec<_> = self.charges()?.into_iter().filter(|charge| charge.captured != charge.refunded).collect();
        assert!(held.is_empty(), "{held:?}");
        Ok(())
    }

    /// It went well, and exactly one charge was made.
    fn assert_enrolled_and_charged_once(&self, operation: &Value) -> Result<()> {
        assert_eq!(operation["status"], "succeeded", "{operation}");
        let charges = self.charges()?;
        let taken: Vec<_> = charges.iter().filter(|charge| charge.is_charge()).collect();
        assert_eq!(taken.len(), 1, "{charges:?}");
        assert_eq!((taken[0].captured, taken[0].refunded), (PRICE.amount_minor, 0), "{charges:?}");
        Ok(())
    }
}

#[test]
fn a_declined_card_undoes_all_and_leaves_the_seat_to_others() -> Result<()> {
    let attempt = Attempt::new()?;
    let operation = attempt.enroll("pm_card_visa_chargeDeclinedInsufficientFunds")?;
    attempt.assert_undone(&operation, "insufficient-funds")?;
    let other = attempt.scene.learner()?;
    assert_eq!(other.enroll(attempt.course, PRICE, Some("pm_card_visa"))?["status"], "succeeded");
    // And to the same learner with another card, were there another seat.
    let again = attempt.enroll("pm_card_visa")?;
    assert_eq!(again["problem"]["code"], "course-full", "{again}");
    Ok(())
}

#[test]
fn a_capture_that_is_refused_undoes_all() -> Result<()> {
    let attempt = Attempt::new()?;
    let operation = attempt.enroll("pm_card_visa__capture.decline")?;
    let code = operation["problem"]["code"].as_str().context("a failed operation has a code")?.to_owned();
    attempt.assert_undone(&operation, &code)
}

#[test]
fn the_last_seat_is_given_once() -> Result<()> {
    let attempt = Attempt::new()?;
    let others: Vec<Learner> = (0..4).map(|_| attempt.scene.stranger()).collect();
    let statuses: Vec<Value> = std::thread::scope(|scope| {
        let enroll = |learner: &Learner| learner.enroll(attempt.course, PRICE, Some("pm_card_visa"));
        let running: Vec<_> = others.iter().map(|learner| scope.spawn(move || enroll(learner))).collect();
        running.into_iter().map(|thread| thread.join().expect("enrolling does not panic")).collect::<Result<_>>()
    })?;
    let enrolled = statuses.iter().filter(|operation| operation["status"] == "succeeded").count();
    let full = statuses.iter().filter(|operation| operation["problem"]["code"] == "course-full").count();
    assert_eq!((enrolled, full), (1, others.len() - 1), "{statuses:?}");
    Ok(())
}

#[test]
fn a_price_that_has_changed_is_not_charged() -> Result<()> {
    let attempt = Attempt::new()?;
    let operation = attempt.learner.enroll(attempt.course, usd(100), Some("pm_card_visa"))?;
    attempt.assert_undone(&operation, "price-changed")?;
    assert!(attempt.charges()?.is_empty());
    Ok(())
}

#[test]
fn an_unknown_course_is_refused() -> Result<()> {
    let scene = Scene::new(shared())?;
    let operation = scene.stranger().enroll(Uuid::new_v4(), PRICE, Some("pm_card_visa"))?;
    assert_eq!(operation["problem"]["code"], "course-unknown", "{operation}");
    Ok(())
}

#[test]
fn a_withdrawn_course_takes_nobody_in() -> Result<()> {
    let attempt = Attempt::new()?;
    let path = format!("/courses/{}/withdrawal", attempt.course);
    attempt.scene.staff.succeed(e2e::Ask::post(path, serde_json::json!({ "reason": "outdated" })))?;
    let operation = attempt.enroll("pm_card_visa")?;
    attempt.assert_undone(&operation, "course-withdrawn")
}

/// A test for each way in which the provider may misbehave while everything could still go well.
macro_rules! charged_once {
    ($($name:ident: $card:literal;)+) => {
        $(
            #[test]
            fn $name() -> Result<()> {
                let attempt = Attempt::new()?;
                let operation = attempt.enroll($card)?;
                attempt.assert_enrolled_and_charged_once(&operation)
            }
        )+
    };
}

charged_once! {
    an_answer_lost_after_the_authorization_charges_once: "pm_card_visa__drop-answer";
    an_answer_lost_after_the_capture_charges_once: "pm_card_visa__capture.drop-answer";
    a_failure_after_the_authorization_charges_once: "pm_card_visa__fail-after";
    a_failure_after_the_capture_charges_once: "pm_card_visa__capture.fail-after";
    a_failure_before_anything_charges_once: "pm_card_visa__fail";
    a_provider_that_is_busy_charges_once: "pm_card_visa__rate-limit";
    a_slow_authorization_charges_once: "pm_card_visa__slow:3000";
    a_slow_capture_charges_once: "pm_card_visa__capture.slow:3000";
    an_outcome_told_by_webhook_alone_charges_once: "pm_card_visa__webhook-only";
    a_capture_told_by_webhook_alone_charges_once: "pm_card_visa__capture.webhook-only";
    a_webhook_before_its_answer_charges_once: "pm_card_visa__webhook-early";
    a_webhook_told_twice_charges_once: "pm_card_visa__webhook-twice";
    webhooks_out_of_order_charge_once: "pm_card_visa__webhook-out-of-order";
    a_forgotten_key_charges_once: "pm_card_visa__forget-key";
}
