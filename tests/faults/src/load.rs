//! Steady load through the public API: people register, enroll with good and bad cards, and leave again. Whoever asks is patient and
//! repeats with the same idempotency key, as clients should.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::scene::tag;
use e2e::{Answer, Api, Ask, Claims, Learner, Offer, Scene, usd};
use serde_json::{Value, json};
use uuid::Uuid;

/// Requests under way at once, at most: each has a thread that waits for its answer.
const CALLERS: usize = 24;
/// How long a caller tries to have a command accepted.
const ACCEPT_LIMIT: Duration = Duration::from_secs(150);
const TRY_AGAIN: Duration = Duration::from_millis(300);
/// How long one answer may take: requests through a cut link are given up and sent again.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);
const PRICE_CENTS: i64 = 12_500;
const FEW_SEATS: i64 = 20;
/// So many flows after an enrollment, its learner leaves again.
const LEAVES_AFTER: usize = 40;
const LEARNER_SCOPES: &str = "enrollments:write enrollments:read payments:read profile:write";

/// How a learner enrolls, and what must come of it. `None`: the faults decide.
const KINDS: [(&str, Option<&str>, Option<bool>); 10] = [
    ("free", None, Some(true)),
    ("good card", Some("pm_card_visa"), None),
    ("few seats", Some("pm_card_visa"), None),
    ("declined", Some("pm_card_visa_chargeDeclined"), Some(false)),
    ("good card", Some("pm_card_mastercard"), None),
    ("capture refused", Some("pm_card_visa__capture.decline"), Some(false)),
    ("answer lost by provider", Some("pm_card_visa__drop-answer"), None),
    ("webhook twice", Some("pm_card_visa__webhook-twice"), None),
    ("webhook early", Some("pm_card_visa__webhook-early"), None),
    ("capture's answer lost", Some("pm_card_visa__capture.drop-answer"), None),
];
const WITHDRAWAL: &str = "withdrawal";
const REGISTRATION: &str = "registration";

/// A command that was accepted.
pub struct Accepted {
    pub kind: &'static str,
    pub operation: Uuid,
    /// What must come of it, if that is certain.
    pub must_succeed: Option<bool>,
    /// From the first request to the acceptance.
    pub waited: Duration,
}

/// The learners, what they want, and what they were told.
pub struct Load {
    staff: Api,
    /// Of anybody: its address and client are used with other tokens.
    api: Api,
    token_secret: String,
    free: Uuid,
    priced: Uuid,
    few_seats: Uuid,
    next: AtomicUsize,
    enrolled: Mutex<BTreeMap<usize, (Learner, Uuid)>>,
    pub accepted: Mutex<Vec<Accepted>>,
    pub violations: Mutex<Vec<String>>,
}

impl Load {
    /// Publishes the courses.
    ///
    /// # Errors
    /// When the platform does not accept them.
    pub fn prepare(scene: &Scene<'_>) -> Result<Self> {
        let http = reqwest::blocking::Client::builder().timeout(ANSWER_LIMIT).build()?;
        let staff = Api { http: http.clone(), ..scene.staff.clone() };
        let price = usd(PRICE_CENTS);
        Ok(Self {
            api: Api { http, token: String::new(), ..scene.staff.clone() },
            staff,
            token_secret: scene.platform.stack().secrets().token_secret.clone(),
            free: scene.course(&Offer::at(usd(0)))?,
            priced: scene.course(&Offer::at(price))?,
            few_seats: scene.course(&Offer { capacity: Some(FEW_SEATS), ..Offer::at(price) })?,
            next: AtomicUsize::new(0),
            enrolled: Mutex::default(),
            accepted: Mutex::default(),
            violations: Mutex::default(),
        })
    }

    /// Lets so many flows begin each second until `stop`. When the platform is slow and all callers wait, fewer begin.
    pub fn run(&self, per_second: f64, stop: &AtomicBool) {
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let number = self.next.fetch_add(1, Ordering::Relaxed);
                        let due = began + Duration::from_secs_f64(number as f64 / per_second);
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        if let Err(error) = self.flow(number) {
                            self.violate(format!("flow {number}: {error:#}"));
                        }
                    }
                });
            }
        });
    }

    /// How many flows have begun.
    pub fn begun(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }

    fn flow(&self, number: usize) -> Result<()> {
        let (kind, card, must_succeed) = KINDS[number % KINDS.len()];
        let learner = self.learner();
        if number % 2 == 0 {
            self.accept(REGISTRATION, &self.staff, &registration(&learner), Some(true))?;
        }
        let (course, price) = match kind {
            "free" => (self.free, usd(0)),
            "few seats" => (self.few_seats, usd(PRICE_CENTS)),
            _ => (self.priced, usd(PRICE_CENTS)),
        };
        self.accept(kind, &learner.api, &learner.enrollment(course, price, card), must_succeed)?;
        let mut enrolled = self.enrolled.lock().expect("nobody panics while holding the learners");
        enrolled.insert(number, (learner, course));
        let leaving = number.checked_sub(LEAVES_AFTER).filter(|number| number % 3 == 0);
        let leaving = leaving.and_then(|number| enrolled.remove(&number));
        drop(enrolled);
        if let Some((learner, course)) = leaving {
            let path = format!("/enrollments/{}/withdrawal", learner.enrollment_id(course));
            let ask = Ask::post(path, json!({ "course_id": course, "reason": "no-time" }));
            // Whether there is anything to leave depends on the enrollment.
            self.accept(WITHDRAWAL, &learner.api, &ask, None)?;
        }
        Ok(())
    }

    fn learner(&self) -> Learner {
        let id = Uuid::new_v4();
        let tag = tag();
        let token = Claims::of(id, LEARNER_SCOPES).sign(&self.token_secret);
        Learner {
            id,
            name: format!("{PERSON_NAME}{tag}"),
            email: format!("{tag}@{PERSON_DOMAIN}"),
            api: Api { token, ..self.api.clone() },
        }
    }

    /// Asks until it is accepted.
    fn accept(&self, kind: &'static str, api: &Api, ask: &Ask, must_succeed: Option<bool>) -> Result<()> {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < ACCEPT_LIMIT {
            match api.send(ask) {
                Ok(answer) if matches!(answer.status, 200 | 202) => {
                    let operation = answer.operation_id()?;
                    let accepted = Accepted { kind, operation, must_succeed, waited: began.elapsed() };
                    self.accepted.lock().expect("nobody panics while holding the answers").push(accepted);
                    return Ok(());
                }
                Ok(answer) if is_passing(&answer) => last = format!("{} {}", answer.status, answer.code()),
                Ok(answer) => anyhow::bail!("{kind} is refused: {} {}", answer.status, answer.body),
                Err(error) => last = format!("{error:#}"),
            }
            thread::sleep(TRY_AGAIN);
        }
        anyhow::bail!("{kind} is not accepted within {} s: {last}", ACCEPT_LIMIT.as_secs())
    }

    pub fn violate(&self, violation: String) {
        eprintln!("VIOLATION: {violation}");
        self.violations.lock().expect("nobody panics while holding the violations").push(violation);
    }
}

/// In the name of everybody here, and nowhere else.
pub const PERSON_NAME: &str = "Zebulon Quarterm";
/// In the mail address of everybody here, and nowhere else.
pub const PERSON_DOMAIN: &str = "learners.example";

fn is_passing(answer: &Answer) -> bool {
    answer.status >= 500 || matches!(answer.status, 408 | 409 | 429)
}

fn registration(learner: &Learner) -> Ask {
    let body = json!({
        "person_id": learner.id, "name": learner.name, "email": learner.email, "language": "en-US",
        "time_zone": "America/New_York", "roles": ["learner"],
    });
    Ask::post("/people", body)
}

/// What became of an operation, as its row tells.
struct Outcome {
    succeeded: bool,
    code: String,
}

/// How many flows of each kind ended how. What was accepted and is unknown, or ended otherwise than it must, is a violation.
///
/// # Errors
/// When the rows are not what they should be.
pub fn outcomes(load: &Load, rows: &[Value]) -> Result<BTreeMap<String, usize>> {
    let mut known = BTreeMap::new();
    for row in rows {
        let id: Uuid = row["operation_id"].as_str().context("an operation has an id")?.parse()?;
        let code = row["code"].as_str().unwrap_or("succeeded").to_owned();
        known.insert(id, Outcome { succeeded: row["succeeded"] == true, code });
    }
    let mut counts = BTreeMap::new();
    for accepted in load.accepted.lock().expect("nobody panics while holding the answers").iter() {
        let Accepted { kind, operation, must_succeed, .. } = accepted;
        let Some(outcome) = known.get(operation) else {
            load.violate(format!("{kind} was accepted as {operation}, and nobody knows of it"));
            continue;
        };
        if must_succeed.is_some_and(|must| must != outcome.succeeded) {
            load.violate(format!("{kind} {operation} ended as {}", outcome.code));
        }
        *counts.entry(format!("{kind}: {}", outcome.code)).or_default() += 1;
    }
    Ok(counts)
}
