//! One enrollment is one trace, from the HTTP request to the last consumer.

use std::collections::BTreeSet;

use anyhow::Result;
use e2e::collector::Span;
use e2e::until::PATIENCE;
use e2e::{Offer, Scene, until, usd};
use reqwest::Method;
use uuid::Uuid;

use crate::shared;

/// Everything that a paid enrollment passes through.
const EXPECTED: [&str; 13] = [
    "http request",
    "process enrollment-saga",
    "process enrollments",
    "process enrollment-list",
    "process courses",
    "process payment-saga",
    "process payments",
    "effect payments",
    "process ledger-policy",
    "process ledger",
    "process notifications",
    "effect notifications",
    "process operations",
];

#[test]
fn one_enrollment_is_one_trace() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = scene.course(&Offer::at(usd(2_000)))?;
    let learner = scene.learner()?;
    let (trace, caller) = (Uuid::new_v4().simple().to_string(), "00f067aa0ba902b7");
    let ask = learner.enrollment(course, usd(2_000), Some("pm_card_visa"));
    let request = learner.api.request(Method::POST, "/api/v1/enrollments");
    let request = request.header("idempotency-key", ask.key).header("traceparent", format!("00-{trace}-{caller}-01"));
    let answer = learner.api.answer(request.json(&ask.body))?;
    assert_eq!(learner.api.closed(answer.operation_id()?)?["status"], "succeeded");

    let collector = scene.platform.collector();
    let spans: Vec<Span> = until("every part has told its span", PATIENCE, || {
        let spans = collector.spans();
        let names: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        Ok(EXPECTED.iter().all(|name| names.contains(name)).then_some(spans))
    })?;
    // The other tests ask for no trace, and none is made by chance.
    assert!(spans.iter().all(|span| span.trace == trace), "{spans:?}");
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let hangs_loose = |span: &&Span| span.parent != caller && !ids.contains(span.parent.as_str());
    assert_eq!(spans.iter().find(hangs_loose), None);
    Ok(())
}
