//! The payment provider's own books: the judge of what was really charged.

use anyhow::{Context, Result};
use reqwest::blocking::Client;
use serde_json::Value;
use uuid::Uuid;

/// The provider, seen by whoever holds its key.
#[derive(Clone)]
pub struct Provider {
    pub http: Client,
    pub url: String,
    pub api_key: String,
}

/// A payment in the provider's books, in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    pub payment_id: Option<Uuid>,
    pub status: String,
    pub authorized: i64,
    pub captured: i64,
    pub refunded: i64,
    pub fees: i64,
    pub disputed: i64,
}

impl Charged {
    /// What the merchant has of it.
    pub fn balance(&self) -> i64 {
        self.captured - self.refunded - self.fees - self.disputed
    }

    /// Whether somebody's money is or was taken or blocked.
    pub fn is_charge(&self) -> bool {
        self.captured > 0 || (self.authorized > 0 && self.status == "requires_capture")
    }
}

impl Provider {
    /// Every payment it knows.
    ///
    /// # Errors
    /// When it is out of reach.
    pub fn books(&self) -> Result<Vec<Charged>> {
        let mut charged = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut request = self.http.get(format!("{}/sandbox/books", self.url)).bearer_auth(&self.api_key);
            if let Some(after) = &after {
                request = request.query(&[("starting_after", after)]);
            }
            let page: Value = request.send()?.error_for_status()?.json()?;
            let payments = page["payments"].as_array().context("the books have payments")?;
            charged.extend(payments.iter().map(read).collect::<Result<Vec<_>>>()?);
            after = payments.last().and_then(|last| last["payment_intent"].as_str()).map(str::to_owned);
            if page["has_more"] != true {
                return Ok(charged);
            }
        }
    }

    /// What was done under one of our payments.
    ///
    /// # Errors
    /// As [`Provider::books`].
    pub fn charges(&self, payment_id: Uuid) -> Result<Vec<Charged>> {
        Ok(self.books()?.into_iter().filter(|charge| charge.payment_id == Some(payment_id)).collect())
    }
}

fn read(entry: &Value) -> Result<Charged> {
    let amount = |name: &str| entry[name].as_i64().with_context(|| format!("{name} in {entry}"));
    Ok(Charged {
        payment_id: entry["metadata"]["payment_id"].as_str().map(str::parse).transpose()?,
        status: entry["status"].as_str().unwrap_or_default().to_owned(),
        authorized: amount("authorized")?,
        captured: amount("captured")?,
        refunded: amount("refunded")?,
        fees: amount("fees")?,
        disputed: amount("disputed")?,
    })
}
