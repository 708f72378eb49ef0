//! What a person wants to be told, and when.

use daybook_events::SetNotificationPreferences;
use daybook_facade::{Asked, CommandRoute, Problem, command};
use http::Method;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::people::SELF_OR_STAFF;

pub(crate) fn routes() -> Vec<CommandRoute> {
    let path = "/people/{person_id}/notification-preferences";
    vec![command(Method::PUT, path, SELF_OR_STAFF, "Sets what a person wants to be told, and when.", set)]
}

/// All of a person's preferences.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetNotificationPreferences)]
struct Preferences {
    /// Language of the texts, a BCP 47 tag.
    #[schema(example = "en-US")]
    language: String,
    /// IANA time zone of the quiet hours.
    #[schema(example = "America/New_York")]
    time_zone: String,
    /// Start of the quiet hours in minutes after local midnight.
    quiet_from_minute: Option<i32>,
    /// End of the quiet hours in minutes after local midnight; may lie before the start.
    quiet_until_minute: Option<i32>,
    /// Classes that the person does not want: welcome, reminder, digest.
    #[serde(default)]
    opted_out: Vec<String>,
}

async fn set(asked: Asked<Preferences>) -> Result<SetNotificationPreferences, Problem> {
    let Asked { body, about } = asked;
    Ok(SetNotificationPreferences {
        recipient_id: about.id("person_id")?,
        language: body.language,
        time_zone: body.time_zone,
        quiet_from_minute: body.quiet_from_minute,
        quiet_until_minute: body.quiet_until_minute,
        opted_out: body.opted_out,
    })
}
