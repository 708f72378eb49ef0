//! The ledger: corrections by finance.

use daybook_events::{PersonId, ReverseEntry};
use daybook_facade::{Access, Asked, CommandRoute, Problem, command};
use http::Method;
use serde::Deserialize;
use utoipa::ToSchema;

/// Whoever checks for the organization whose journal it is.
const REVERSE: Access =
    Access::Owner { parameter: "organization_id", claim: "tenant", own: "ledger:reverse", any: "organizations:any" };

pub(crate) fn routes() -> Vec<CommandRoute> {
    let path = "/organizations/{organization_id}/entries/{entry_id}/reversal";
    vec![command(Method::POST, path, REVERSE, "Reverses an entry that another person asked to have reversed.", reverse)]
}

/// Who wants it reversed, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReverseEntry)]
struct Reversal {
    /// Who asked for it; must be somebody else than who sends this.
    #[schema(value_type = Uuid)]
    requested_by: PersonId,
    /// Nobody's personal data.
    reason: String,
}

async fn reverse(asked: Asked<Reversal>) -> Result<ReverseEntry, Problem> {
    let Asked { body, about } = asked;
    Ok(ReverseEntry {
        organization_id: about.id("organization_id")?,
        entry_id: about.id("entry_id")?,
        reversal_id: about.new_id("reversal"),
        requested_by: body.requested_by,
        reason: body.reason,
    })
}
