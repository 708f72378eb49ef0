//! `daybook demo`: a busy day, through the public API, and the judgment over it.

pub(super) mod client;
mod outcomes;
mod rules;
mod scenario;

use std::time::Duration;

use anyhow::{Context, Result};
use daybook_events::{EnrollmentId, PersonId};
use daybook_service::settings::Settings;
use daybook_service::{Section, ids};
use futures::stream::{self, StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use uuid::Uuid;

use super::token::signed;
use super::{Outcome, Place};
use crate::output::{self, counted};
use client::{Client, Ended};
use outcomes::{Flow, Flows};
use scenario::{Course, Learner, Scenario};

/// Requests under way at once: a lively afternoon, not a load test.
const AT_ONCE: usize = 24;
/// How long tokens are valid: longer than any demo takes.
const TOKEN_LIFETIME: Duration = Duration::from_secs(6 * 60 * 60);
/// What those who set the stage may do. A message's header has room for so much and no more.
const STAFF_SCOPES: &str = "organizations:write organizations:any people:write courses:write";
const LEARNER_SCOPES: &str = "enrollments:write enrollments:read payments:read";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many learners enroll.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..=20_000))]
    learners: u32,
    /// Print outcomes and rules as JSON.
    #[arg(long)]
    json: bool,
}

/// Who takes part, and how they reach the API.
struct Stage<'a> {
    settings: &'a Settings,
    client: Client,
    staff: Uuid,
    scenario: Scenario,
}

pub(crate) async fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let needed = [Section::Log, Section::Store, Section::Auth, Section::Payments];
    let settings = place.settings(&needed)?;
    let scenario = Scenario::new(arguments.learners as usize, ids::random);
    let client = Client::new(&settings.http.public_url)?;
    client.is_ready().await.context("the API is not ready; start everything with `./dev up`")?;
    let stage = Stage { settings: &settings, client, staff: ids::random(), scenario };
    stage.set_up().await?;
    let mut flows = stage.enroll_all().await?;
    flows.extend(stage.withdraw_some(&flows).await?);
    let verdicts = rules::judge(&settings, &stage.scenario, &flows).await?;
    let is_good = verdicts.iter().all(|verdict| verdict.good);
    if arguments.json {
        output::json(&json!({ "flows": flows.as_object(), "rules": verdicts }))?;
    } else {
        output::line("")?;
        flows.print()?;
        output::line("")?;
        rules::print(&verdicts)?;
        stage.print_places()?;
    }
    Ok(Outcome::good_if(is_good))
}

impl Stage<'_> {
    fn token(&self, person: Uuid, organization: Option<Uuid>, scopes: &str) -> Result<String> {
        signed(self.settings, person, organization, scopes, TOKEN_LIFETIME)
    }

    /// Organizations, their courses, and the learners.
    async fn set_up(&self) -> Result<()> {
        let staff = self.token(self.staff, None, STAFF_SCOPES)?;
        let Scenario { organizations, courses, learners } = &self.scenario;
        let bar = bar(organizations.len() + courses.len() + learners.len(), "setting the stage");
        let of_organizations = organizations.iter().map(|organization| ("/organizations", organization.body()));
        let of_courses = courses.iter().map(|course| ("/courses", course.body()));
        let of_learners = learners.iter().map(|learner| ("/people", learner.body()));
        let requests: Vec<(&str, Value)> = of_organizations.chain(of_courses).chain(of_learners).collect();
        let sent = stream::iter(requests).map(|(path, body)| {
            let (staff, bar) = (&staff, &bar);
            async move {
                let ended = self.client.command(path, staff, &body).await?;
                bar.inc(1);
                anyhow::ensure!(ended.is_good(), "{path} was refused: {}", ended.code());
                Ok::<_, anyhow::Error>(())
            }
        });
        sent.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        bar.finish_and_clear();
        eprintln!(
            "{}, {} and {} in place",
            counted(organizations.len(), "organization"),
            counted(courses.len(), "course"),
            counted(learners.len(), "learner")
        );
        Ok(())
    }

    async fn enroll_all(&self) -> Result<Flows> {
        let bar = bar(self.scenario.learners.len(), "enrolling");
        let flows = stream::iter(&self.scenario.learners).map(|learner| {
            let bar = &bar;
            async move {
                let course = &self.scenario.courses[learner.course];
                let token = self.token(learner.person_id, None, LEARNER_SCOPES)?;
                let ended = self.client.command("/enrollments", &token, &learner.enrollment_body(course)).await?;
                bar.inc(1);
                Ok::<_, anyhow::Error>(flow(learner, course, learner.kind.name(), ended))
            }
        });
        let flows = flows.buffer_unordered(AT_ONCE).try_collect().await?;
        bar.finish_and_clear();
        Ok(flows)
    }

    /// Some of those who got in leave again, and get their money back.
    async fn withdraw_some(&self, enrolled: &Flows) -> Result<Flows> {
        let leaving: Vec<&Learner> = self.scenario.leaving(|learner| enrolled.has_succeeded(learner.person_id));
        let bar = bar(leaving.len(), "withdrawing");
        let flows = stream::iter(leaving).map(|learner| {
            let bar = &bar;
            async move {
                let course = &self.scenario.courses[learner.course];
                let enrollment_id = EnrollmentId::of(PersonId::new(learner.person_id), course.course_id.into());
                let path = format!("/enrollments/{enrollment_id}/withdrawal");
                let body = json!({ "course_id": course.course_id, "reason": "withdrawn" });
                let token = self.token(learner.person_id, None, LEARNER_SCOPES)?;
                let ended = self.client.command(&path, &token, &body).await?;
                bar.inc(1);
                Ok::<_, anyhow::Error>(flow(learner, course, outcomes::WITHDRAWAL, ended))
            }
        });
        let flows = flows.buffer_unordered(AT_ONCE).try_collect().await?;
        bar.finish_and_clear();
        Ok(flows)
    }

    fn print_places(&self) -> Result<()> {
        let base = self.settings.http.public_url.trim_end_matches('/');
        let metrics = self.settings.telemetry.metrics_listen;
        let course = self.scenario.courses.first().map(|course| course.course_id).unwrap_or_default();
        output::line(&format!(
            "\nLook at\n  {base}/docs\n  {base}/api/v1/courses\n  {base}/api/v1/courses/{course}\n  \
             http://{metrics}/metrics\n  daybook saga ls --all --limit 5\n  \
             daybook tail learning.enrollment-saga.events.v1\n  daybook ledger verify"
        ))
    }
}

fn flow(learner: &Learner, course: &Course, kind: &'static str, ended: Ended) -> Flow {
    Flow {
        kind,
        person_id: learner.person_id,
        course_id: course.course_id,
        expected: learner.expectation(course),
        ended,
    }
}

fn bar(count: usize, doing: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:17} {bar:36} {pos}/{len} {per_sec:>9} {elapsed}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(count as u64).with_style(style).with_message(doing)
}
