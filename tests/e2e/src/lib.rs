#![doc = include_str!("../README.md")]

pub mod api;
pub mod book;
pub mod collector;
pub mod judge;
pub mod kafka;
pub mod mail;
pub mod platform;
pub mod provider;
pub mod scene;
pub mod sql;
pub mod until;

pub use api::{Answer, Api, Ask, Claims};
pub use platform::Platform;
pub use scene::{Learner, Offer, Scene};
pub use until::until;

use daybook_events::{Currency, Money};

/// An amount in US dollars, in cents.
pub const fn usd(cents: i64) -> Money {
    Money::new(cents, Currency::USD)
}
