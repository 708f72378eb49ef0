//! Values that several requests have.

use daybook_events::{Currency, Money, Timestamp};
use serde::{Deserialize, Deserializer, de};
use utoipa::ToSchema;

/// An amount of money.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Money)]
pub(crate) struct MoneyBody {
    /// In minor units of the currency: cents for USD.
    amount_minor: i64,
    /// ISO 4217.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
}

impl From<MoneyBody> for Money {
    fn from(body: MoneyBody) -> Self {
        Money::new(body.amount_minor, body.currency)
    }
}

/// A moment in RFC 3339 form.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let is_not = || de::Error::custom("not a time: expected RFC 3339, such as 2026-03-01T12:00:00Z");
        text.parse().map(Moment).map_err(|_| is_not())
    }
}
