//! The database, by `psql`: a client that is not ours.

use std::io::Write as _;
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
        let mut psql = self.client("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]);
        let printed = printed(psql.env("PGOPTIONS", format!("-c search_path={}", self.schema("read"))));
        Ok(String::from_utf8(printed.with_context(|| statement.to_owned())?)?)
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
        printed(self.client("pg_dump").args(["--data-only", "--schema", &format!("{}*", self.schema_prefix)]))
    }

    /// A copy of everything that this platform has stored, from which it can be restored.
    ///
    /// # Errors
    /// When it cannot be dumped.
    pub fn copy(&self) -> Result<Vec<u8>> {
        printed(self.client("pg_dump").args(["--schema", &format!("{}*", self.schema_prefix)]))
    }

    /// Puts a copy in the place of everything that this platform has stored since.
    ///
    /// # Errors
    /// When somebody still uses it, or the database does not take it.
    pub fn restore(&self, copy: &[u8]) -> Result<()> {
        let named =
            format!("SELECT nspname AS name FROM pg_namespace WHERE starts_with(nspname, '{}')", self.schema_prefix);
        for schema in self.rows(&named)? {
            let name = schema["name"].as_str().context("a schema has a name")?;
            self.run(&format!("DROP SCHEMA \"{name}\" CASCADE"))?;
        }
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(copy)?;
        printed(self.client("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file.path())).map(|_| ())
    }

    /// A client of Postgres that is about to connect to this database.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-d", &self.url]).env("PGPASSWORD", &self.password);
        command
    }
}

/// What a program prints.
fn printed(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("{} does not start", command.get_program().display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
