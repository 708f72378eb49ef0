//! The adapter for providers that speak Stripe's API: PaymentIntents with manual capture, and Refunds.

mod form;
mod transport;
pub(crate) mod wire;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use daybook_consumer::{Attempt, Perform};
use serde::de::DeserializeOwned;

use crate::effects::{OfPayment, PROVIDER_ERROR};
use crate::{Payments, ProviderAnswer, ProviderRequest};
use transport::{Answer, Transport};

pub use transport::{Error, Settings};

/// Idempotency keys that are tried for one request, one after the other, where the provider keeps a failure.
pub const KEYS_MAX: u32 = 5;
/// Requests whose kept failures are remembered, to wait until a search can be trusted.
const REMEMBERED_MAX: usize = 10_000;
const REFUNDS_PAGE: &str = "100";

/// See the module.
pub struct Stripe {
    transport: Transport,
    settle: Duration,
    /// Since when a kept failure has been seen, by idempotency key.
    kept_since: Mutex<HashMap<String, Instant>>,
}

/// What one call came to.
enum Called {
    Ended(Attempt<ProviderAnswer>),
    /// The provider has kept an internal error under this key: it will never answer otherwise.
    KeptFailure,
}

impl Stripe {
    /// # Errors
    /// When the address is no URL or the HTTP client cannot be made.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let settle = settings.settle;
        Ok(Self { transport: Transport::new(settings)?, settle, kept_since: Mutex::default() })
    }

    async fn call(&self, request: &ProviderRequest, key: &str) -> Called {
        let (path, form) = form::of(request);
        match self.transport.post(&path, form, key).await {
            Err(attempt) => Called::Ended(attempt),
            Ok(answer) if answer.is_kept_failure() => Called::KeptFailure,
            Ok(answer) => Called::Ended(self.read(request, &answer).await),
        }
    }

    async fn read(&self, request: &ProviderRequest, answer: &Answer) -> Attempt<ProviderAnswer> {
        match answer.status {
            200..300 => self.read_success(request, answer).await,
            409 => Attempt::Refused { code: "provider-busy" },
            429 => Attempt::Refused { code: "provider-rate-limit" },
            401 | 403 => Attempt::Refused { code: "provider-unauthorized" },
            400 | 402 | 404 => self.read_failure(request, answer).await,
            _ => Attempt::Unknown { code: PROVIDER_ERROR },
        }
    }

    async fn read_success(&self, request: &ProviderRequest, answer: &Answer) -> Attempt<ProviderAnswer> {
        let read = match request {
            ProviderRequest::Authorize(_) => answer.json().and_then(|intent| wire::authorization(&intent)),
            ProviderRequest::Refund { .. } => answer.json().map(|refund| refund_answer(&refund)),
            ProviderRequest::Capture(of) => return self.found(capture_answer, answer.json(), of).await,
            ProviderRequest::Void(of) => return self.found(void_answer, answer.json(), of).await,
        };
        read.map_or(Attempt::Unknown { code: "provider-answer-unreadable" }, Attempt::Answered)
    }

    /// Takes what an intent says, and asks for it once more, with all its fields, where it does not say enough.
    async fn found(
        &self,
        says: fn(&wire::Intent) -> Option<ProviderAnswer>,
        intent: Option<wire::Intent>,
        of: &OfPayment,
    ) -> Attempt<ProviderAnswer> {
        match intent.as_ref().and_then(says) {
            Some(answer) => Attempt::Answered(answer),
            None => match self.intent(of).await {
                Ok(intent) => {
                    says(&intent).map_or(Attempt::Unknown { code: "provider-answer-incomplete" }, Attempt::Answered)
                }
                Err(attempt) => attempt,
            },
        }
    }

    /// The provider will not, as things are. How things are may be our own doing, by an earlier attempt: look first.
    async fn read_failure(&self, request: &ProviderRequest, answer: &Answer) -> Attempt<ProviderAnswer> {
        let Some(wire::Failure { error }) = answer.json() else {
            return Attempt::Unknown { code: "provider-answer-unreadable" };
        };
        if error.kind == "idempotency_error" {
            return Attempt::Unknown { code: "idempotency-key-reused" };
        }
        if let ProviderRequest::Authorize(_) = request {
            let code = wire::decline_code(&error).to_owned();
            let reference = error.payment_intent.map(|intent| intent.id);
            return Attempt::Answered(ProviderAnswer::Declined { code, reference });
        }
        match self.find(request).await {
            Attempt::NotFound => Attempt::Answered(ProviderAnswer::Failed { code: failure_code(&error).to_owned() }),
            attempt => attempt,
        }
    }

    async fn find(&self, request: &ProviderRequest) -> Attempt<ProviderAnswer> {
        match request {
            ProviderRequest::Authorize(ask) => {
                let query = format!("metadata['payment_id']:'{}'", ask.payment_id);
                let list = self.get("/v1/payment_intents/search", &[("query", &query)]).await;
                first(list, best_authorization)
            }
            ProviderRequest::Capture(of) => first(self.intent(of).await, |intent| capture_answer(&intent)),
            ProviderRequest::Void(of) => first(self.intent(of).await, |intent| void_answer(&intent)),
            ProviderRequest::Refund { of, refund_id, .. } => {
                let parameters = [("payment_intent", of.reference.as_str()), ("limit", REFUNDS_PAGE)];
                let list = self.get::<wire::List<wire::Refund>>("/v1/refunds", &parameters).await;
                let id = refund_id.to_string();
                first(list, |list| {
                    let is_it = |refund: &&wire::Refund| refund.metadata.get("refund_id") == Some(&id);
                    list.data.iter().find(is_it).map(refund_answer)
                })
            }
        }
    }

    async fn intent(&self, of: &OfPayment) -> Result<wire::Intent, Attempt<ProviderAnswer>> {
        let path = format!("/v1/payment_intents/{}", of.reference);
        self.get(&path, &[("expand[]", form::EXPAND_FEE)]).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, Attempt<ProviderAnswer>> {
        let answer = self.transport.get(path, parameters).await?;
        let unreadable = Attempt::Unknown { code: "provider-answer-unreadable" };
        match answer.status {
            200..300 => answer.json().ok_or(unreadable),
            _ => Err(Attempt::Unknown { code: "provider-lookup-failed" }),
        }
    }

    /// Whether a search that finds nothing proves that nothing was done under this key. What hangs on a known
    /// payment is read from that payment, which is never behind.
    fn is_settled(&self, request: &ProviderRequest, key: &str) -> bool {
        let ProviderRequest::Authorize(_) = request else { return true };
        let mut kept_since = self.kept_since.lock().unwrap_or_else(PoisonError::into_inner);
        if kept_since.len() >= REMEMBERED_MAX && !kept_since.contains_key(key) {
            // Forgetting only means to wait anew.
            kept_since.clear();
        }
        kept_since.entry(key.to_owned()).or_insert_with(Instant::now).elapsed() >= self.settle
    }
}

impl Perform<Payments> for Stripe {
    async fn perform(&self, request: &ProviderRequest, key: &str) -> Attempt<ProviderAnswer> {
        for place in 1..=KEYS_MAX {
            let key = if place == 1 { key.to_owned() } else { format!("{key}~{place}") };
            match self.call(request, &key).await {
                Called::Ended(attempt) => return attempt,
                Called::KeptFailure => match self.find(request).await {
                    Attempt::NotFound if self.is_settled(request, &key) => {}
                    Attempt::NotFound => return Attempt::Unknown { code: "provider-not-settled" },
                    attempt => return attempt,
                },
            }
        }
        Attempt::Unknown { code: PROVIDER_ERROR }
    }

    async fn look_up(&self, request: &ProviderRequest, _key: &str) -> Attempt<ProviderAnswer> {
        self.find(request).await
    }
}

fn first<T>(
    found: Result<T, Attempt<ProviderAnswer>>,
    says: impl FnOnce(T) -> Option<ProviderAnswer>,
) -> Attempt<ProviderAnswer> {
    match found {
        Ok(found) => says(found).map_or(Attempt::NotFound, Attempt::Answered),
        Err(attempt) => attempt,
    }
}

/// Of several (a key was forgotten), one that holds the money.
fn best_authorization(list: wire::List<wire::Intent>) -> Option<ProviderAnswer> {
    let mut answers: Vec<_> = list.data.iter().filter_map(wire::authorization).collect();
    let good = answers.iter().position(|answer| matches!(answer, ProviderAnswer::Authorized { .. }));
    match good {
        Some(position) => Some(answers.swap_remove(position)),
        None => answers.pop(),
    }
}

fn capture_answer(intent: &wire::Intent) -> Option<ProviderAnswer> {
    match intent.status.as_str() {
        "succeeded" => intent.capture(),
        "canceled" if intent.cancellation_reason.as_deref() == Some("automatic") => failed("authorization-expired"),
        "canceled" => failed("already-canceled"),
        _ => None,
    }
}

fn void_answer(intent: &wire::Intent) -> Option<ProviderAnswer> {
    match intent.status.as_str() {
        "canceled" => Some(ProviderAnswer::Voided),
        "succeeded" => failed("already-captured"),
        _ => None,
    }
}

/// A refund that is pending is on its way.
fn refund_answer(refund: &wire::Refund) -> ProviderAnswer {
    match refund.status.as_str() {
        "failed" | "canceled" => ProviderAnswer::Failed { code: PROVIDER_ERROR.to_owned() },
        _ => ProviderAnswer::Refunded,
    }
}

fn failed(code: &str) -> Option<ProviderAnswer> {
    Some(ProviderAnswer::Failed { code: code.to_owned() })
}

fn failure_code(error: &wire::ErrorBody) -> &'static str {
    match error.code.as_deref() {
        Some("charge_already_refunded") => "already-refunded",
        Some("charge_disputed") => "charge-disputed",
        Some("balance_insufficient" | "insufficient_funds") => "insufficient-balance",
        Some("charge_expired_for_capture") => "authorization-expired",
        _ => PROVIDER_ERROR,
    }
}
