//! The rules over the whole, judged when everything has come to rest: what the API said, what the projections show, what the ledger
//! has posted and what the provider really charged must be one and the same.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result};
use daybook_engine::PartKind;
use daybook_log::Log;
use daybook_service::settings::Settings;
use daybook_store::{Param, Reads, SagaFilter, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::outcomes::Flows;
use super::scenario::{Organization, Scenario};
use crate::cli::{lag, ledger};
use crate::output;
use crate::{connect, leaves};

/// How long the platform may take to come to rest after the last flow.
const REST_LIMIT: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the provider may take to answer for its books.
const BOOKS_LIMIT: Duration = Duration::from_secs(30);
/// How many examples of a breach are told.
const EXAMPLES_MAX: usize = 3;

/// Seats that the course has given out, and learners that are active in it.
const SEATS: &str = "\
SELECT c.seats, count(e.enrollment_id) FILTER (WHERE e.status = 'active') AS active
FROM course c LEFT JOIN enrollment e USING (course_id)
WHERE c.course_id = $1 GROUP BY c.course_id, c.seats";

/// Active on a priced course without a captured payment, or captured and kept without an active enrollment.
const UNPAID: &str = "\
SELECT e.enrollment_id::text AS id FROM enrollment e LEFT JOIN payment p USING (payment_id)
WHERE e.organization_id = $1 AND e.status = 'active' AND e.price_minor > 0
  AND COALESCE(p.captured_minor, 0) - COALESCE(p.refunded_minor, 0) <> e.price_minor
UNION ALL
SELECT p.payment_id::text FROM payment p
WHERE p.organization_id = $1 AND COALESCE(p.captured_minor, 0) > COALESCE(p.refunded_minor, 0)
  AND NOT EXISTS (SELECT 1 FROM enrollment e WHERE e.payment_id = p.payment_id AND e.status = 'active')";

/// What the payments of an organization leave at the provider.
const PAYMENTS: &str = "\
SELECT COALESCE(sum(COALESCE(captured_minor, 0) - COALESCE(refunded_minor, 0) - COALESCE(fee_minor, 0)
                    - COALESCE(disputed_minor, 0)), 0)::bigint AS amount
FROM payment WHERE organization_id = $1";

/// What the ledger says that the provider holds.
const CLEARING: &str = "\
SELECT COALESCE(sum(balance_minor), 0)::bigint AS amount
FROM ledger_balance WHERE organization_id = $1 AND account = 'asset:provider-clearing'";

/// Whether a rule holds.
#[derive(Debug, Serialize)]
pub struct Verdict {
    pub rule: &'static str,
    pub good: bool,
    pub found: String,
}

impl Verdict {
    fn new(rule: &'static str, good: bool, found: impl Into<String>) -> Self {
        Self { rule, good, found: found.into() }
    }

    /// Good if there is no breach.
    fn unless(rule: &'static str, breaches: &[String], otherwise: String) -> Self {
        if breaches.is_empty() {
            return Self::new(rule, true, otherwise);
        }
        let examples = breaches[..breaches.len().min(EXAMPLES_MAX)].join("; ");
        Self::new(rule, false, format!("{} breaches, such as: {examples}", breaches.len()))
    }
}

/// Prints each rule.
///
/// # Errors
/// When it cannot be printed.
pub fn print(verdicts: &[Verdict]) -> Result<()> {
    for Verdict { rule, good, found } in verdicts {
        let mark = if *good { "ok    " } else { "BROKEN" };
        output::line(&format!("{mark}  {rule}\n        {found}"))?;
    }
    Ok(())
}

/// Judges every rule over what the scenario has brought about.
///
/// # Errors
/// When something cannot be read that has to be.
pub async fn judge(settings: &Settings, scenario: &Scenario, flows: &Flows) -> Result<Vec<Verdict>> {
    let (log, store) = (connect::log(settings, 1)?, connect::store(settings).await?);
    let reads = store.reads().await?;
    let judge = Judge { reads, scenario };
    let mut verdicts = vec![outcomes(flows), rest(&log, &store).await?];
    verdicts.push(judge.seats().await?);
    verdicts.push(judge.enrollments().await?);
    verdicts.push(judge.money(&charged(settings).await?).await?);
    let verified = ledger::verify(&log).await?;
    let broken: Vec<String> = verified.broken.iter().map(|(journal, error)| format!("{journal}: {error}")).collect();
    let found = format!("{} entries in {}", verified.entries(), output::counted(verified.journals.len(), "journal"));
    verdicts.push(Verdict::unless("every journal balances, and its chain holds", &broken, found));
    Ok(verdicts)
}

fn outcomes(flows: &Flows) -> Verdict {
    let breach = |flow: &super::outcomes::Flow| {
        format!("{} ended as {}, course {}", flow.kind, flow.ended.code(), flow.course_id)
    };
    let breaches: Vec<String> = flows.iter().filter(|flow| !flow.is_as_expected()).map(breach).collect();
    let found = output::counted(flows.iter().count(), "flow");
    Verdict::unless("every flow ends as it must, whatever fails in between", &breaches, found)
}

/// Waits until nothing is left to be done: no part has records before it, no saga is under way.
async fn rest(log: &Log, store: &Store) -> Result<Verdict> {
    let until = Instant::now() + REST_LIMIT;
    loop {
        let (lag, open) = (lag::total(log, store).await?, open_sagas(store).await?);
        let is_at_rest = lag == 0 && open == 0;
        if is_at_rest || Instant::now() >= until {
            let found = format!("{lag} records not applied, {open} sagas under way");
            return Ok(Verdict::new("everything comes to rest", is_at_rest, found));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn open_sagas(store: &Store) -> Result<usize> {
    let mut open = 0;
    for spec in leaves::specs()?.iter().filter(|spec| spec.kind == PartKind::Saga) {
        let filter = SagaFilter { open_only: true, ..SagaFilter::default() };
        let found = store.operator(spec.name)?.sagas(&filter).await;
        open += connect::if_started(found)?.map_or(0, |sagas| sagas.len());
    }
    Ok(open)
}

/// What the provider holds for each organization, by its own books, in minor units.
async fn charged(settings: &Settings) -> Result<BTreeMap<Uuid, i64>> {
    let client = reqwest::Client::builder().timeout(BOOKS_LIMIT).build()?;
    let base = settings.payments.provider_url.trim_end_matches('/');
    let mut held: BTreeMap<Uuid, i64> = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let mut request = client.get(format!("{base}/sandbox/books")).bearer_auth(settings.payments.api_key.expose());
        if let Some(after) = &after {
            request = request.query(&[("starting_after", after)]);
        }
        let page: Books = request.send().await?.error_for_status()?.json().await.context("the provider's books")?;
        for payment in &page.payments {
            if let Some(organization) = payment.metadata.get("organization_id").and_then(|id| id.parse().ok()) {
                *held.entry(organization).or_default() += payment.balance;
            }
        }
        after = page.payments.into_iter().last().map(|payment| payment.payment_intent);
        if !page.has_more {
            return Ok(held);
        }
    }
}

#[derive(Deserialize)]
struct Books {
    payments: Vec<Charged>,
    has_more: bool,
}

#[derive(Deserialize)]
struct Charged {
    payment_intent: String,
    metadata: BTreeMap<String, String>,
    balance: i64,
}

struct Judge<'a> {
    reads: Reads,
    scenario: &'a Scenario,
}

impl Judge<'_> {
    async fn rows(&self, sql: &'static str, id: Uuid) -> Result<Vec<Value>> {
        Ok(self.reads.rows(sql, &[Param::Uuid(Some(id))]).await?)
    }

    async fn number(&self, sql: &'static str, id: Uuid) -> Result<i64> {
        let rows = self.rows(sql, id).await?;
        rows.first().and_then(|row| row["amount"].as_i64()).context("a sum is no number")
    }

    async fn seats(&self) -> Result<Verdict> {
        let mut breaches = Vec::new();
        let mut given = 0;
        for course in &self.scenario.courses {
            let rows = self.rows(SEATS, course.course_id).await?;
            let numbers = rows.first().and_then(|row| Some((row["seats"].as_i64()?, row["active"].as_i64()?)));
            let (seats, active) = numbers.with_context(|| format!("{} is not in the catalog", course.title))?;
            given += seats;
            let capacity = course.capacity.map(|capacity| i64::try_from(capacity).unwrap_or(i64::MAX));
            if capacity.is_some_and(|capacity| seats > capacity) || seats != active {
                breaches.push(format!("{}: {seats} seats, {active} active, capacity {capacity:?}", course.title));
            }
        }
        let found = format!("{given} seats, each of an active learner");
        Ok(Verdict::unless("never more seats than there are, and each is somebody's", &breaches, found))
    }

    async fn enrollments(&self) -> Result<Verdict> {
        let mut breaches = HashSet::new();
        for Organization { organization_id, .. } in &self.scenario.organizations {
            let rows = self.rows(UNPAID, *organization_id).await?;
            breaches.extend(rows.iter().filter_map(|row| Some(row["id"].as_str()?.to_owned())));
        }
        let breaches: Vec<String> = breaches.into_iter().collect();
        let rule = "nobody is enrolled unpaid, nobody has paid for nothing";
        Ok(Verdict::unless(rule, &breaches, "payments and enrollments match".to_owned()))
    }

    /// Three accounts of the same money.
    async fn money(&self, charged: &BTreeMap<Uuid, i64>) -> Result<Verdict> {
        let mut breaches = Vec::new();
        let mut total = 0;
        for Organization { organization_id, .. } in &self.scenario.organizations {
            let provider = charged.get(organization_id).copied().unwrap_or(0);
            let payments = self.number(PAYMENTS, *organization_id).await?;
            let ledger = self.number(CLEARING, *organization_id).await?;
            total += provider;
            if provider != payments || provider != ledger {
                breaches
                    .push(format!("provider {provider}, payments {payments}, ledger {ledger} of {organization_id}"));
            }
        }
        let found = format!("{}.{:02} USD in all three", total / 100, total % 100);
        Ok(Verdict::unless("provider, payments and ledger agree to the cent", &breaches, found))
    }
}
