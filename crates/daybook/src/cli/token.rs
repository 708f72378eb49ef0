//! `daybook token`

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use daybook_facade::{Claims, mint};
use daybook_service::settings::{Auth, Settings};
use daybook_service::{Clock, SystemClock};
use uuid::Uuid;

use super::{Outcome, Place};
use crate::output;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Whose token it is.
    #[arg(long, value_name = "UUID")]
    person: Uuid,
    /// The organization on whose behalf they act.
    #[arg(long, value_name = "UUID")]
    organization: Option<Uuid>,
    /// What it allows: words separated by spaces.
    #[arg(long, value_name = "WORDS")]
    scope: String,
    /// How long it is valid, such as 90s, 15m, 12h or 7d.
    #[arg(long, default_value = "1h", value_parser = span)]
    ttl: Duration,
}

pub(crate) fn carry_out(place: &Place, arguments: &Arguments) -> Result<Outcome> {
    let settings = place.settings(&[])?;
    let Arguments { person, organization, scope, ttl } = arguments;
    output::line(&signed(&settings, *person, *organization, scope, *ttl)?)?;
    Ok(Outcome::Good)
}

/// A token by the shared secret of the settings.
///
/// # Errors
/// When the settings have none: then tokens come from the issuer.
pub(crate) fn signed(
    settings: &Settings,
    person: Uuid,
    organization: Option<Uuid>,
    scope: &str,
    ttl: Duration,
) -> Result<String> {
    let Auth { issuer, audience, shared_secret, .. } = &settings.auth;
    let secret = shared_secret.as_ref().context(
        "auth.shared_secret is not set, so tokens are signed by the issuer and nobody else; tokens of one's own are for development",
    )?;
    let now = SystemClock::default().wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let claims = Claims {
        iss: issuer.clone(),
        aud: audience.clone(),
        sub: person,
        org: organization,
        scope: scope.to_owned(),
        iat: seconds(now),
        nbf: None,
        exp: seconds(now + ttl),
    };
    Ok(mint(&claims, secret)?)
}

/// Reads `90s`, `15m`, `12h`, `7d`.
///
/// # Errors
/// When it is none of these.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time: write for example 90s, 15m, 12h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds_each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * seconds_each))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in ["", "s", "1", "1w", "-1s", "1é", "99999999999s"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
