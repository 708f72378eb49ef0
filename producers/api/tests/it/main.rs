//! The API over memory instead of Kafka and Postgres: every rule of the façade, on the real routes.

mod commands;
mod form;
mod limits;
mod operations;
mod reads;
mod refusals;
mod support;
mod webhooks;
