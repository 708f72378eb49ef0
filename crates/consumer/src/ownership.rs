use daybook_engine::Context;
use uuid::Uuid;

/// The scope of those who may act for every organization: the platform's own staff.
pub const ANY_ORGANIZATION: &str = "organizations:any";

/// Whether a command was sent on behalf of this organization, or by someone who may act for any.
pub fn acts_for(cx: &Context, organization: impl Into<Uuid>) -> bool {
    cx.tenant() == Some(organization.into()) || cx.actor().is_some_and(|actor| actor.may(ANY_ORGANIZATION))
}
