//! What a call is struck by, and what it is answered: pure functions that `provider` calls under its lock.

use crate::books::Books;
use crate::decide::{Command, RefundTarget, Shown};
use crate::error::ApiError;
use crate::faults::{self, Fault, Operation, Plan, Wish};
use crate::provider::Call;
use crate::request;
use crate::wire::{self, Expand};
use serde_json::Value;
use serde_json::value::RawValue;

/// The faults that strike instead of the work.
pub fn refusal(plan: &Plan) -> Option<ApiError> {
    if plan.has(Fault::RateLimit) {
        return Some(ApiError::rate_limited());
    }
    plan.has(Fault::Fail).then(ApiError::internal)
}

/// What the request asks for itself, and what its payment asked for when it was made.
pub fn asked(books: &Books, call: &Call, operation: Operation) -> Plan {
    let mut plan = Plan::default();
    for wish in &call.wishes {
        plan.merge(wish.for_carrier(Some(operation)));
    }
    for wish in earlier_wishes(books, &call.command) {
        plan.merge(wish.for_later(operation));
    }
    plan
}

fn earlier_wishes(books: &Books, command: &Command) -> Vec<Wish> {
    let id = match command {
        Command::Confirm { intent, .. } | Command::Capture { intent, .. } | Command::Cancel { intent, .. } => intent,
        Command::Refund(new) => match &new.target {
            RefundTarget::Intent(intent) => intent,
            RefundTarget::Charge(charge) => match books.charges.get(charge) {
                Some(charge) => &charge.intent,
                None => return Vec::new(),
            },
        },
        Command::Create(_) | Command::OpenDispute { .. } | Command::CloseDispute { .. } => return Vec::new(),
    };
    let Some(intent) = books.intents.get(id) else { return Vec::new() };
    let token = intent.payment_method.as_deref().map(|token| faults::split_token(token).1);
    let lists = intent.metadata.get(request::FAULT_KEY).map(String::as_str).into_iter().chain(token);
    // They were checked when the payment was made.
    lists.filter_map(|list| Wish::parse(list).ok()).collect()
}

/// Status and body of what a decision shows.
pub fn show(books: &Books, shown: Shown, expand: &Expand) -> (u16, Value) {
    match shown {
        Shown::Intent(id) => (200, books.intents.get(&id).map(|row| wire::intent(books, row, expand)).into()),
        Shown::Refund(id) => (200, books.refunds.get(&id).map(|row| wire::refund(books, row, expand)).into()),
        Shown::Dispute(id) => (200, books.disputes.get(&id).map(|row| wire::dispute(books, row)).into()),
        Shown::Declined { intent, decline } => {
            let row = books.intents.get(&intent);
            let charge = row.and_then(|row| row.charge.clone());
            let shown = row.map(|row| wire::intent(books, row, expand)).into();
            error_answer(&ApiError::declined(&decline, charge, shown))
        }
    }
}

pub fn error_answer(error: &ApiError) -> (u16, Value) {
    (error.status, error.body())
}

pub fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("a JSON value is JSON")
}
