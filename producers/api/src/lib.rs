#![doc = include_str!("../README.md")]

mod courses;
mod enrollments;
mod ledger;
mod notifications;
mod organizations;
mod payments;
mod people;
mod signature;
mod values;
mod webhook;

use std::sync::Arc;

use axum::Router;
use daybook_facade::{BuildError, CommandRoute, Facade, ReadMount, Secret, Vault};
use serde_json::Value;

pub use people::PERSON_ERASED;
pub use signature::{SIGNATURE, TOLERANCE_SECONDS, sign};
pub use webhook::{NOTICE_MAX_BYTES, NOTICE_TOPIC, PAYMENT_BY_REFERENCE};

/// What the API is given.
#[derive(Clone)]
pub struct Deps {
    /// What each façade is given.
    pub facade: daybook_facade::Deps,
    /// Seals contact data.
    pub vault: Arc<Vault>,
    /// Signs the payment provider's notices.
    pub webhook_secret: Secret<String>,
    /// The read routes of all projections.
    pub reads: Vec<ReadMount>,
}

/// The API's router.
///
/// # Errors
/// For settings that can't be.
///
/// # Panics
/// When a read route has the method and path of another route.
pub fn router(deps: Deps) -> Result<Router, BuildError> {
    facade(deps).router()
}

/// The API's description, OpenAPI 3.1.
pub fn description(deps: Deps) -> Value {
    facade(deps).description()
}

fn facade(deps: Deps) -> Facade {
    let webhook = webhook::router(&deps.facade, deps.webhook_secret);
    Facade::new("Daybook", deps.facade).commands(commands(&deps.vault)).reads(deps.reads).others(webhook)
}

/// Every command that can be given over HTTP.
fn commands(vault: &Arc<Vault>) -> Vec<CommandRoute> {
    [
        organizations::routes(),
        people::routes(vault),
        courses::routes(),
        enrollments::routes(),
        payments::routes(),
        ledger::routes(),
        notifications::routes(),
    ]
    .concat()
}
