//! The chain of hashes: each entry's hash covers all that it says and the hash of the entry before it, so that
//! nothing in a journal can be changed, left out or put in later without every hash from there on being wrong.
//!
//! The canonical form is a row of fields, each written as its length in bytes (64 bits, big-endian) and its bytes:
//! the text `daybook.ledger.entry.1`; previous hash; organization id; entry id; number; how many lines, and of each line
//! account, amount in minor units, currency; memo; source's message id and type; occurred at; posted at; reverses;
//! requested by; approved by. Ids are their 16 bytes, numbers and times (microseconds) 64 bits big-endian in two's
//! complement, texts UTF-8; what is absent has length 0. The hash is SHA-256 over it.

use std::collections::BTreeMap;

use daybook_events::{Currency, EntryLine, EntryPosted, OrganizationId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// What stands as the previous hash of a journal's first entry.
pub const FIRST_HASH: [u8; HASH_BYTES] = [0; HASH_BYTES];

const FORMAT: &str = "daybook.ledger.entry.1";

/// The hash that an entry has to bear, from all its fields but `hash`.
pub fn entry_hash(entry: &EntryPosted) -> [u8; HASH_BYTES] {
    let mut form = CanonicalForm(Sha256::new());
    form.field(FORMAT.as_bytes());
    form.field(&entry.previous_hash);
    form.id(Some(entry.organization_id));
    form.id(Some(entry.entry_id));
    form.number(entry.number);
    // Lines are bounded far below this type's range.
    form.number(i64::try_from(entry.lines.len()).unwrap_or(i64::MAX));
    for line in &entry.lines {
        form.field(line.account.as_bytes());
        form.number(line.amount.amount_minor);
        form.field(line.amount.currency.as_str().as_bytes());
    }
    form.field(entry.memo.as_bytes());
    form.id(Some(entry.source.message_id));
    form.field(entry.source.message_type.as_bytes());
    form.number(entry.occurred_at.micros());
    form.number(entry.posted_at.micros());
    form.id(entry.reverses);
    form.id(entry.requested_by);
    form.id(entry.approved_by);
    form.0.finalize().into()
}

struct CanonicalForm(Sha256);

impl CanonicalForm {
    fn field(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn number(&mut self, number: i64) {
        self.field(&number.to_be_bytes());
    }

    fn id(&mut self, id: Option<impl Into<Uuid>>) {
        match id {
            Some(id) => self.field(id.into().as_bytes()),
            None => self.field(&[]),
        }
    }
}

/// The first currency, in alphabetical order, in which the lines do not sum to zero.
pub fn unbalanced(lines: &[EntryLine]) -> Option<Currency> {
    let mut sums = BTreeMap::<Currency, i128>::new();
    for line in lines {
        *sums.entry(line.amount.currency).or_default() += i128::from(line.amount.amount_minor);
    }
    sums.into_iter().find(|(_, sum)| *sum != 0).map(|(currency, _)| currency)
}

/// Where a walk along a journal has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Entries that were found good.
    pub entries: i64,
    /// Hash of the last of them.
    pub last_hash: [u8; HASH_BYTES],
    /// Whose journal it is; `None` before the first entry.
    pub organization_id: Option<OrganizationId>,
}

impl Default for Chain {
    fn default() -> Self {
        Self { entries: 0, last_hash: FIRST_HASH, organization_id: None }
    }
}

/// A journal is not what was posted. The number is the one that the entry should have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It belongs to another organization.
    #[error("entry {number} belongs to another journal")]
    OtherJournal { number: i64 },
    /// An entry is missing, is there twice, or stands in the wrong place.
    #[error("entry {found} stands where {number} should")]
    Number { number: i64, found: i64 },
    /// It does not follow the entry before it.
    #[error("entry {number} names another entry than the one before it")]
    PreviousHash { number: i64 },
    /// It was changed after it was posted.
    #[error("entry {number} does not have the hash that it bears")]
    Hash { number: i64 },
    /// Its lines do not sum to zero.
    #[error("entry {number} does not balance in {currency}")]
    Unbalanced { number: i64, currency: Currency },
}

impl Chain {
    /// Goes on to the next entry. After an error the walk stands where it stood.
    ///
    /// # Errors
    /// What is wrong with the entry, or between it and the one before it.
    pub fn follow(&mut self, entry: &EntryPosted) -> Result<(), ChainError> {
        let number = self.entries + 1;
        if self.organization_id.is_some_and(|organization| organization != entry.organization_id) {
            return Err(ChainError::OtherJournal { number });
        }
        if entry.number != number {
            return Err(ChainError::Number { number, found: entry.number });
        }
        if entry.previous_hash != self.last_hash {
            return Err(ChainError::PreviousHash { number });
        }
        let hash = entry_hash(entry);
        if entry.hash != hash {
            return Err(ChainError::Hash { number });
        }
        if let Some(currency) = unbalanced(&entry.lines) {
            return Err(ChainError::Unbalanced { number, currency });
        }
        *self = Self { entries: number, last_hash: hash, organization_id: Some(entry.organization_id) };
        Ok(())
    }
}

/// Walks a journal from its first entry on. Where entries of several journals come mixed, as in the book, keep a
/// [`Chain`] for each.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_chain<'e>(entries: impl IntoIterator<Item = &'e EntryPosted>) -> Result<Chain, ChainError> {
    let mut chain = Chain::default();
    for entry in entries {
        chain.follow(entry)?;
    }
    Ok(chain)
}
