//! Flows that go well.

use anyhow::{Context, Result, ensure};
use daybook_events::Money;
use e2e::until::PATIENCE;
use e2e::{Learner, Offer, Scene, until, usd};
use serde_json::Value;
use uuid::Uuid;

use crate::shared;

const PRICE: Money = usd(12_500);
/// The provider's share: 2.9 %, half up, and 30 cents.
const FEE: i64 = 393;

#[test]
fn a_learner_enrolls_in_a_free_course() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = scene.course(&Offer::at(usd(0)))?;
    let learner = scene.learner()?;
    let operation = learner.enroll(course, usd(0), None)?;
    assert_eq!(operation["status"], "succeeded", "{operation}");
    assert_eq!(operation["result"]["type"], "daybook.learning.LearnerEnrolled");
    assert_eq!(operation["result"]["data"]["payment_id"], Value::Null);
    assert_eq!(operation["saga"]["name"], "enrollment-saga", "{operation}");
    let enrollment = read_enrollment(&learner, course)?;
    assert_eq!(enrollment["status"], "active", "{enrollment}");
    assert!(scene.platform.provider().charges(learner.payment_id(course))?.is_empty());
    assert_eq!(seats(&scene, course, 1)?, 1);
    assert_eq!(mail(&scene, &learner, "You are enrolled")?, 1);
    Ok(())
}

#[test]
fn a_learner_enrolls_in_a_paid_course_with_all_that_belongs_to_it() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = scene.course(&Offer { capacity: Some(3), ..Offer::at(PRICE) })?;
    let learner = scene.learner()?;
    let operation = learner.enroll(course, PRICE, Some("pm_card_visa"))?;
    assert_eq!(operation["status"], "succeeded", "{operation}");
    let payment_id = learner.payment_id(course);
    assert_eq!(operation["result"]["data"]["payment_id"], payment_id.to_string());

    let charges = scene.platform.provider().charges(payment_id)?;
    assert_eq!(charges.len(), 1, "{charges:?}");
    assert_eq!((charges[0].captured, charges[0].refunded, charges[0].fees), (PRICE.amount_minor, 0, FEE));

    assert_eq!(read_enrollment(&learner, course)?["payment_id"], payment_id.to_string());
    let payment = learner.api.get(&format!("/payments/{payment_id}"))?;
    assert_eq!((payment.status, payment.body["status"].as_str()), (200, Some("captured")), "{}", payment.body);
    assert_eq!(seats(&scene, course, 1)?, 1);
    assert_eq!(balance(&scene, "asset:provider-clearing", PRICE.amount_minor - FEE)?, PRICE.amount_minor - FEE);
    assert_eq!(balance(&scene, "expense:provider-fees", FEE)?, FEE);

    assert_eq!(mail(&scene, &learner, "You are enrolled")?, 1);
    assert_eq!(mail(&scene, &learner, "Your receipt")?, 1);
    Ok(())
}

#[test]
fn a_learner_withdraws_in_time_and_gets_the_money_back() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = scene.course(&Offer { capacity: Some(1), ..Offer::at(PRICE) })?;
    let learner = scene.learner()?;
    assert_eq!(learner.enroll(course, PRICE, Some("pm_card_visa"))?["status"], "succeeded");
    let withdrawn = learner.withdraw(course)?;
    assert_eq!(withdrawn["status"], "succeeded", "{withdrawn}");
    assert_eq!(withdrawn["result"]["data"]["refunded"]["amount_minor"], PRICE.amount_minor, "{withdrawn}");

    let charges = scene.platform.provider().charges(learner.payment_id(course))?;
    assert_eq!((charges.len(), charges[0].refunded), (1, PRICE.amount_minor), "{charges:?}");
    assert_eq!(balance(&scene, "asset:provider-clearing", -FEE)?, -FEE);
    assert_eq!(seats(&scene, course, 0)?, 0);

    // The seat is free again, also for the same learner, whose next round has a payment of its own.
    let again = learner.enroll(course, PRICE, Some("pm_card_mastercard"))?;
    assert_eq!(again["status"], "succeeded", "{again}");
    assert_eq!(again["result"]["data"]["round"], 2, "{again}");
    assert_eq!(seats(&scene, course, 1)?, 1);
    Ok(())
}

#[test]
fn a_learner_who_withdraws_too_late_stays_enrolled() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = scene.course(&Offer { refund_days: 0, ..Offer::at(PRICE) })?;
    let learner = scene.learner()?;
    assert_eq!(learner.enroll(course, PRICE, Some("pm_card_visa"))?["status"], "succeeded");
    let refused = learner.withdraw(course)?;
    assert_eq!(refused["status"], "failed", "{refused}");
    assert_eq!(refused["problem"]["code"], "window-over", "{refused}");
    assert_eq!(read_enrollment(&learner, course)?["status"], "active");
    let charges = scene.platform.provider().charges(learner.payment_id(course))?;
    assert_eq!(charges[0].refunded, 0);
    Ok(())
}

#[test]
fn one_cannot_enroll_twice() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = scene.course(&Offer::at(PRICE))?;
    let learner = scene.learner()?;
    assert_eq!(learner.enroll(course, PRICE, Some("pm_card_visa"))?["status"], "succeeded");
    // Until the welcome is sent the flow still runs, and says so.
    until("the flow is over", PATIENCE, || {
        let second = learner.enroll(course, PRICE, Some("pm_card_visa"))?;
        assert_eq!(second["status"], "failed", "{second}");
        Ok((second["problem"]["code"] == "already-enrolled").then_some(()))
    })?;
    assert_eq!(scene.platform.provider().charges(learner.payment_id(course))?.len(), 1);
    Ok(())
}

/// The enrollment as its owner reads it, as soon as it has been projected and is no longer open.
fn read_enrollment(learner: &Learner, course: Uuid) -> Result<Value> {
    let path = format!("/enrollments/{}", learner.enrollment_id(course));
    until("the enrollment can be read", PATIENCE, || {
        let answer = learner.api.get(&path)?;
        Ok((answer.status == 200 && answer.body["status"] != "open").then_some(answer.body))
    })
}

/// Seats held or taken, waiting for the expected number.
fn seats(scene: &Scene<'_>, course: Uuid, expected: i64) -> Result<i64> {
    until(&format!("{expected} seats are taken"), PATIENCE, || {
        let answer = scene.staff.get(&format!("/courses/{course}"))?;
        let seats = answer.body["seats"].as_i64().with_context(|| answer.body.to_string())?;
        Ok((seats == expected).then_some(seats))
    })
}

/// Balance of an account of the organization, waiting for the expected one.
fn balance(scene: &Scene<'_>, account: &str, expected: i64) -> Result<i64> {
    let path = format!("/organizations/{}/ledger/balances", scene.organization);
    until(&format!("{account} comes to {expected}"), PATIENCE, || {
        let answer = scene.staff.get(&path)?;
        ensure!(answer.status == 200, "{}", answer.body);
        let items = answer.body["items"].as_array().context("a list")?;
        let found = items.iter().find(|item| item["account"] == account);
        Ok(found.and_then(|item| item["balance_minor"].as_i64()).filter(|balance| *balance == expected))
    })
}

/// How many mails under this subject the learner got, once there is one. Each has an id that no other has.
fn mail(scene: &Scene<'_>, learner: &Learner, subject: &str) -> Result<usize> {
    let mailbox = scene.platform.mailbox();
    until(&format!("mail: {subject}"), PATIENCE, || {
        let mails = mailbox.to(&learner.email)?;
        let found: Vec<_> = mails.iter().filter(|mail| mail.header("Subject").as_deref() == Some(subject)).collect();
        for mail in &found {
            let id = mail.header("Message-ID").context("a mail has a Message-ID")?;
            ensure!(id.starts_with('<') && id.contains('@') && id.ends_with('>'), "a strange Message-ID: {id}");
        }
        Ok((!found.is_empty()).then_some(found.len()))
    })
}
