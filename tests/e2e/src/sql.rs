//! The database, by `psql`: a client that is not ours.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A database, and the schema that names are looked up in.
#[derive(Clone)]
pub struct Sql {
    url: String,
    password: String,
    schema_prefix: String,
}

impl Sql {
    /// From `postgres://role:password@host:port/database`.
    ///
    /// # Panics
    /// When the address has no password.
    pub fn new(url: &str, schema_prefix: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("an address has a scheme");
        let (account, place) = rest.rsplit_once('@').expect("the stack's address names an account");
        let (role, password) = account.split_once(':').expect("the stack's account has a password");
        Self {
            url: format!("{scheme}://{role}@{place}"),
            password: password.to_owned(),
            schema_prefix: schema_prefix.to_owned(),
        }
    }

    /// What a query answers, a JSON object per row. Tables are those of the read schema.
    ///
    /// # Errors
    /// When the database refuses it or is out of reach.
    pub fn rows(&self, query: &str) -> Result<Vec<Value>> {
        let wrapped = format!("SELECT coalesce(json_agg(t), '[]'::json) FROM ({query}) t");
        let text = self.run(&wrapped)?;
        serde_json::from_str(text.trim()).with_context(|| format!("the answer to {query}"))
    }

    /// The one number that a query answers.
    ///
    /// # Errors
    /// As [`Sql::rows`].
    pub fn number(&self, query: &str) -> Result<i64> {
        let text = self.run(query)?;
        text.trim().parse().with_context(|| format!("{query} answers {text:?}"))
    }

    /// Runs a statement. Answers what `psql` prints.
    ///
    /// # Errors
    /// As [`Sql::rows`].
    pub fn run(&self, statement: &str) -> Result<String> {
        let output = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url, "-c", statement])
            .env("PGPASSWORD", &self.password)
            .env("PGOPTIONS", format!("-c search_path={}", self.schema("read")))
            .output()
            .context("psql does not start")?;
        ensure!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The full name of a schema of this platform.
    pub fn schema(&self, name: &str) -> String {
        format!("{}{name}", self.schema_prefix)
    }

    /// Everything in the schemas of this platform, as text.
    ///
    /// # Errors
    /// When it cannot be dumped.
    pub fn dump(&self) -> Result<Vec<u8>> {
        let output = Command::new("pg_dump")
            .args(["--data-only", "--schema", &format!("{}*", self.schema_prefix), "-d", &self.url])
            .env("PGPASSWORD", &self.password)
            .output()
            .context("pg_dump does not start")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }
}
