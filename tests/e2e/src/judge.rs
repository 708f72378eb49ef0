//! The rules over the whole, as `docs/domain.md` has them, of a platform at rest. Each is looked up where it would show if it
//! were broken: at the provider, in the database, in the book.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use uuid::Uuid;

use crate::Platform;
use crate::provider::Charged;
use crate::until::until;

/// Payments whose authorization may have to be looked for at the provider wait for its search to settle, a minute each time.
const REST_LIMIT: Duration = Duration::from_secs(240);

/// Waits until nothing is under way any more: every operation closed, every record applied, every effect concluded.
///
/// # Errors
/// When that does not come to be.
pub fn await_rest(platform: &Platform) -> Result<()> {
    let sql = platform.sql();
    until("every operation is closed", REST_LIMIT, || {
        Ok((sql.number("SELECT count(*) FROM operation WHERE closing_type IS NULL")? == 0).then_some(()))
    })?;
    until("no saga is open", REST_LIMIT, || {
        let open: Vec<Value> = serde_json::from_str(&platform.succeed(&["saga", "ls", "--json", "--limit", "1000"])?)?;
        Ok(open.is_empty().then_some(()))
    })?;
    until("every record is applied", REST_LIMIT, || {
        let lags: Vec<Value> = serde_json::from_str(&platform.succeed(&["lag", "--json"])?)?;
        let partitions = lags.iter().flat_map(|part| part["partitions"].as_array().into_iter().flatten());
        let waits = |partition: &Value| ["lag", "held", "unpublished"].iter().any(|name| partition[name] != 0);
        Ok((!partitions.into_iter().any(waits)).then_some(()))
    })
}

/// All rules.
///
/// # Errors
/// The first one that is broken, with what breaks it.
pub fn judge(platform: &Platform) -> Result<()> {
    let charges = platform.provider().books()?;
    nobody_is_charged_twice(&charges)?;
    money_agrees(platform, &charges)?;
    payments_agree_one_by_one(platform, &charges)?;
    enrollments_are_paid_and_payments_enroll(platform)?;
    seats_are_those_of_the_enrolled(platform)?;
    journals_balance(platform)?;
    every_operation_was_closed_once(platform)?;
    nothing_is_parked(platform)
}

fn nobody_is_charged_twice(charges: &[Charged]) -> Result<()> {
    let mut taken: HashMap<Uuid, Vec<&Charged>> = HashMap::new();
    for charge in charges.iter().filter(|charge| charge.is_charge()) {
        let payment_id = charge.payment_id.context("a charge without our payment")?;
        taken.entry(payment_id).or_default().push(charge);
    }
    let twice: Vec<_> = taken.iter().filter(|(_, charges)| charges.len() > 1).collect();
    ensure!(twice.is_empty(), "charged twice: {twice:?}");
    let blocked: Vec<_> = charges.iter().filter(|charge| charge.status == "requires_capture").collect();
    ensure!(blocked.is_empty(), "authorized and neither captured nor let go: {blocked:?}");
    Ok(())
}

/// What the provider holds for us = the ledger's clearing balance = the sum over our payments.
fn money_agrees(platform: &Platform, charges: &[Charged]) -> Result<()> {
    let sql = platform.sql();
    let provider: i64 = charges.iter().map(Charged::balance).sum();
    let ledger = sql.number(
        "SELECT coalesce(sum(balance_minor), 0) FROM ledger_balance WHERE account = 'asset:provider-clearing'",
    )?;
    let payments = sql.number(
        "SELECT coalesce(sum(coalesce(captured_minor, 0) - coalesce(refunded_minor, 0) - coalesce(fee_minor, 0) \
         - coalesce(disputed_minor, 0)), 0) FROM payment",
    )?;
    ensure!(
        provider == ledger && ledger == payments,
        "the provider holds {provider}, the ledger says {ledger}, the payments {payments}"
    );
    Ok(())
}

fn payments_agree_one_by_one(platform: &Platform, charges: &[Charged]) -> Result<()> {
    let mut provider: BTreeMap<Uuid, (i64, i64)> = BTreeMap::new();
    for charge in charges {
        if let Some(payment_id) = charge.payment_id.filter(|_| charge.captured > 0) {
            let sums = provider.entry(payment_id).or_default();
            *sums = (sums.0 + charge.captured, sums.1 + charge.refunded);
        }
    }
    let rows = platform.sql().rows(
        "SELECT payment_id, captured_minor, coalesce(refunded_minor, 0) AS refunded_minor FROM payment WHERE captured_minor > 0",
    )?;
    let mut ours: BTreeMap<Uuid, (i64, i64)> = BTreeMap::new();
    for row in &rows {
        let amount = |name: &str| row[name].as_i64().with_context(|| format!("{name} in {row}"));
        ours.insert(id_in(row, "payment_id")?, (amount("captured_minor")?, amount("refunded_minor")?));
    }
    let differing: Vec<_> = provider.iter().filter(|(id, sums)| ours.get(*id) != Some(*sums)).collect();
    ensure!(differing.is_empty(), "captured and refunded otherwise than we know: {differing:?}");
    ensure!(ours.len() == provider.len(), "{} payments of ours, {} of the provider's", ours.len(), provider.len());
    Ok(())
}

fn enrollments_are_paid_and_payments_enroll(platform: &Platform) -> Result<()> {
    let sql = platform.sql();
    let unpaid = sql.rows(
        "SELECT e.enrollment_id, p.status FROM enrollment e LEFT JOIN payment p USING (payment_id) \
         WHERE e.status IN ('active', 'completed') AND e.price_minor > 0 \
           AND coalesce(p.captured_minor, 0) - coalesce(p.refunded_minor, 0) <> e.price_minor",
    )?;
    ensure!(unpaid.is_empty(), "enrolled without a captured payment: {unpaid:?}");
    let for_nothing = sql.rows(
        "SELECT p.payment_id, p.status, e.status AS enrollment FROM payment p \
         LEFT JOIN enrollment e ON e.payment_id = p.payment_id AND e.status IN ('active', 'completed') \
         WHERE coalesce(p.captured_minor, 0) > coalesce(p.refunded_minor, 0) AND e.enrollment_id IS NULL",
    )?;
    ensure!(for_nothing.is_empty(), "paid without being enrolled: {for_nothing:?}");
    let undecided = sql.rows("SELECT enrollment_id, round, status FROM enrollment WHERE status = 'open'")?;
    ensure!(undecided.is_empty(), "neither enrolled nor not: {undecided:?}");
    Ok(())
}

/// Seats held or taken are those of active enrollments, and never more than there are.
fn seats_are_those_of_the_enrolled(platform: &Platform) -> Result<()> {
    let wrong = platform.sql().rows(
        "SELECT c.course_id, c.seats, c.capacity, count(e.enrollment_id) AS enrolled FROM course c \
         LEFT JOIN enrollment e ON e.course_id = c.course_id AND e.status IN ('active', 'completed') \
         GROUP BY c.course_id, c.seats, c.capacity \
         HAVING c.seats <> count(e.enrollment_id) OR (c.capacity > 0 AND c.seats > c.capacity)",
    )?;
    ensure!(wrong.is_empty(), "seats are not those of the enrolled: {wrong:?}");
    Ok(())
}

fn journals_balance(platform: &Platform) -> Result<()> {
    let unbalanced = platform
        .sql()
        .rows("SELECT organization_id, number FROM ledger_entry_total WHERE debit_minor + credit_minor <> 0")?;
    ensure!(unbalanced.is_empty(), "entries that do not balance: {unbalanced:?}");
    platform.succeed(&["ledger", "verify"]).context("the chain of hashes in the book")?;
    Ok(())
}

fn every_operation_was_closed_once(platform: &Platform) -> Result<()> {
    let replies = platform.book().closing_replies()?;
    let several: Vec<_> = replies.iter().filter(|(_, ids)| ids.len() != 1).collect();
    ensure!(several.is_empty(), "closed more than once: {several:?}");
    let operations = platform.sql().rows("SELECT operation_id FROM operation")?;
    for operation in &operations {
        let id = id_in(operation, "operation_id")?;
        ensure!(replies.contains_key(&id), "operation {id} has no closing reply in the book");
    }
    Ok(())
}

fn nothing_is_parked(platform: &Platform) -> Result<()> {
    let parked: Vec<Value> = serde_json::from_str(&platform.succeed(&["parked", "ls", "--json"])?)?;
    ensure!(parked.is_empty(), "parked: {parked:?}");
    Ok(())
}

fn id_in(row: &Value, name: &str) -> Result<Uuid> {
    let text = row[name].as_str().with_context(|| format!("{name} in {row}"))?;
    Ok(text.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(payment: u128, status: &str, captured: i64) -> Charged {
        Charged {
            payment_id: Some(Uuid::from_u128(payment)),
            status: status.to_owned(),
            authorized: 100,
            captured,
            refunded: 0,
            fees: 0,
            disputed: 0,
        }
    }

    #[test]
    fn a_second_charge_is_seen_and_so_is_one_that_was_left_open() {
        let good = [charge(1, "succeeded", 100), charge(2, "succeeded", 100), charge(2, "canceled", 0)];
        assert!(nobody_is_charged_twice(&good).is_ok());
        assert!(nobody_is_charged_twice(&[charge(1, "succeeded", 100), charge(1, "succeeded", 100)]).is_err());
        assert!(nobody_is_charged_twice(&[charge(1, "requires_capture", 0)]).is_err());
    }
}
