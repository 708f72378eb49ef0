//! What has to be there before anybody can enroll: made through the public API, as staff would.

use std::time::Duration;

use anyhow::{Result, ensure};
use daybook_service::ids;
use daybook_service::settings::Settings;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::demo::client::Client;
use crate::cli::token::signed;

/// How long tokens are valid; longer than any benchmark takes.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_secs(4 * 60 * 60);
const SCOPES: &str = "organizations:write organizations:any people:write courses:write";

/// Somebody who may make everything.
pub(super) struct Staff {
    client: Client,
    token: String,
}

impl Staff {
    /// # Errors
    /// When no token can be signed.
    pub(super) fn new(settings: &Settings) -> Result<Self> {
        let token = signed(settings, ids::random(), None, SCOPES, TOKEN_LIFETIME)?;
        Ok(Self { client: Client::new(&settings.http.public_url)?, token })
    }

    /// # Errors
    /// When it is refused.
    pub(super) async fn organization(&self) -> Result<Uuid> {
        let id = ids::random();
        let body = json!({
            "organization_id": id,
            "name": "Measured",
            "country": "US",
            "currency": "USD",
            "time_zone": "America/New_York",
        });
        self.made("/organizations", id, body).await
    }

    /// # Errors
    /// When it is refused.
    pub(super) async fn course(&self, organization: Uuid) -> Result<Uuid> {
        let id = ids::random();
        let body = json!({
            "course_id": id,
            "organization_id": organization,
            "title": "A course that is measured",
            "summary": "What it costs to take part.",
            "price": price(),
            "credits_hundredths": 100,
            "credit_type": "ama-pra-1",
            "refund_days": 14,
            "lessons": [],
        });
        self.made("/courses", id, body).await
    }

    /// # Errors
    /// When it is refused.
    pub(super) async fn learner(&self) -> Result<Uuid> {
        let id = ids::random();
        let body = json!({
            "person_id": id,
            "name": "Learner",
            // With its dashes, by which an id is told from the number of a card.
            "email": format!("{id}@example.org"),
            "language": "en-US",
            "time_zone": "America/New_York",
            "roles": ["learner"],
        });
        self.made("/people", id, body).await
    }

    async fn made(&self, path: &str, id: Uuid, body: Value) -> Result<Uuid> {
        let ended = self.client.command(path, &self.token, &body).await?;
        ensure!(ended.is_good(), "{path} was refused: {}", ended.code());
        Ok(id)
    }
}

/// What every course costs.
pub(super) fn price() -> Value {
    json!({ "amount_minor": 4_900, "currency": "USD" })
}
