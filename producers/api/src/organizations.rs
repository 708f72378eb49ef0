//! Organizations.

use daybook_events::{Currency, OrganizationId, RegisterOrganization};
use daybook_facade::{Access, Asked, CommandRoute, Problem, command};
use http::Method;
use serde::Deserialize;
use utoipa::ToSchema;

pub(crate) fn routes() -> Vec<CommandRoute> {
    let write = Access::Scope("organizations:write");
    vec![command(Method::POST, "/organizations", write, "Registers an organization.", register)]
}

/// An organization that publishes courses.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RegisterOrganization)]
struct Registration {
    /// Made from the request when it is not given.
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    /// Its registered name.
    name: String,
    /// ISO 3166-1 alpha-2 code of the country that it is registered in.
    #[schema(example = "US")]
    country: String,
    /// Currency in which it sells, ISO 4217.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// IANA time zone of its business day.
    #[schema(example = "America/New_York")]
    time_zone: String,
}

async fn register(asked: Asked<Registration>) -> Result<RegisterOrganization, Problem> {
    let Asked { body, about } = asked;
    Ok(RegisterOrganization {
        organization_id: body.organization_id.unwrap_or_else(|| about.new_id("organization")),
        name: body.name,
        country: body.country,
        currency: body.currency,
        time_zone: body.time_zone,
    })
}
