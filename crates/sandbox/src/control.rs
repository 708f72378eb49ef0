//! The `/sandbox` routes: faults, disputes, the judge's list, counts. No fault strikes them.

use crate::books::{Account, Books};
use crate::cards;
use crate::decide::{Command, Fees};
use crate::error::ApiError;
use crate::faults::{Fault, Faults};
use crate::http::{App, Asked, read_body};
use crate::provider::{Reply, Settings};
use crate::request::MAX_AMOUNT;
use crate::wire;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MAX_BOOK_ENTRIES: usize = 10_000;
const MAX_KEY_LIFETIME_S: u64 = 30 * 24 * 60 * 60;
const DISPUTE_REASONS: &[&str] = &["fraudulent", "general", "product_not_received", "duplicate", "unrecognized"];

pub fn router() -> Router<App> {
    Router::new()
        .route("/faults", get(show_settings).put(change_settings))
        .route("/disputes", post(open_dispute))
        .route("/disputes/{id}/close", post(close_dispute))
        .route("/books", get(books))
        .route("/stats", get(stats))
}

/// A change of settings: what isn't named stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    seed: Option<u64>,
    latency_ms: Option<u64>,
    rates: Option<BTreeMap<Fault, f64>>,
    key_lifetime_seconds: Option<u64>,
    fees: Option<Fees>,
}

impl Change {
    fn onto(self, old: Settings) -> Result<Settings, ApiError> {
        let faults = Faults {
            seed: self.seed.unwrap_or(old.faults.seed),
            latency_ms: self.latency_ms.unwrap_or(old.faults.latency_ms),
            rates: self.rates.unwrap_or(old.faults.rates),
        };
        faults.check().map_err(|error| ApiError::invalid("faults_invalid", &error.to_string()))?;
        let fees = self.fees.unwrap_or(old.fees);
        if !fees.check() {
            return Err(ApiError::parameter("parameter_invalid", "fees"));
        }
        let key_lifetime_ms = match self.key_lifetime_seconds {
            Some(seconds) if seconds <= MAX_KEY_LIFETIME_S => seconds * 1_000,
            Some(_) => return Err(ApiError::parameter("parameter_invalid", "key_lifetime_seconds")),
            None => old.key_lifetime_ms,
        };
        Ok(Settings { faults, key_lifetime_ms, fees })
    }
}

fn show(settings: &Settings) -> Value {
    json!({
        "seed": settings.faults.seed,
        "latency_ms": settings.faults.latency_ms,
        "rates": settings.faults.rates,
        "key_lifetime_seconds": settings.key_lifetime_ms / 1_000,
        "fees": settings.fees,
    })
}

async fn show_settings(State(app): State<App>) -> Reply {
    Reply::json(200, &show(&app.provider.settings()))
}

async fn change_settings(State(app): State<App>, body: Body) -> Reply {
    let changed = match read_json::<Change>(body).await {
        Ok(change) => change.onto(app.provider.settings()),
        Err(error) => Err(error),
    };
    match changed {
        Ok(settings) => {
            let shown = show(&settings);
            app.provider.change_settings(settings);
            Reply::json(200, &shown)
        }
        Err(error) => Reply::error(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDispute {
    payment_intent: String,
    /// Minor units; all that is left of the charge if absent.
    amount: Option<u64>,
    reason: Option<String>,
}

impl NewDispute {
    fn command(self) -> Result<Command, ApiError> {
        let reason = self.reason.unwrap_or_else(|| "general".to_owned());
        if !DISPUTE_REASONS.contains(&reason.as_str()) {
            return Err(ApiError::parameter("parameter_invalid", "reason"));
        }
        if self.amount.is_some_and(|amount| !(1..=MAX_AMOUNT).contains(&amount)) {
            return Err(ApiError::parameter("parameter_invalid", "amount"));
        }
        Ok(Command::OpenDispute { intent: self.payment_intent, amount: self.amount, reason })
    }
}

async fn open_dispute(State(app): State<App>, body: Body) -> Reply {
    match read_json::<NewDispute>(body).await.and_then(NewDispute::command) {
        Ok(command) => app.control(command).await,
        Err(error) => Reply::error(&error),
    }
}

async fn close_dispute(State(app): State<App>, Path(id): Path<String>, asked: Asked) -> Reply {
    match asked.form.text("won") {
        Some(won @ ("true" | "false")) => app.control(Command::CloseDispute { dispute: id, won: won == "true" }).await,
        _ => Reply::error(&ApiError::parameter("parameter_missing", "won")),
    }
}

async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = read_body(body).await?;
    if cards::holds_card_number(&String::from_utf8_lossy(&bytes)) {
        return Err(ApiError::card_number_refused());
    }
    // The parser's own text might repeat what was sent.
    serde_json::from_slice(&bytes).map_err(|_| ApiError::invalid("body_invalid", "The body is not the expected JSON."))
}

/// Every payment in the order of creation, `starting_after` one of them, and the totals of all.
async fn books(State(app): State<App>, asked: Asked) -> Reply {
    let look = |books: &Books| {
        asked.form.expect_only(&["starting_after"])?;
        let start = match asked.form.text("starting_after") {
            Some(id) => books.intents.position(id).ok_or_else(|| ApiError::missing("payment intent"))? + 1,
            None => 0,
        };
        let behind = &books.intents.rows()[start..];
        let page = &behind[..behind.len().min(MAX_BOOK_ENTRIES)];
        let payments: Vec<Value> = page.iter().map(|intent| wire::book_entry(books, intent)).collect();
        let mut totals: BTreeMap<&str, Account> = BTreeMap::new();
        for intent in books.intents.rows() {
            totals.entry(&intent.currency).or_default().add(&Account::of(books, intent));
        }
        Ok(json!({ "payments": payments, "has_more": page.len() < behind.len(), "totals": totals }))
    };
    app.provider.look(look).await
}

async fn stats(State(app): State<App>) -> Reply {
    Reply::json(200, &json!(app.provider.stats()))
}
