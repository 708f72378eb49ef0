//! The aggregate given what happened, the adapter against the sandbox provider over real HTTP.

mod adapter;
mod decisions;
mod fixtures;
mod stripe_mock;
mod webhooks;
