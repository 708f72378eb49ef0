//! Servers killed (SIGKILL) in the midst of enrollments: afterwards the rules over the whole hold.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use daybook_stack::Server;
use e2e::judge::{await_rest, judge};
use e2e::until::PATIENCE;
use e2e::{Ask, Learner, Offer, Platform, Scene, until, usd};
use uuid::Uuid;

/// Requests under way at once.
const CALLERS: usize = 8;
/// How long a caller tries to have a command accepted.
const ACCEPT_LIMIT: Duration = Duration::from_secs(120);

/// Enrollments that are done with, in one way or the other.
const CLOSED: &str =
    "SELECT count(*) FROM operation WHERE command = 'daybook.learning.EnrollLearner' AND closing_type IS NOT NULL";

/// One platform for all kills, one after the other.
fn platform() -> &'static Mutex<Platform> {
    static OWN: OnceLock<Mutex<Platform>> = OnceLock::new();
    OWN.get_or_init(|| {
        let mut platform = Platform::on_own_servers("kills").expect("the servers start");
        platform.start().expect("the platform starts");
        Mutex::new(platform)
    })
}

#[test]
fn the_platform_may_be_killed_twice_in_the_midst_of_enrollments() -> Result<()> {
    survive(500, &[(When::Accepted(0.3), Server::Platform), (When::Closed(0.5), Server::Platform)])
}

#[test]
fn kafka_may_be_killed_in_the_midst_of_enrollments() -> Result<()> {
    survive(150, &[(When::Accepted(0.4), Server::Kafka)])
}

#[test]
fn postgres_may_be_killed_in_the_midst_of_enrollments() -> Result<()> {
    survive(150, &[(When::Accepted(0.4), Server::Postgres)])
}

/// A broker that starts would otherwise end the process now and then: `crates/log/src/leaders.rs`.
#[test]
fn the_program_is_linked_without_the_update_that_ends_it() -> Result<()> {
    let program = std::fs::read(e2e::platform::binary()?)?;
    let names = || program.split(|byte| *byte == 0);
    ensure!(names().any(|name| name == b"__wrap_rd_kafka_metadata_update_op"), "it is not replaced");
    Ok(())
}

/// The judge is of use only if it sees what is wrong.
#[test]
fn the_judge_sees_what_is_wrong() -> Result<()> {
    let platform = platform().lock().unwrap_or_else(PoisonError::into_inner);
    let scene = Scene::new(&platform)?;
    let course = scene.course(&Offer::at(usd(12_500)))?;
    let learner = scene.stranger();
    assert_eq!(learner.enroll(course, usd(12_500), Some("pm_card_visa"))?["status"], "succeeded");
    await_rest(&platform)?;
    judge(&platform)?;
    let (sql, payment) = (platform.sql(), learner.payment_id(course));
    let of_payment = format!("WHERE payment_id = '{payment}'");
    let journal = format!("WHERE organization_id = '{}'", scene.organization);
    for (lie, truth) in [
        (
            format!("UPDATE payment SET captured_minor = captured_minor + 1 {of_payment}"),
            format!("UPDATE payment SET captured_minor = captured_minor - 1 {of_payment}"),
        ),
        (
            format!("UPDATE enrollment SET status = 'canceled' {of_payment}"),
            format!("UPDATE enrollment SET status = 'active' {of_payment}"),
        ),
        (
            format!("UPDATE enrollment SET price_minor = price_minor + 1 {of_payment}"),
            format!("UPDATE enrollment SET price_minor = price_minor - 1 {of_payment}"),
        ),
        (
            format!("UPDATE course SET seats = seats + 1 WHERE course_id = '{course}'"),
            format!("UPDATE course SET seats = seats - 1 WHERE course_id = '{course}'"),
        ),
        (
            format!("UPDATE ledger_balance SET balance_minor = balance_minor + 1 {journal}"),
            format!("UPDATE ledger_balance SET balance_minor = balance_minor - 1 {journal}"),
        ),
    ] {
        sql.run(&lie)?;
        let judged = judge(&platform);
        sql.run(&truth)?;
        assert!(judged.is_err(), "unseen: {lie}");
    }
    // This one the database does not even take.
    let unbalanced = sql.run(&format!("UPDATE ledger_entry_total SET debit_minor = debit_minor + 1 {journal}"));
    assert!(unbalanced.is_err_and(|error| format!("{error:#}").contains("check constraint")));
    judge(&platform)
}

/// When a server is killed: when this share of the enrollments has come so far.
#[derive(Clone, Copy)]
enum When {
    /// Others are being asked for, and those that were accepted run.
    Accepted(f64),
    /// The others are being carried out.
    Closed(f64),
}

/// Enrolls so many learners, kills servers meanwhile, and judges what came of it.
fn survive(learners: usize, kills: &[(When, Server)]) -> Result<()> {
    let mut platform = platform().lock().unwrap_or_else(PoisonError::into_inner);
    let work = Work::prepare(&Scene::new(&platform)?, learners)?;
    let sql = platform.sql();
    let closed_before = sql.number(CLOSED)?;
    let (next, accepted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| -> Result<()> {
        let caller = || {
            while let Some((learner, ask)) = work.asks.get(next.fetch_add(1, Ordering::Relaxed)) {
                accept(learner, ask)?;
                accepted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
        for (when, server) in kills {
            let reached = |share: f64, count: usize| (count as f64 >= share * learners as f64).then_some(());
            until("enough are under way", ACCEPT_LIMIT, || match when {
                When::Accepted(share) => Ok(reached(*share, accepted.load(Ordering::Relaxed))),
                When::Closed(share) => Ok(reached(*share, usize::try_from(sql.number(CLOSED)? - closed_before)?)),
            })?;
            println!("killing {server}: {} of {learners} are accepted", accepted.load(Ordering::Relaxed));
            platform.kill(*server)?;
            platform.restart(*server)?;
            println!("{server} is back");
        }
        callers.into_iter().try_for_each(|caller| caller.join().expect("a caller does not panic"))
    })?;
    println!("all accepted");
    await_rest(&platform)?;
    work.check_outcomes(&platform)?;
    judge(&platform)
}

/// The enrollments to ask for, and what must come of each.
struct Work {
    asks: Vec<(Learner, Ask)>,
}

impl Work {
    /// Two courses with room for all, one free, one small; and cards of every kind.
    fn prepare(scene: &Scene<'_>, learners: usize) -> Result<Self> {
        let price = usd(12_500);
        let roomy = scene.course(&Offer::at(price))?;
        let free = scene.course(&Offer::at(usd(0)))?;
        let small = scene.course(&Offer { capacity: Some(10), ..Offer::at(price) })?;
        let ask = |number: usize| {
            let learner = scene.stranger();
            let ask = match number % 10 {
                0 | 1 => learner.enrollment(free, usd(0), None),
                2 => learner.enrollment(small, price, Some("pm_card_visa")),
                3 => learner.enrollment(roomy, price, Some("pm_card_visa_chargeDeclined")),
                4 => learner.enrollment(roomy, price, Some("pm_card_visa__capture.decline")),
                5 => learner.enrollment(roomy, price, Some("pm_card_visa__drop-answer")),
                6 => learner.enrollment(roomy, price, Some("pm_card_visa__capture.drop-answer")),
                7 => learner.enrollment(roomy, price, Some("pm_card_visa__webhook-twice")),
                _ => learner.enrollment(roomy, price, Some("pm_card_visa")),
            };
            (learner, ask)
        };
        Ok(Self { asks: (0..learners).map(ask).collect() })
    }

    /// Each was accepted and has the outcome that its card and course decide, whatever was killed meanwhile.
    fn check_outcomes(&self, platform: &Platform) -> Result<()> {
        let mut small_taken = 0;
        for (number, (learner, ask)) in self.asks.iter().enumerate() {
            let operation = learner.api.closed(operation_id(learner, ask)?)?;
            let succeeded = operation["status"] == "succeeded";
            match number % 10 {
                2 => small_taken += usize::from(succeeded),
                3 | 4 => ensure!(!succeeded, "{number} was enrolled: {operation}"),
                _ => ensure!(succeeded, "{number} was not enrolled: {operation}"),
            }
        }
        ensure!(small_taken == 10.min(self.asks.len() / 10), "{small_taken} of the 10 seats were given");
        let known =
            platform.sql().number("SELECT count(*) FROM operation WHERE command = 'daybook.learning.EnrollLearner'")?;
        ensure!(known >= i64::try_from(self.asks.len())?, "{known} operations for {} requests", self.asks.len());
        Ok(())
    }
}

/// Asks until it is accepted, as clients do: with the same key.
fn accept(learner: &Learner, ask: &Ask) -> Result<()> {
    until("the command is accepted", ACCEPT_LIMIT, || Ok((learner.api.send(ask)?.status == 202).then_some(())))
}

/// The operation of a request that was accepted: asking again with the same key names it.
fn operation_id(learner: &Learner, ask: &Ask) -> Result<Uuid> {
    let began = Instant::now();
    let answer = until("the operation is named", PATIENCE, || {
        let answer = learner.api.send(ask)?;
        Ok(matches!(answer.status, 200 | 202).then_some(answer))
    });
    let answer = answer.with_context(|| format!("asked for {} ms", began.elapsed().as_millis()))?;
    answer.operation_id()
}
