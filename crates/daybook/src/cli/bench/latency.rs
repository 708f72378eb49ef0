//! `latency`: from the HTTP request of a paid enrollment to its outcome, two sagas and a provider later.

use std::time::Duration;

use anyhow::{Result, ensure};
use daybook_bench::{Case, Figures, Report, Settings as Asked, latencies};
use daybook_service::Section;
use daybook_service::settings::Settings;
use futures::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::staff::{Staff, TOKEN_LIFETIME, price};
use crate::cli::Place;
use crate::cli::demo::client::Client;
use crate::cli::token::signed;

const PER_SECOND: u32 = 5;
const SECONDS: usize = 20;
/// How long the provider takes to answer.
pub(super) const PROVIDER_MS: u64 = 5;
/// Requests at once while the stage is set.
const AT_ONCE: usize = 8;
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
pub(super) async fn answer_in(settings: &Settings, latency_ms: u64) -> Result<u64> {
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
    let staff = Staff::new(settings)?;
    let organization = staff.organization().await?;
    let stage = Stage { settings, client, course: staff.course(organization).await? };
    let mut case = Case::new("5 a second");
    // The first one warms up.
    for run in 0..=asked.reps {
        let learners = stream::iter(0..count).map(|_| staff.learner());
        let learners = learners.buffer_unordered(AT_ONCE).try_collect().await?;
        let figures = stage.enroll(learners).await?;
        if run > 0 {
            case.runs.push(figures);
        }
    }
    Ok(case)
}

struct Stage<'a> {
    settings: &'a Settings,
    client: Client,
    course: Uuid,
}

impl Stage<'_> {
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
        Ok(Figures::from(latencies(took_ms)))
    }

    async fn enrollment(&self, learner: Uuid) -> Result<f64> {
        let token = signed(self.settings, learner, None, LEARNER_SCOPES, TOKEN_LIFETIME)?;
        let body = json!({ "course_id": self.course, "payment_token": "pm_card_visa", "expected_price": price() });
        let ended = self.client.command("/enrollments", &token, &body).await?;
        ensure!(ended.is_good(), "an enrollment was refused: {}", ended.code());
        Ok(ended.took.as_secs_f64() * 1_000.0)
    }
}
