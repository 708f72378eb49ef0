//! The API's promises about commands: idempotency, waiting, steps, privacy; and what it refuses.

use std::io::{BufRead as _, BufReader};

use anyhow::{Context, Result, ensure};
use e2e::until::PATIENCE;
use e2e::{Api, Ask, Claims, Offer, Scene, until, usd};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shared;

/// A number that passes the check digit, as card numbers do.
const CARD_NUMBER: &str = "4242 4242 4242 4242";

#[test]
fn the_same_key_is_the_same_operation() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = Uuid::new_v4();
    let ask = Ask::post("/courses", scene.course_body(course, &Offer::at(usd(0))));
    let first = scene.staff.send(&ask)?;
    assert_eq!(first.status, 202, "{}", first.body);
    assert_eq!(first.header("preference-applied"), None);
    let again = scene.staff.send(&ask)?;
    assert_eq!(again.operation_id()?, first.operation_id()?);
    let closed = scene.staff.closed(first.operation_id()?)?;
    assert_eq!(closed["status"], "succeeded", "{closed}");
    // Also after the end, and with the answer that is known by now.
    let late = scene.staff.send(&ask.waiting())?;
    assert_eq!((late.status, late.operation_id()?), (200, first.operation_id()?), "{}", late.body);
    assert!(late.header("preference-applied").is_some_and(|applied| applied.starts_with("wait")));
    assert_eq!(late.body["result"]["data"]["course_id"], course.to_string(), "{}", late.body);
    let published = scene.platform.book().find("learning.course.events.v1", &course.to_string())?;
    assert_eq!(published.len(), 1, "{published:?}");
    Ok(())
}

#[test]
fn the_same_key_at_the_same_time_is_one_operation() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = scene.course(&Offer::at(usd(2_000)))?;
    let learner = scene.stranger();
    let ask = learner.enrollment(course, usd(2_000), Some("pm_card_visa"));
    let ids: Vec<Uuid> = std::thread::scope(|scope| {
        let send = || scope.spawn(|| learner.api.send(&ask)?.operation_id());
        let running: Vec<_> = (0..8).map(|_| send()).collect();
        running.into_iter().map(|thread| thread.join().expect("sending does not panic")).collect::<Result<_>>()
    })?;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let closed = learner.api.closed(ids[0])?;
    assert_eq!(closed["status"], "succeeded", "{closed}");
    assert_eq!(closed["result"]["data"]["round"], 1);
    let charges = scene.platform.provider().charges(learner.payment_id(course))?;
    assert_eq!(charges.iter().filter(|charge| charge.is_charge()).count(), 1, "{charges:?}");
    Ok(())
}

#[test]
fn the_same_key_with_another_body_is_refused() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = Uuid::new_v4();
    let ask = Ask::post("/courses", scene.course_body(course, &Offer::at(usd(0))));
    let first = scene.staff.send(&ask.clone().waiting())?;
    let other = Ask { body: scene.course_body(course, &Offer::at(usd(900))), ..ask };
    let refused = scene.staff.send(&other)?;
    assert_eq!((refused.status, refused.code()), (422, "idempotency-key-reused"), "{}", refused.body);
    assert_eq!(refused.operation_id()?, first.operation_id()?);
    Ok(())
}

#[test]
fn a_result_waited_for_can_be_read_at_once() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = Uuid::new_v4();
    let sent = scene.staff.send(&Ask::post("/courses", scene.course_body(course, &Offer::at(usd(0)))))?;
    let read = scene.staff.get(&format!("/courses/{course}?after_operation={}", sent.operation_id()?))?;
    assert_eq!((read.status, read.body["course_id"].as_str()), (200, Some(&*course.to_string())), "{}", read.body);
    assert!(read.header("daybook-lag-ms").is_some(), "{:?}", read.headers);
    let tag = read.header("etag").context("a read has an ETag")?;
    let same = scene.staff.request(Method::GET, &format!("/api/v1/courses/{course}")).header("if-none-match", tag);
    assert_eq!(scene.staff.answer(same)?.status, 304);
    Ok(())
}

#[test]
fn the_steps_are_told_as_they_happen_and_from_where_one_was() -> Result<()> {
    let scene = Scene::new(shared())?;
    let course = scene.course(&Offer::at(usd(2_000)))?;
    let learner = scene.stranger();
    let id = learner.api.send(&learner.enrollment(course, usd(2_000), Some("pm_card_visa")))?.operation_id()?;
    let told = events(&learner.api, id, None)?;
    for (saga, step) in
        [("enrollment-saga", "reserve-seat"), ("payment-saga", "capture"), ("enrollment-saga", "activate")]
    {
        let is_told = told.iter().any(|event| event.data["saga"] == saga && event.data["step"] == step);
        assert!(is_told, "{saga} does not tell {step}: {told:?}");
    }
    let (last, steps) = told.split_last().context("something is told")?;
    assert_eq!(last.name, "closed");
    assert_eq!(last.data["status"], "succeeded", "{}", last.data);
    let half = steps.len() / 2;
    let rest = events(&learner.api, id, Some(&steps[half].id))?;
    assert_eq!(rest.len(), told.len() - half - 1, "after {half} of {told:?}");
    assert!(
        rest.iter().all(|event| !steps[..=half].iter().any(|seen| seen.data == event.data)),
        "something is told twice"
    );
    Ok(())
}

#[test]
fn an_operation_is_nobody_elses_business() -> Result<()> {
    let scene = Scene::new(shared())?;
    let learner = scene.stranger();
    let ask = learner.enrollment(Uuid::new_v4(), usd(0), None);
    let id = learner.api.send(&ask)?.operation_id()?;
    learner.api.closed(id)?;
    let path = format!("/operations/{id}");
    assert_eq!(scene.stranger().api.get(&path)?.status, 404);
    assert_eq!(scene.stranger().api.get(&format!("{path}/events"))?.status, 404);
    assert_eq!(scene.platform.api_with(String::new()).get(&path)?.status, 401);
    let operator = scene.platform.api(&Claims::of(Uuid::new_v4(), "operator"));
    assert_eq!(operator.get(&path)?.status, 200);
    Ok(())
}

#[test]
fn bad_requests_are_refused_and_publish_nothing() -> Result<()> {
    let platform = shared();
    let person = Uuid::new_v4();
    let claims = Claims { organization: Some(Uuid::new_v4()), ..Claims::of(person, "courses:write") };
    let api = platform.api(&claims);
    let body = |title: &str| json!({ "title": title });
    let post = |api: &Api, content_type: &str, body: String| {
        let request =
            api.request(Method::POST, "/api/v1/courses").header("idempotency-key", Uuid::new_v4().to_string());
        api.answer(request.header("content-type", content_type).body(body))
    };
    let json_type = "application/json";
    let refused = [
        post(&api, json_type, "{\"title\": ".to_owned())?,
        post(&api, "text/plain", body("Wound care").to_string())?,
        post(&api, json_type, body(&"a".repeat(400_000)).to_string())?,
        post(&api, json_type, body(&format!("Paid by {CARD_NUMBER}")).to_string())?,
        post(&api, json_type, body("Wound\u{0} care").to_string())?,
        post(&api, json_type, json!({ "titel": "Wound care" }).to_string())?,
        api.answer(api.request(Method::POST, "/api/v1/courses").json(&body("Wound care")))?,
        post(&platform.api_with(String::new()), json_type, body("Wound care").to_string())?,
        post(&platform.api(&Claims { expires_in_s: -3_600, ..claims.clone() }), json_type, body("x").to_string())?,
        post(
            &platform.api_with(claims.sign("another secret, which is long enough to sign")),
            json_type,
            String::new(),
        )?,
        post(&platform.api(&Claims { scope: "courses:read".to_owned(), ..claims }), json_type, body("x").to_string())?,
        api.answer(api.request(Method::PATCH, "/api/v1/courses").json(&body("x")))?,
        api.get("/nothing-of-the-kind")?,
    ];
    let expected = [
        (400, "json-malformed"),
        (415, "media-type-unsupported"),
        (413, "body-too-large"),
        (400, "card-number-refused"),
        (400, "text-invalid"),
        (422, "request-invalid"),
        (400, "idempotency-key-missing"),
        (401, "token-missing"),
        (401, "token-expired"),
        (401, "token-invalid"),
        (403, "scope-missing"),
        (405, "method-not-allowed"),
        (404, "not-found"),
    ];
    for (answer, (status, code)) in refused.iter().zip(expected) {
        assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{code}");
        assert!(answer.body["trace_id"].as_str().is_some_and(|id| !id.is_empty()), "{}", answer.body);
        assert!(!answer.body.to_string().contains("4242"), "{}", answer.body);
        let page = answer.body["type"].as_str().context("a problem has a type")?;
        let path = page.strip_prefix(&api.url).unwrap_or(page);
        assert_eq!(api.answer(api.request(Method::GET, path))?.status, 200, "{page} is no page");
    }
    let known = platform.sql().number(&format!("SELECT count(*) FROM operation WHERE caller_id = '{person}'"))?;
    assert_eq!(known, 0, "something was published");
    ensure!(!String::from_utf8_lossy(&platform.logs()?).contains(CARD_NUMBER), "a card number was logged");
    Ok(())
}

#[test]
fn the_api_describes_itself_and_is_guarded() -> Result<()> {
    let api = shared().api_with(String::new());
    let description = api.answer(api.request(Method::GET, "/openapi.json"))?;
    assert!(description.body["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    assert!(description.body["paths"]["/api/v1/enrollments"]["post"].is_object());
    let docs = api.answer(api.request(Method::GET, "/docs"))?;
    assert_eq!(docs.status, 200);
    for header in ["content-security-policy", "strict-transport-security", "x-content-type-options", "x-request-id"] {
        assert!(docs.header(header).is_some(), "{header} is missing");
    }
    Ok(())
}

/// An event of a stream.
#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

/// What the stream of an operation tells until it is closed.
fn events(api: &Api, id: Uuid, last_event_id: Option<&str>) -> Result<Vec<Event>> {
    until("the operation is known", PATIENCE, || {
        Ok((api.get(&format!("/operations/{id}"))?.status == 200).then_some(()))
    })?;
    let mut request = api.request(Method::GET, &format!("/api/v1/operations/{id}/events"));
    if let Some(last) = last_event_id {
        request = request.header("last-event-id", last);
    }
    let response = request.send()?;
    ensure!(response.status() == 200, "the stream answers {}", response.status());
    let mut told = Vec::new();
    let (mut event_id, mut name) = (String::new(), String::new());
    for line in BufReader::new(response).lines() {
        let line = line?;
        let Some((field, value)) = line.split_once(':') else { continue };
        let value = value.trim_start().to_owned();
        match field {
            "id" => event_id = value,
            "event" => name = value,
            // The last field that is written of an event.
            "data" => {
                told.push(Event { id: event_id.clone(), name: name.clone(), data: serde_json::from_str(&value)? });
            }
            _ => {}
        }
        if name == "closed" && told.last().is_some_and(|event| event.name == "closed") {
            break;
        }
    }
    Ok(told)
}
