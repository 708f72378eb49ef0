//! `latency`: from the HTTP request of a paid enrollment to its outcome, two sagas and a provider later.

use std::time::Duration;

use anyhow::{Result, ensure};
use daybook_bench::{Case, Figures, Report, Settings as Asked, percentile};
use daybook_service::settings::Settings;
use daybook_service::{Section, ids};
use futures::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::cli::Place;
use crate::cli::demo::client::Client;
use crate::cli::token::signed;

const PER_SECOND: u32 = 5;
const SECONDS: usize = 20;
/// How long the provider takes to answer.
const PROVIDER_MS: u64 = 5;
/// Requests at once while the stage is set.
const AT_ONCE: usize = 8;
const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);
const STAFF_SCOPES: &str = "organizations:write organizations:any people:write courses:write";
const LEARNER_SCOPES: &str = "enrollments:write enrollments:read payments:read";

pub(super) async fn measure(place: &Place, asked: &Asked) -> Result<Report> {
    let settings = place.settings(&[Section::Auth, Section::Payments])?;
    let usual_ms = answer_in(&settings, PROVIDER_MS).await?;
    let measured = repeated(&settings, asked).await;
    answer_in(&settings, usual_ms).await?;
    let case = measured?;
    let mut report = Report::new("latency");
    report.at_most("paid enrollment, p50 ms", case.median("p50_ms"), 100.0, 60.0);
    report.at_most("paid enrollment, p99 ms", case.median("p99_ms"), 300.0, 200.0);
    report.cases.push(case);
    Ok(report)
}

/// Tells the provider how long it is to take, and answers how long it took before.
async fn answer_in(settings: &Settings, latency_ms: u64) -> Result<u64> {
    let address = format!("{}/sandbox/faults", settings.payments.provider_url.trim_end_matches('/'));
    let key = settings.payments.api_key.expose();
    let http = reqwest::Client::new();
    let before: Value = http.get(&address).bearer_auth(key).send().await?.error_for_status()?.json().await?;
    let change = json!({ "latency_ms": latency_ms });
    http.put(&address).bearer_auth(key).json(&change).send().await?.error_for_status()?;
    Ok(before["latency_ms"].as_u64().unwrap_or_default())
}

async fn repeated(settings: &Settings, asked: &Asked) -> Result<Case> {
    let client = Client::new(&settings.http.public_url)?;
    let count = PER_SECOND as usize * if asked.quick { SECONDS / 10 } else { SECONDS };
    let stage = Stage { settings, client, staff: ids::random(), organization: ids::random(), course: ids::random() };
    stage.set().await?;
    let mut case = Case::new("5 a second");
    for _ in 0..asked.reps {
        let learners = stage.learners(count).await?;
        case.runs.push(stage.enroll(learners).await?);
    }
    Ok(case)
}

struct Stage<'a> {
    settings: &'a Settings,
    client: Client,
    staff: Uuid,
    organization: Uuid,
    course: Uuid,
}

impl Stage<'_> {
    /// An organization and its course.
    async fn set(&self) -> Result<()> {
        let organization = json!({
            "organization_id": self.organization,
            "name": "Measured",
            "country": "US",
            "currency": "USD",
            "time_zone": "America/New_York",
        });
        self.by_staff("/organizations", organization).await?;
        let course = json!({
            "course_id": self.course,
            "organization_id": self.organization,
            "title": "A course that is measured",
            "summary": "",
            "price": price(),
            "credits_hundredths": 100,
            "credit_type": "ama-pra-1",
            "refund_days": 14,
            "lessons": [],
        });
        self.by_staff("/courses", course).await
    }

    async fn learners(&self, count: usize) -> Result<Vec<Uuid>> {
        let registered = stream::iter(0..count).map(|_| async {
            let person = ids::random();
            let body = json!({
                "person_id": person,
                "name": "Learner",
                "email": format!("{}@example.org", person.simple()),
                "language": "en-US",
                "time_zone": "America/New_York",
                "roles": ["learner"],
            });
            self.by_staff("/people", body).await?;
            Ok::<_, anyhow::Error>(person)
        });
        registered.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn by_staff(&self, path: &str, body: Value) -> Result<()> {
        let token = signed(self.settings, self.staff, None, STAFF_SCOPES, TOKEN_LIFETIME)?;
        let ended = self.client.command(path, &token, &body).await?;
        ensure!(ended.is_good(), "{path} was refused: {}", ended.code());
        Ok(())
    }

    /// Open loop: each begins at its time, however long the others take.
    async fn enroll(&self, learners: Vec<Uuid>) -> Result<Figures> {
        let mut ticks = interval(Duration::from_secs(1) / PER_SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut left = learners.into_iter();
        let mut under_way = FuturesUnordered::new();
        let mut took_ms = Vec::new();
        let mut all_begun = false;
        while !all_begun || !under_way.is_empty() {
            tokio::select! {
                _ = ticks.tick(), if !all_begun => match left.next() {
                    Some(learner) => under_way.push(self.enrollment(learner)),
                    None => all_begun = true,
                },
                Some(took) = under_way.next(), if !under_way.is_empty() => took_ms.push(took?),
            }
        }
        took_ms.sort_by(f64::total_cmp);
        Ok(Figures::from([("p50_ms", percentile(&took_ms, 50.0)), ("p99_ms", percentile(&took_ms, 99.0))]))
    }

    async fn enrollment(&self, learner: Uuid) -> Result<f64> {
        let token = signed(self.settings, learner, None, LEARNER_SCOPES, TOKEN_LIFETIME)?;
        let body = json!({ "course_id": self.course, "payment_token": "pm_card_visa", "expected_price": price() });
        let ended = self.client.command("/enrollments", &token, &body).await?;
        ensure!(ended.is_good(), "an enrollment was refused: {}", ended.code());
        Ok(ended.took.as_secs_f64() * 1_000.0)
    }
}

fn price() -> Value {
    json!({ "amount_minor": 4_900, "currency": "USD" })
}
