//! A client of the public API, as a careful one is written: idempotency keys, waiting, repeating.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use daybook_service::ids;
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

/// How long an answer may be held back for the outcome, in seconds.
const PREFER_WAIT_SECONDS: u64 = 20;
/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(40);
/// How long an operation may take from the first request on.
const OPERATION_LIMIT: Duration = Duration::from_secs(300);
/// How often an operation is asked for that is not over yet.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How often a request is repeated that may not have got through.
const TRIES_MAX: u32 = 8;
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// What became of a command.
#[derive(Clone, Debug)]
pub struct Ended {
    pub status: String,
    code: Option<String>,
    /// From the first request to the outcome.
    pub took: Duration,
}

impl Ended {
    pub fn is_good(&self) -> bool {
        self.status == "succeeded"
    }

    /// Why not, or how it stands.
    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or(&self.status)
    }

    #[cfg(test)]
    pub fn of(status: &str, code: Option<&str>, took: Duration) -> Self {
        Self { status: status.to_owned(), code: code.map(str::to_owned), took }
    }
}

#[derive(Deserialize)]
struct Operation {
    status: String,
    problem: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
}

impl Operation {
    fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed")
    }
}

impl Client {
    pub fn new(public_url: &str) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(REQUEST_LIMIT).build()?;
        Ok(Self { http, base: public_url.trim_end_matches('/').to_owned() })
    }

    pub async fn is_ready(&self) -> Result<()> {
        let answer = self.http.get(format!("{}/readyz", self.base)).send().await?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "it answers {status}: {}", answer.text().await?.trim());
        Ok(())
    }

    /// Gives a command and waits for what becomes of it.
    ///
    /// # Errors
    /// When the API refuses the request itself, or cannot be reached for too long.
    pub async fn command(&self, path: &str, token: &str, body: &Value) -> Result<Ended> {
        let begun = Instant::now();
        let key = ids::random().to_string();
        let request = || {
            let request = self.http.post(format!("{}/api/v1{path}", self.base)).bearer_auth(token).json(body);
            request.header("Idempotency-Key", &key).header("Prefer", format!("wait={PREFER_WAIT_SECONDS}"))
        };
        let (location, mut operation) = self.send(request).await.with_context(|| format!("POST {path}"))?;
        let address = format!("{}{}", self.base, location.context("an accepted command has no Location")?);
        while !operation.is_over() && begun.elapsed() < OPERATION_LIMIT {
            sleep(ASK_EVERY).await;
            (_, operation) = self.send(|| self.http.get(&address).bearer_auth(token)).await?;
        }
        let code = operation.problem.map(|problem| problem.code);
        Ok(Ended { status: operation.status, code, took: begun.elapsed() })
    }

    /// Repeats what may not have got through: with one idempotency key that is safe.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<(Option<String>, Operation)> {
        let mut failed = String::new();
        for _ in 0..TRIES_MAX {
            match request().send().await {
                Ok(answer) if answer.status().is_success() => {
                    let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
                    let location = location.map(|location| path_of(location).to_owned());
                    return Ok((location, answer.json().await?));
                }
                Ok(answer) if is_passing(answer.status()) => failed = answer.status().to_string(),
                Ok(answer) => bail!("{}: {}", answer.status(), answer.text().await?.trim()),
                Err(error) => failed = error.without_url().to_string(),
            }
            sleep(TRY_AGAIN).await;
        }
        bail!("it did not get through in {TRIES_MAX} tries: {failed}")
    }
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// A location may be a whole address or a path.
fn path_of(location: &str) -> &str {
    let Some((_, rest)) = location.split_once("://") else { return location };
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_taken_as_address_or_path() {
        assert_eq!(path_of("/api/v1/operations/1"), "/api/v1/operations/1");
        assert_eq!(path_of("http://127.0.0.1:8080/api/v1/operations/1"), "/api/v1/operations/1");
    }
}
