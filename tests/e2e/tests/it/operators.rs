//! What operators do beyond a record or a saga: many sagas at once, and a database that was restored.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context, Result, ensure};
use daybook_events::Money;
use daybook_stack::Server;
use e2e::judge::{await_rest, judge};
use e2e::until::PATIENCE;
use e2e::{Learner, Offer, Platform, Scene, until, usd};
use serde_json::Value;
use uuid::Uuid;

const PRICE: Money = usd(4_900);
const GOOD: Option<&str> = Some("pm_card_visa");
/// Parts that are recovered side by side.
const AT_ONCE: usize = 4;
/// Everything but who talks to the payment provider.
const WITHOUT_PAYMENTS: [&str; 10] = [
    "people",
    "courses",
    "enrollments",
    "ledger",
    "notifications",
    "operations",
    "enrollment-saga",
    "payment-saga",
    "withdrawal-saga",
    "api",
];

/// One platform for all tests here, one after the other: its processes end and start as the tests want.
fn platform() -> MutexGuard<'static, Platform> {
    static OWN: OnceLock<Mutex<Platform>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let mut platform = Platform::on_shared_servers("operators").expect("the servers start");
        platform.start().expect("the platform starts");
        Mutex::new(platform)
    });
    own.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn sagas_that_wait_for_the_same_step_are_undone_together() -> Result<()> {
    let mut platform = platform();
    let (course, learners) = {
        let scene = Scene::new(&platform)?;
        (scene.course(&Offer::at(PRICE))?, [scene.learner()?, scene.learner()?, scene.learner()?])
    };
    platform.kill(Server::Platform)?;
    platform.run(&WITHOUT_PAYMENTS)?;
    let accept = |learner: &Learner| learner.api.send(&learner.enrollment(course, PRICE, GOOD))?.operation_id();
    let operations: Vec<Uuid> = learners.iter().map(accept).collect::<Result<_>>()?;
    let payments = learners.each_ref().map(|learner| learner.payment_id(course).to_string());
    until("all of them wait for the provider", PATIENCE, || Ok((waiting(&platform)?.len() == 3).then_some(())))?;

    let operator = Uuid::new_v4().to_string();
    let undo = ["saga", "compensate", "payment-saga", "--step", "authorize", "--reason", "rehearsal"];
    let undo = [&undo[..], &["--operator", &operator]].concat();
    let unasked = platform.command(&undo)?;
    assert!(!unasked.status.success(), "many are not acted on unasked");
    assert!(String::from_utf8_lossy(&unasked.stderr).contains("act on 3 instances"), "{unasked:?}");
    let told = platform.succeed(&[&undo[..], &["--dry-run"]].concat())?;
    assert!(payments.iter().all(|payment| told.contains(payment)), "{told}");
    assert_eq!(waiting(&platform)?.len(), 3, "only told");
    platform.succeed(&[&undo[..], &["--yes"]].concat())?;

    platform.kill(Server::Platform)?;
    platform.run(&["all"])?;
    for (learner, operation) in learners.iter().zip(operations) {
        let closed = learner.api.closed(operation)?;
        assert_eq!(closed["status"], "failed", "{closed}");
        let charges = platform.provider().charges(learner.payment_id(course))?;
        assert!(charges.iter().all(|charge| charge.captured == charge.refunded), "{charges:?}");
    }
    await_rest(&platform)?;
    judge(&platform)
}

#[test]
fn a_database_that_was_restored_is_recovered_from_the_book() -> Result<()> {
    let mut platform = platform();
    let (course, before) = {
        let scene = Scene::new(&platform)?;
        let course = scene.course(&Offer::at(PRICE))?;
        let learner = scene.learner()?;
        assert_eq!(learner.enroll(course, PRICE, GOOD)?["status"], "succeeded");
        (course, learner)
    };
    await_rest(&platform)?;
    platform.kill(Server::Platform)?;
    let copy = platform.sql().copy()?;
    platform.run(&["all"])?;
    let since = enrolled(&platform, course)?;
    assert_eq!(before.withdraw(course)?["status"], "succeeded");
    await_rest(&platform)?;
    platform.kill(Server::Platform)?;
    platform.sql().restore(&copy)?;

    // It may be ready for a moment: a partition is looked at when it is assigned.
    let begun = platform.run(&["all"]);
    let has_ended = |platform: &Platform| platform.stack().pid(Server::Platform).is_none();
    until("no number is given twice", PATIENCE, || Ok(has_ended(&platform).then_some(())))?;
    let logs = String::from_utf8(platform.logs()?)?;
    assert!(logs.contains("daybook recover"), "{begun:?}");
    recover(&platform)?;
    platform.run(&["all"])?;
    await_rest(&platform)?;
    judge(&platform)?;
    assert_eq!(status(&platform, &since, course)?, "active");
    assert_eq!(status(&platform, &before, course)?, "canceled");
    let next = enrolled(&platform, course)?;
    await_rest(&platform)?;
    judge(&platform)?;
    assert_eq!(status(&platform, &next, course)?, "active");
    Ok(())
}

/// The payments whose sagas wait for the answer to their first step.
fn waiting(platform: &Platform) -> Result<Vec<Value>> {
    Ok(serde_json::from_str(&platform.succeed(&["saga", "ls", "payment-saga", "--json"])?)?)
}

fn enrolled(platform: &Platform, course: Uuid) -> Result<Learner> {
    let learner = Scene::new(platform)?.learner()?;
    let operation = learner.enroll(course, PRICE, GOOD)?;
    ensure!(operation["status"] == "succeeded", "{operation}");
    Ok(learner)
}

/// Every part, as the manual says; one of them is tried first, and once more when there is nothing left to do.
fn recover(platform: &Platform) -> Result<()> {
    let tried = partitions(&platform.succeed(&["recover", "payments", "--dry-run", "--json"])?)?;
    let lags: Vec<Value> = serde_json::from_str(&platform.succeed(&["lag", "--json"])?)?;
    let parts: Vec<&str> = lags.iter().filter_map(|lag| lag["part"].as_str()).collect();
    let recover = |part: &str| partitions(&platform.succeed(&["recover", part, "--json"])?);
    // Parts have nothing to do with each other, and recovering is mostly waiting.
    for some in parts.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|part| (part, scope.spawn(|| recover(part)))).collect();
            running.into_iter().try_for_each(|(part, thread)| {
                let done = thread.join().expect("recovering does not panic")?;
                let is_as_tried = *part != "payments" || (!done.is_empty() && done == tried);
                ensure!(is_as_tried, "tried {tried:?}, and did {done:?}");
                Ok(())
            })
        })?;
    }
    let again = platform.succeed(&["recover", "payments"])?;
    ensure!(again.contains("no partition is behind the book"), "{again}");
    Ok(())
}

/// What was done, partition by partition. The incarnation is none of it: it follows from the time.
fn partitions(printed: &str) -> Result<Vec<Value>> {
    let mut told: Value = serde_json::from_str(printed)?;
    let partitions = told["partitions"].as_array_mut().context("a list of partitions")?;
    partitions.iter_mut().filter_map(Value::as_object_mut).for_each(|done| drop(done.remove("incarnation")));
    Ok(std::mem::take(partitions))
}

fn status(platform: &Platform, learner: &Learner, course: Uuid) -> Result<String> {
    let enrollment = learner.enrollment_id(course);
    let rows = platform.sql().rows(&format!("SELECT status FROM enrollment WHERE enrollment_id = '{enrollment}'"))?;
    let status = rows.first().and_then(|row| row["status"].as_str());
    Ok(status.with_context(|| format!("{enrollment} is not there"))?.to_owned())
}
